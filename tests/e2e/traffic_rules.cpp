// SPDX-License-Identifier: MIT
//
// Which connections follow which policy: selectors, --new-only, several policies at once, changes while
// traffic runs; policies from outside the tree; and what happens when a policy or the command is gone or
// useless.
#include <filesystem>
#include <fstream>
#include <thread>

#include "cgroup.hpp"
#include "mps_fixed_policy.embed.h"
#include "traffic.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <fmt/format.h>

using namespace mps::lab;
using namespace mps::e2e;

namespace {

constexpr double idle = 0.01;
constexpr double used = 0.3;

NetworkSpec two_paths() {
    return {.paths = {{.name = "dsl", .rate_mbit = 50}, {.name = "lte", .rate_mbit = 50}}};
}

/// dsl is preferred by active-standby and equal to lte for weighted.
struct Scene {
    Network network = must(Network::create(two_paths()));
    Server server = serve(network);
    Attachment attachment{network.a(), network.devices()};
    Cli mpsched{network.a()};

    Scene() { mpsched("path lte priority=1"); }

    // What each transfer put on lte meanwhile, by its subflows' own counters.
    std::vector<double> lte_shares(std::vector<const Transfer *> transfers, const char *when,
                                   std::chrono::milliseconds settle = 500ms) const {
        std::this_thread::sleep_for(settle);
        std::vector<Delivered> before;
        for (const auto *transfer : transfers) {
            before.push_back(delivered(*transfer, network));
        }
        std::this_thread::sleep_for(1s);
        std::vector<double> result;
        std::string text;
        for (std::size_t i = 0; i < transfers.size(); ++i) {
            const auto after = delivered(*transfers[i], network);
            REQUIRE(after.total > before[i].total);
            result.push_back(shares(before[i], after)[1]);
            text += fmt::format(" {:.1f} %", result.back() * 100);
        }
        report(fmt::format("{}: on lte{}", when, text));
        return result;
    }
};

void finish(Transfer &transfer) {
    transfer.stop();
    check_clean(transfer.wait());
}

std::string write_fixed_policy(const TemporaryFolder &folder) {
    const auto file = folder / "fixed.bpf.o";
    std::ofstream(file, std::ios::binary)
        .write(reinterpret_cast<const char *>(mps_fixed_policy_begin),
               mps_fixed_policy_end - mps_fixed_policy_begin);
    return file;
}

} // namespace

TEST_CASE("a rule for a remote port steers its connections and no others", "[e2e][rules]") {
    Scene scene;
    const auto second_server = serve(scene.network);
    scene.mpsched("use weighted");
    auto first = upload(scene.network, scene.server);
    auto second = upload(scene.network, second_server);
    const auto rule = fmt::format("rport={}", second_server.port());
    scene.mpsched("use active-standby --for " + rule);
    auto lte = scene.lte_shares({&first, &second}, "weighted, and active-standby by rule");
    CHECK(lte[0] > used);
    CHECK(lte[1] < idle);

    // A third policy, and a new connection to a port that has a rule.
    auto third = upload(scene.network, second_server);
    scene.mpsched(fmt::format("use default --for rport={}", scene.server.port()));
    lte = scene.lte_shares({&first, &second, &third},
                           "default and active-standby by rule, weighted for no one");
    CHECK(lte[0] > used);
    CHECK(lte[1] < idle);
    CHECK(lte[2] < idle);

    scene.mpsched("unuse " + rule);
    lte = scene.lte_shares({&first, &second, &third}, "the rule removed");
    CHECK(lte[1] > used);
    CHECK(lte[2] > used);
    finish(first);
    finish(second);
    finish(third);
}

