// SPDX-License-Identifier: MIT
//
// Rules by who a connection belongs to, and by the name of the host at its other end.
#include <chrono>
#include <fstream>
#include <thread>

#include "cgroup.hpp"
#include "traffic.hpp"

#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include <fmt/format.h>

using namespace mps::lab;
using namespace mps::e2e;

namespace {

constexpr double idle = 0.01;
constexpr double used = 0.3;
constexpr unsigned nobody = 65534;

/// Two paths, of which active-standby prefers dsl; steered at the end that sends.
struct Scene {
    Network network = must(Network::create(
        {.paths = {{.name = "dsl", .rate_mbit = path_rate(50)}, {.name = "lte", .rate_mbit = path_rate(50)}},
         .congestion_control = "cubic"}));
    const Namespace &sender;
    Attachment attachment;
    Cli mpsched;

    explicit Scene(Side side = Side::a)
        : sender(side == Side::a ? network.a() : network.b()),
          attachment(sender, network.devices()),
          mpsched(sender) {
        mpsched("path lte priority=1");
    }

    // What the sender put on lte meanwhile for each transfer, by its kernel's own counters.
    std::vector<double> lte_shares(const std::vector<const Transfer *> &transfers, const char *when) const {
        std::this_thread::sleep_for(path_time(500ms));
        std::vector<std::vector<double>> before;
        for (const Transfer *one : transfers)
            before.push_back(moved(network, *one));
        std::this_thread::sleep_for(path_time(700ms));
        std::vector<double> result;
        std::string text;
        for (std::size_t i = 0; i < transfers.size(); ++i) {
            auto after = moved(network, *transfers[i]);
            for (std::size_t path = 0; path < after.size(); ++path)
                after[path] -= before[i][path];
            REQUIRE(after[0] + after[1] > 0);
            result.push_back(ratios(after)[1]);
            text += fmt::format(" {:.1f} %", result.back() * 100);
        }
        report(fmt::format("{}: on lte{}", when, text));
        return result;
    }
};

/// What is made meanwhile in this thread, and in threads that it starts, is this user's: sockets are files.
class AsUser {
  public:
    explicit AsUser(unsigned uid) : before_(static_cast<unsigned>(::setfsuid(uid))) {}
    AsUser(const AsUser &) = delete;
    AsUser &operator=(const AsUser &) = delete;
    ~AsUser() { ::setfsuid(before_); }

  private:
    unsigned before_;
};

Transfer upload_as(const Scene &scene, const Server &server, unsigned uid) {
    const AsUser user(uid);
    return upload(scene.network, server);
}

/// What this process is called meanwhile; the threads that work for it have their own names.
class CalledSo {
  public:
    explicit CalledSo(const char *name) {
        ::prctl(PR_GET_NAME, before_);
        ::prctl(PR_SET_NAME, name);
    }
    CalledSo(const CalledSo &) = delete;
    CalledSo &operator=(const CalledSo &) = delete;
    ~CalledSo() { ::prctl(PR_SET_NAME, before_); }

  private:
    char before_[16]{};
};

Transfer upload_called(const Scene &scene, const Server &server, const char *command) {
    const CalledSo called(command);
    return upload(scene.network, server);
}

void finish(Transfer &transfer) {
    transfer.stop();
    check_clean(transfer.wait());
}

/// mpsched's command with another /etc/hosts.
std::vector<std::string> with_hosts(const Scene &scene, const std::string &file, std::string_view words) {
    return {"unshare",
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-c",
            fmt::format("mount --bind {} /etc/hosts && exec {} --netns {} {}", file, Cli::default_binary(),
                        scene.sender.name(), words)};
}

} // namespace

TEST_CASE(
    "rules for a user and for a unit steer what they made and nothing else, also after the unit has started again",
    "[e2e][rules]") {
    Scene scene;
    const Server server = serve(scene.network);
    const Cgroup unit(".service");
    scene.mpsched(fmt::format("use active-standby --for user={}", nobody));
    scene.mpsched(fmt::format("use active-standby --for unit={}", unit.name()));
    auto other = upload(scene.network, server);
    auto of_user = upload_as(scene, server, nobody);
    REQUIRE(unit.enter());
    auto of_unit = upload(scene.network, server);
    REQUIRE(unit.leave());
    // Three slow starts in one queue: after losses the kernel itself may use a parked subflow for a moment.
    auto lte = undisturbed(
        [&] { return scene.lte_shares({&other, &of_user, &of_unit}, "nobody's, of a user, of a unit"); },
        [](const auto &seen) { return seen[1] < idle && seen[2] < idle; }, 3);
    CHECK(lte[0] > used);
    CHECK(lte[1] < idle);
    CHECK(lte[2] < idle);
    finish(of_unit);

    unit.make_anew();
    REQUIRE(unit.enter());
    auto later = upload(scene.network, server);
    REQUIRE(unit.leave());
    scene.mpsched(fmt::format("unuse user={}", nobody));
    lte =
        scene.lte_shares({&of_user, &later}, "the rule for the user removed, of the unit after its restart");
    CHECK(lte[0] > used);
    CHECK(lte[1] < idle);
    finish(other);
    finish(of_user);
    finish(later);
}

