// SPDX-License-Identifier: MIT
//
// Several commands at once: one at a time changes something, none is lost, and looking never waits.
#include <thread>

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

// The lock that commands take, in our hands.
class Locked {
  public:
    explicit Locked(const Rig &rig)
        : fd_(::open(rig.bpffs().path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
        REQUIRE(::flock(fd_.get(), LOCK_EX | LOCK_NB) == 0);
    }
    void release() { fd_.reset(); }

  private:
    lab::Fd fd_;
};

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

TEST_CASE("a command waits for another one, gives up after ten seconds, and looking never waits",
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
    CHECK(must(document.wait(30s)).exit_code == 1);
    CHECK(rig.status()["default_policy"] == "weighted");
    // The first one gave up as well by now; the next finds the lock free.
    CHECK(must(change.wait(15s)).exit_code == 1);
    auto next = must(
        lab::Process::start(rig.command({"path", "dsl", "weight=5"}), {.environment = rig.environment()}));
    std::this_thread::sleep_for(300ms);
    CHECK(next.running());
    lock.release();
    CHECK(must(next.wait(10s)).exit_code == 0);
    CHECK(rig.status()["paths"][0]["weight"] == 5);
}