TEST_CASE("a rule for a local address steers its connections and no others", "[e2e][rules]") {
    Scene scene;
    auto first = upload(scene.network, scene.server, {.local_address = scene.network.address(Side::a, 0)});
    auto second = upload(scene.network, scene.server, {.local_address = scene.network.address(Side::a, 1)});
    scene.mpsched("use active-standby --for local=" + scene.network.address(Side::a, 1));
    const auto lte = scene.lte_shares({&first, &second}, "default, and active-standby by local address");
    CHECK(lte[0] > used);
    CHECK(lte[1] < idle);
    finish(first);
    finish(second);
}

TEST_CASE("a rule for a cgroup steers the sockets made in it and no others", "[e2e][rules]") {
    Scene scene;
    const Cgroup group;
    auto outside = upload(scene.network, scene.server);
    REQUIRE(group.enter());
    auto inside = upload(scene.network, scene.server);
    REQUIRE(group.leave());
    scene.mpsched("use active-standby --for cgroup=" + group.path());
    const auto lte = scene.lte_shares({&outside, &inside}, "default, and active-standby by cgroup");
    CHECK(lte[0] > used);
    CHECK(lte[1] < idle);
    finish(outside);
    finish(inside);
}

TEST_CASE("with --new-only connections that exist keep their policy", "[e2e][rules]") {
    Scene scene;
    auto old = upload(scene.network, scene.server);
    std::this_thread::sleep_for(300ms);
    scene.mpsched("use active-standby --new-only");
    auto young = upload(scene.network, scene.server);
    auto lte = scene.lte_shares({&old, &young}, "active-standby --new-only");
    CHECK(lte[0] > used);
    CHECK(lte[1] < idle);
    scene.mpsched("use active-standby");
    lte = scene.lte_shares({&old, &young}, "active-standby");
    CHECK(lte[0] < idle);
    CHECK(lte[1] < idle);
    finish(old);
    finish(young);
}