TEST_CASE("a rule for a user steers what that user's server accepted, and no other's", "[e2e][rules]") {
    Scene scene(Side::b);
    const Server other = serve(scene.network);
    const auto server = [&] {
        const AsUser user(nobody);
        return serve(scene.network);
    }();
    scene.mpsched(fmt::format("use active-standby --for user={}", nobody));
    auto from_other = upload(scene.network, other, {.direction = Direction::download});
    auto from_server = upload(scene.network, server, {.direction = Direction::download});
    const auto lte = scene.lte_shares({&from_other, &from_server}, "accepted by root, accepted by nobody");
    CHECK(lte[0] > used);
    CHECK(lte[1] < idle);
    finish(from_other);
    finish(from_server);
}

TEST_CASE("a rule for a command steers what it made, also before the rule, and nothing else",
          "[e2e][rules]") {
    Scene scene;
    const Server server = serve(scene.network);
    auto before = upload(scene.network, server);
    {
        // What is there already is known by the name that who holds it has now.
        const CalledSo called("mps-backup");
        scene.mpsched("use active-standby --for command=mps-backup");
    }
    auto other = upload_called(scene, server, "mps-backup2");
    auto meant = upload_called(scene, server, "mps-backup");
    auto lte = undisturbed(
        [&] {
            return scene.lte_shares({&before, &other, &meant}, "from before, of another, of the command");
        },
        [](const auto &seen) { return seen[0] < idle && seen[2] < idle; }, 3);
    CHECK(lte[0] < idle);
    CHECK(lte[1] > used);
    CHECK(lte[2] < idle);
    finish(before);
    scene.mpsched("unuse command=mps-backup");
    CHECK(scene.lte_shares({&meant}, "the rule removed")[0] > used);
    finish(other);
    finish(meant);
}

TEST_CASE("what a server accepts is of the command that listens", "[e2e][rules]") {
    Scene scene(Side::b);
    scene.mpsched("use active-standby --for command=mps-server");
    const Server other = serve(scene.network);
    const auto server = [&] {
        const CalledSo called("mps-server");
        return serve(scene.network);
    }();
    auto from_other = upload(scene.network, other, {.direction = Direction::download});
    auto from_server = upload(scene.network, server, {.direction = Direction::download});
    const auto lte = scene.lte_shares({&from_other, &from_server}, "accepted by another, by the command");
    CHECK(lte[0] > used);
    CHECK(lte[1] < idle);
    finish(from_other);
    finish(from_server);
}

TEST_CASE("a rule for a host's name follows its address, and one for a name without address is refused",
          "[e2e][rules]") {
    Scene scene;
    const Server server = serve(scene.network);
    const TemporaryFolder folder;
    const std::string hosts = folder / "hosts";
    const auto name_is = [&](const std::string &address) {
        std::ofstream(hosts) << address << " origin.example.org\n";
    };
    name_is("203.0.113.9");
    const auto run = [&](std::string_view words) {
        return must(run_process(with_hosts(scene, hosts, words), Cli::options()));
    };
    const auto nameless = run("use active-standby --for host=no.such.name.invalid");
    CHECK(nameless.exit_code == 1);
    CHECK(nameless.err.find("no.such.name.invalid") != std::string::npos);
    CHECK(scene.mpsched.json("status --json")["rules"].empty());

    auto transfer = upload(scene.network, server);
    const auto rule = run("use active-standby --for host=origin.example.org");
    INFO(rule.err);
    REQUIRE(rule.exit_code == 0);
    CHECK(scene.mpsched.json("status --json")["rules"][0]["addresses"] == Json::array({"203.0.113.9"}));
    CHECK(scene.lte_shares({&transfer}, "the name is another host's")[0] > used);

    name_is(scene.network.server_address());
    const Process follower =
        must(Process::start(with_hosts(scene, hosts, "attach --follow"), Cli::options()));
    REQUIRE(
        wait_until([&] { return scene.mpsched.json("status --json")["rules"][0]["addresses"].size() == 2; },
                   5s, 100ms) >= 0);
    CHECK(scene.lte_shares({&transfer}, "the name is this host's")[0] < idle);
    scene.mpsched("unuse --all");
    CHECK(scene.lte_shares({&transfer}, "the rule removed")[0] > used);
    finish(transfer);
}
