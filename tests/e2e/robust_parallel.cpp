// SPDX-License-Identifier: MIT
//
// Several commands at once: one at a time changes something, none is lost, and looking never waits.
#include <thread>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdlib>
#include <fstream>

#include <bpf/bpf.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>

#include "robust_rig.hpp"

using namespace mps::robust;
using namespace mps;
using namespace std::chrono_literals;

namespace {

// All at once; results in the order of the commands.
std::vector<lab::ProcessResult> run_together(const Rig &rig, const std::vector<Words> &commands) {
    std::vector<lab::Process> processes;
    for (const Words &words : commands)
        processes.push_back(
            must(lab::Process::start(rig.command(words), {.environment = rig.environment()})));
    std::vector<lab::ProcessResult> results;
    for (lab::Process &process : processes)
        results.push_back(must(process.wait(60s)));
    return results;
}

void all_succeed(const Rig &rig, const std::vector<Words> &commands) {
    const auto results = run_together(rig, commands);
    for (std::size_t i = 0; i < results.size(); i++) {
        INFO(fmt::format("{}: {}{}", fmt::join(commands[i], " "), results[i].out, results[i].err));
        CHECK(results[i].exit_code == 0);
    }
}

// The lock that commands of the namespace take, in our hands. There once something is attached.
class Locked {
  public:
    explicit Locked(const Rig &rig) : fd_(::open(lock_of(rig).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
        REQUIRE(::flock(fd_.get(), LOCK_EX | LOCK_NB) == 0);
    }
    void release() { fd_.reset(); }

    static std::string lock_of(const Rig &rig) {
        return fmt::format("{}/mpsched/locks/{}", rig.bpffs().path(),
                           rig.status()["netns_cookie"].get<std::uint64_t>());
    }

  private:
    Fd fd_;
};

// What the kernel holds under names of ours, of all network namespaces, and what it costs. In use by nobody else only on
// a machine where no other mpsched runs.
struct Objects {
    std::size_t programs = 0, maps = 0;
    std::uint64_t bytes = 0;
    bool operator==(const Objects &) const = default;
};

// "memlock:	4096" of a program or map.
std::uint64_t bytes_of(int fd) {
    std::ifstream info(fmt::format("/proc/self/fdinfo/{}", fd));
    std::string key;
    for (std::uint64_t value = 0; info >> key;) {
        if (key == "memlock:" && info >> value)
            return value;
    }
    return 0;
}

Objects objects() {
    Objects found;
    for (std::uint32_t id = 0; !bpf_prog_get_next_id(id, &id);) {
        const Fd fd(bpf_prog_get_fd_by_id(id));
        bpf_prog_info info{};
        std::uint32_t length = sizeof info;
        if (fd && !bpf_obj_get_info_by_fd(fd.get(), &info, &length) &&
            std::string_view(info.name).starts_with("mps_")) {
            found.programs++;
            found.bytes += bytes_of(fd.get());
        }
    }
    for (std::uint32_t id = 0; !bpf_map_get_next_id(id, &id);) {
        const Fd fd(bpf_map_get_fd_by_id(id));
        bpf_map_info info{};
        std::uint32_t length = sizeof info;
        if (fd && !bpf_obj_get_info_by_fd(fd.get(), &info, &length) &&
            std::string_view(info.name).starts_with("mps_")) {
            found.maps++;
            found.bytes += bytes_of(fd.get());
        }
    }
    return found;
}

// Attaches and detaches, and changes the policy, while a connection uploads; somebody looks on all the time.
void wear(const Rig &rig, int attaches, int uses) {
    const std::array<const char *, 3> modes{"tc", "native", "generic"};
    const std::array<const char *, 3> policies{"weighted", "smallest-delay", "active-standby"};
    for (int i = 0; i < std::max(attaches, uses); i++) {
        if (i < attaches) {
            all_succeed(rig, {{"attach", "lte", "--mode", modes[static_cast<std::size_t>(i) % modes.size()]},
                              {"status"},
                              {"policy", "list"}});
            all_succeed(rig, {{"detach", "lte"}, {"conns"}, {"stats"}});
        }
        if (i < uses)
            rig.ok({"use", policies[static_cast<std::size_t>(i) % policies.size()]});
    }
}

} // namespace

TEST_CASE("many changes of paths and rules at the same time are all made", "[robust][parallel]") {
    const Rig rig;
    rig.ok({"attach", "dsl", "lte", "--mode", "tc"});
    // Each command reads a record, changes one member and writes it back: without a lock members get lost.
    std::vector<Words> commands;
    for (const char *device : {"dsl", "lte", "lo"})
        for (const char *setting : {"weight=9", "priority=8", "cost=7", "energy=lte"})
            commands.push_back({"path", device, setting});
    for (int port = 1; port <= 10; port++)
        commands.push_back(
            {"use", port % 2 == 0 ? "weighted" : "smallest-delay", "--for", fmt::format("rport={}", port)});
    commands.push_back({"set", "dwell_us=1234"});
    commands.push_back({"use", "active-standby"});
    all_succeed(rig, commands);

    const Json status = rig.status();
    INFO(status.dump(1));
    REQUIRE(status["paths"].size() == 3);
    for (const Json &path : status["paths"]) {
        CHECK(path["weight"] == 9);
        CHECK(path["priority"] == 8);
        CHECK(path["cost"] == 7);
        CHECK(path["energy"] == "lte");
    }
    std::set<std::string> rules;
    for (const Json &rule : status["rules"]) {
        const auto selector = rule["selector"].get<std::string>();
        rules.insert(selector);
        CHECK(rule["policy"] == (std::stoi(selector.substr(6)) % 2 == 0 ? "weighted" : "smallest-delay"));
    }
    CHECK(rules.size() == 10);
    CHECK(status["rules"].size() == 10);
    CHECK(status["default_policy"] == "active-standby");
    CHECK(status["engine"]["dwell_us"] == 1234);
    CHECK(status["problems"].empty());
    // Every slot that is filled is referred to: nobody filled one that somebody else gave away.
    CHECK(status["policies"].size() == 3);
}

TEST_CASE("first attaches at the same time make one installation", "[robust][parallel]") {
    const Rig rig;
    all_succeed(rig, {{"attach", "dsl"},
                      {"attach", "lte"},
                      {"attach", "dsl", "lte"},
                      {"path", "dsl", "weight=3"},
                      {"attach", "lo", "--mode", "tc"}});
    const Json status = rig.status();
    INFO(status.dump(1));
    CHECK(status["interfaces"].size() == 3);
    CHECK(status["problems"].empty());
    CHECK(status["paths"].dump().contains("\"weight\":3"));
    for (const std::string &device : rig.network().devices())
        CHECK(our_programs(rig.here(), device) == std::vector<std::string>{"mps_tc_eth"});
    for (const auto &[path, what] : rig.bpffs().tree())
        CHECK_FALSE((path.contains("new-") || path.contains("old-")));
    const auto programs = rig.programs();
    // Leaving and coming at the same time: whoever is last decides, and either state is whole.
    all_succeed(rig, {{"detach", "--all"},
                      {"attach", "dsl", "lte", "--mode", "native"},
                      {"detach", "--all"},
                      {"detach", "lte"},
                      {"attach", "dsl", "--mode", "generic"}});
    const Json after = rig.status();
    INFO(after.dump(1));
    CHECK(after["problems"].empty());
    for (const std::string &device : rig.network().devices()) {
        const bool listed =
            std::ranges::any_of(after["interfaces"], [&](const Json &one) { return one["name"] == device; });
        CHECK(our_programs(rig.here(), device).empty() == !listed);
    }
    rig.ok({"detach", "--all"});
    rig.no_trace(programs);
}

TEST_CASE("parallel changes of the default policy leave one of them whole", "[robust][parallel]") {
    const Rig rig;
    rig.ok({"attach", "dsl", "lte"});
    std::vector<Words> commands;
    for (int i = 1; i <= 12; i++)
        commands.push_back({"use", "weighted", "-s", fmt::format("lead_bytes={}", 10'000 + i)});
    all_succeed(rig, commands);
    const Json status = rig.status();
    INFO(status.dump(1));
    REQUIRE(status["policies"].size() == 1);
    CHECK(status["default_policy"] == "weighted");
    const int lead = status["policies"][0]["params"]["lead_bytes"];
    CHECK((lead > 10'000 && lead <= 10'012));
    CHECK(status["problems"].empty());
}

TEST_CASE("a command waits for another one, gives up when that one does not end, and looking never waits",
          "[robust][parallel]") {
    const Rig rig;
    rig.ok({"attach", "dsl", "lte"});
    rig.ok({"use", "weighted"});
    Locked lock(rig);
    auto change = must(
        lab::Process::start(rig.command({"path", "dsl", "weight=5"}), {.environment = rig.environment()}));
    for (const char *query : {"status", "conns", "stats", "policy list"}) {
        Words words{query};
        if (words[0] == "policy list")
            words = {"policy", "list"};
        const auto begin = std::chrono::steady_clock::now();
        rig.ok(words);
        CHECK(std::chrono::steady_clock::now() - begin < 5s);
    }
    std::this_thread::sleep_for(500ms);
    CHECK(change.running());
    CHECK(rig.status()["paths"][0]["weight"] == 1);

    auto text =
        must(lab::Process::start(rig.command({"use", "default"}), {.environment = rig.environment()}));
    auto document = must(
        lab::Process::start(rig.command({"use", "default", "--json"}), {.environment = rig.environment()}));
    const auto told = must(text.wait(30s));
    INFO(told.err);
    CHECK(told.exit_code == 1);
    CHECK(std::ranges::count(told.err, '\n') == 2);
    CHECK(told.err.contains(fmt::format("(process {})", ::getpid())));
    CHECK(told.err.contains("--wait"));
    CHECK(must(document.wait(30s)).exit_code == 1);
    CHECK(rig.status()["default_policy"] == "weighted");
    // The first one gave up as well by now; the next finds the lock free.
    CHECK(must(change.wait(15s)).exit_code == 1);
    auto next = must(
        lab::Process::start(rig.command({"path", "dsl", "weight=5"}), {.environment = rig.environment()}));
    std::this_thread::sleep_for(300ms);
    CHECK(next.running());
    // Who does not want to wait need not, and a signal ends waiting with nothing changed.
    const auto begin = std::chrono::steady_clock::now();
    CHECK(rig.run({"--wait", "0", "use", "default"}).exit_code == 1);
    CHECK(std::chrono::steady_clock::now() - begin < 5s);
    auto long_wait = must(lab::Process::start(rig.command({"--wait", "600", "use", "default"}),
                                              {.environment = rig.environment()}));
    std::this_thread::sleep_for(300ms);
    ::kill(long_wait.pid(), SIGTERM);
    CHECK(must(long_wait.wait(10s)).exit_code != 0);
    CHECK(rig.run({"--wait", "soon", "status"}).exit_code == 2);
    // Another namespace's commands do not wait for this one's.
    const Rig other;
    const Environment shared{{"MPS_BPFFS", rig.bpffs().path()}};
    other.ok({"--wait", "0", "attach", "dsl"}, shared);
    other.ok({"--wait", "0", "detach", "--all"}, shared);
    lock.release();
    CHECK(must(next.wait(10s)).exit_code == 0);
    CHECK(rig.status()["paths"][0]["weight"] == 5);
}

TEST_CASE("none of fifty commands at once fails, however long the queue is", "[robust][parallel]") {
    const Rig rig;
    rig.ok({"attach", "dsl", "lte", "--mode", "tc"});
    std::vector<Words> commands;
    for (int i = 0; i < 50; i++) {
        // Each waits for all before it, longer than a second and never for one of them.
        if (i % 10 == 9)
            commands.push_back({"--wait", "5", "use", i % 20 == 9 ? "smallest-delay" : "weighted"});
        else if (i % 2 == 0)
            commands.push_back({"--wait", "5", "path", "dsl", fmt::format("weight={}", i + 1)});
        else
            commands.push_back({i % 4 == 1 ? "status" : "conns"});
    }
    all_succeed(rig, commands);
    CHECK(rig.status()["problems"].empty());
}

TEST_CASE("attaching, detaching and changing the policy under load leave as much as there was before",
          "[robust][parallel]") {
    Rig rig(two_paths(50));
    rig.ok({"attach", "dsl", "--mode", "tc"});
    rig.ok({"use", "weighted"});
    auto server = must(lab::Server::start(rig.network().b()));
    auto transfer = rig.transfer(server);
    // Once around first: what another mode needs is loaded when it is first asked for, and stays.
    wear(rig, 3, 3);
    rig.ok({"use", "weighted"});
    const auto before = rig.programs();
    const auto pins = rig.bpffs().tree().size();
    wear(rig, 3, 6);
    rig.ok({"use", "weighted"});
    CHECK(rig.programs() == before);
    CHECK(rig.bpffs().tree().size() == pins);
    CHECK(rig.status()["policies"].size() == 1);
    CHECK(faults(rig.status()).empty());
    transfer.abort();
}

// `./run soak`: takes minutes, and counts all objects of ours in the kernel, so nobody else may use mpsched meanwhile.
TEST_CASE(
    "200 attaches and 1000 changes of policy under load leave programs, maps, pins and memory as they were",
    "[.soak]") {
    Rig rig(two_paths(50));
    rig.ok({"attach", "dsl", "--mode", "tc"});
    auto server = must(lab::Server::start(rig.network().b()));
    auto transfer = rig.transfer(server);
    // Once around first, so that what is made only once is there.
    wear(rig, 3, 3);
    rig.ok({"use", "weighted"});
    const Objects before = objects();
    const auto pins = rig.bpffs().tree().size();
    const auto number = [](const char *name, int usual) {
        const char *wanted = std::getenv(name);
        return wanted ? std::atoi(wanted) : usual;
    };
    wear(rig, number("MPS_SOAK_ATTACHES", 200), number("MPS_SOAK_USES", 1000));
    rig.ok({"use", "weighted"});
    Objects after;
    CHECK(eventually(
        [&] {
            after = objects();
            return after == before;
        },
        std::chrono::seconds(30)));
    WARN(fmt::format("programs {} -> {}, maps {} -> {}, pins {} -> {}, bytes {} -> {}", before.programs,
                     after.programs, before.maps, after.maps, pins, rig.bpffs().tree().size(), before.bytes,
                     after.bytes));
    CHECK(rig.bpffs().tree().size() == pins);
    CHECK(faults(rig.status()).empty());
    transfer.abort();
}