TEST_CASE("an idle connection is shown with the policy that it will have from its next packet on",
          "[e2e][rules]") {
    Scene scene;
    scene.mpsched("use weighted");
    auto transfer = upload(scene.network, scene.server,
                           {.direction = Direction::requests, .request_bytes = 200'000, .think_time = 3s});
    const auto connection = [&] {
        const Json all = scene.mpsched.json("conns");
        REQUIRE(all.size() == 1);
        return all[0];
    };
    REQUIRE(wait_until([&] { return transfer.progress_bytes() > 190'000 && connection()["tracked"]; }, 3s,
                       0ms) >= 0);
    std::this_thread::sleep_for(300ms);
    CHECK(connection()["pending"] == false);
    scene.mpsched("use overflow");
    auto now = connection();
    CHECK(now["pending"] == true);
    CHECK(now["policy"] == "overflow");
    CHECK(scene.mpsched("conns").out.find("overflow (from its next packet on)") != std::string::npos);
    CHECK(wait_until([&] { return connection()["pending"] == false; }, 6s, 0ms) >= 0);
    now = connection();
    CHECK(now["policy"] == "overflow");
    CHECK(now["slot"] == scene.mpsched.json("status")["default_slot"]);
    finish(transfer);
}

TEST_CASE("parameters and path attributes change a running transfer", "[e2e][rules]") {
    Scene scene;
    scene.mpsched("path dsl weight=9");
    scene.mpsched("use weighted");
    auto transfer = upload(scene.network, scene.server);
    CHECK(scene.lte_shares({&transfer}, "weights 9:1")[0] == Approx(0.1).margin(0.04));
    // lte may now run 16 MB ahead, which takes it more than two seconds.
    scene.mpsched("set lead_bytes=16777216");
    CHECK(scene.lte_shares({&transfer}, "lead of 16 MB", 300ms)[0] > used);
    scene.mpsched("set lead_bytes=16384");
    CHECK(scene.lte_shares({&transfer}, "lead of 16 KB: lte has to wait", 300ms)[0] < idle);

    scene.mpsched("use active-standby -s hold_ms=0");
    CHECK(scene.lte_shares({&transfer}, "active-standby, dsl first")[0] < idle);
    scene.mpsched("path dsl priority=2");
    CHECK(scene.lte_shares({&transfer}, "active-standby, lte first")[0] > 1 - idle);
    finish(transfer);
}

TEST_CASE("a policy that allows nothing stops no transfer", "[e2e][invariant]") {
    const TemporaryFolder folder;
    Scene scene;
    const auto fixed = write_fixed_policy(folder);
    scene.mpsched(fmt::format("use {} -s allowed=0", fixed));
    const auto server = serve(scene.network);
    const auto result = must(run_transfer(scene.network, server, {.bytes = 10'000'000}));
    check_clean(result);
    CHECK(result.min_subflows() == 2);
    const auto per_path = result.bytes_per_path(scene.network);
    report(fmt::format("nothing allowed: {:.1f} Mbit/s, {} and {} bytes", result.mbit_per_s(), per_path[0],
                       per_path[1]));
    CHECK(result.mbit_per_s() > 60);
    CHECK(per_path[0] > 2'000'000);
    CHECK(per_path[1] > 2'000'000);

    // Subflows that do not exist are nothing either.
    scene.mpsched("set allowed=240");
    auto transfer = upload(scene.network, scene.server);
    CHECK(scene.lte_shares({&transfer}, "only subflows that do not exist")[0] > used);
    // Both subflows go to the server's first address.
    CHECK_FALSE(kernel_backup(scene.network.a(), scene.network.server_address()));
    // A policy that insists on a subflow which is dead.
    scene.mpsched("set allowed=1");
    CHECK(scene.lte_shares({&transfer}, "only the first subflow")[0] < idle);
    must(scene.network.set_link(0, false, Side::b));
    Meter meter(scene.network.b(), scene.network.devices());
    CHECK(wait_until([&] { return meter.over(200ms).mbit[1] > 30; }, 5s, 0ms) >= 0);
    must(scene.network.set_link(0, true, Side::b));
    finish(transfer);
}

TEST_CASE("a running transfer follows the edited object, and does not notice one that does not load",
          "[e2e][rules]") {
    const TemporaryFolder folder;
    Scene scene;
    const auto file = write_fixed_policy(folder);
    scene.mpsched(fmt::format("use {} -s allowed=1", file));
    auto transfer = upload(scene.network, scene.server);
    CHECK(scene.lte_shares({&transfer}, "the first object: the first subflow")[0] < idle);

    std::string object(reinterpret_cast<const char *>(mps_fixed_policy_begin),
                       static_cast<std::size_t>(mps_fixed_policy_end - mps_fixed_policy_begin));
    const auto doc = object.find("answers what its");
    REQUIRE(doc != std::string::npos);
    object[doc] = 'A';
    std::ofstream(file, std::ios::binary) << object.substr(0, object.size() / 2);
    CHECK(scene.mpsched.try_run(fmt::format("use {}", file)).exit_code != 0);
    CHECK(scene.mpsched.try_run(fmt::format("policy load --replace {}", file)).exit_code != 0);
    CHECK(scene.lte_shares({&transfer}, "half an object")[0] < idle);

    // --replace takes over what was set, use of the file starts afresh.
    std::ofstream(file, std::ios::binary) << object;
    CHECK(scene.mpsched.try_run(fmt::format("policy load {}", file)).exit_code != 0);
    scene.mpsched(fmt::format("policy load --replace {}", file));
    CHECK(scene.lte_shares({&transfer}, "edited, the parameter is taken over")[0] < idle);
    scene.mpsched("set allowed=2");
    CHECK(scene.lte_shares({&transfer}, "edited, the second subflow")[0] > 1 - idle);
    object[doc] = 'B';
    std::ofstream(file, std::ios::binary) << object;
    scene.mpsched(fmt::format("use {} -s allowed=1", file));
    CHECK(scene.lte_shares({&transfer}, "edited again, the first subflow")[0] < idle);
    finish(transfer);
}

TEST_CASE("steering goes on without the command that started it", "[e2e][invariant]") {
    const auto network = must(Network::create(two_paths()));
    const auto server = serve(network);
    Attachment attachment(network.a(), network.devices());
    std::string copy;
    {
        const TemporaryFolder folder;
        copy = folder / "mpsched";
        std::filesystem::copy_file(Cli::default_binary(), copy);
        const Cli mpsched(network.a(), copy);
        mpsched("path dsl weight=3");
        mpsched("use weighted");
    }
    REQUIRE_FALSE(std::filesystem::exists(copy));
    // Also a connection that did not exist then.
    auto transfer = upload(network, server);
    Meter meter(network.b(), network.devices());
    std::this_thread::sleep_for(500ms);
    const auto window = meter.over(2s);
    report("weighted 3:1 without mpsched: " + window.text());
    CHECK(window.share[0] == Approx(0.75).margin(0.03));
    finish(transfer);
}

namespace {

// What schedulers/README.md tells to type.
struct Tutorial {
    std::string source;
    std::string compile;
    std::vector<std::string> commands;

    Tutorial() {
        std::ifstream file(MPS_SOURCE_DIR "/schedulers/README.md");
        REQUIRE(file.good());
        bool in_source = false;
        bool continued = false;
        for (std::string line; std::getline(file, line);) {
            if (line == "```c" && source.empty()) {
                in_source = true;
            } else if (line == "```") {
                in_source = false;
            } else if (in_source) {
                source += line + "\n";
            } else if (line.starts_with("    clang") || continued) {
                continued = line.ends_with('\\');
                compile += line.substr(0, line.size() - (continued ? 1 : 0));
            } else if (line.starts_with("    mpsched ")) {
                commands.push_back(line.substr(12));
            }
        }
    }
};

/// The tests stand in it as long as this lives.
class WorkingFolder {
  public:
    explicit WorkingFolder(const std::filesystem::path &folder) { std::filesystem::current_path(folder); }
    WorkingFolder(const WorkingFolder &) = delete;
    WorkingFolder &operator=(const WorkingFolder &) = delete;
    ~WorkingFolder() { std::filesystem::current_path(before_); }

  private:
    std::filesystem::path before_ = std::filesystem::current_path();
};

std::string replaced(std::string text, const std::string &what, const std::string &with) {
    for (auto at = text.find(what); at != std::string::npos; at = text.find(what, at + with.size())) {
        text.replace(at, what.size(), with);
    }
    return text;
}

} // namespace

TEST_CASE("the policy of the tutorial compiles as documented and steers", "[e2e][rules]") {
    const Tutorial tutorial;
    REQUIRE(tutorial.source.find("MPS_POLICY(roomiest") != std::string::npos);
    REQUIRE(tutorial.commands.size() >= 4);
    const TemporaryFolder folder;
    const WorkingFolder here(folder.path());
    std::ofstream("roomiest.bpf.c") << tutorial.source;
    std::filesystem::create_symlink(MPS_SOURCE_DIR "/bpf", "bpf");
    must(run_checked({"sh", "-c", tutorial.compile}));

    Scene scene;
    auto transfer = upload(scene.network, scene.server);
    CHECK(scene.lte_shares({&transfer}, "default")[0] > used);
    for (const auto &command : tutorial.commands) {
        const auto typed = replaced(replaced(command, "wwan0", "lte"), "eth0", "dsl");
        INFO(typed);
        scene.mpsched(typed);
    }
    CHECK(scene.lte_shares({&transfer}, "roomiest, lte too dear")[0] < idle);
    scene.mpsched("set max_cost=1000");
    CHECK(scene.lte_shares({&transfer}, "roomiest, lte affordable")[0] > 0.2);
    scene.mpsched("use default");
    CHECK(scene.lte_shares({&transfer}, "default again")[0] > used);
    finish(transfer);
}
