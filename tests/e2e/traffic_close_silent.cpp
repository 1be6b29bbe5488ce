// SPDX-License-Identifier: MIT
//
// Paths that went silent are closed while `attach --follow --close-silent` runs, and opened again. What the kernel has of endpoints and subflows
// decides, not what our command says.
#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <thread>

#include <fmt/format.h>

#include "standby_pair.hpp"

using namespace mps::lab;
using namespace mps::e2e;

namespace {

constexpr const char *close_silent = "attach --follow --close-silent";

struct Pair : StandbyPair {
    using StandbyPair::StandbyPair;

    // Established ones from this path's address.
    [[nodiscard]] std::ptrdiff_t subflows(std::size_t path) const {
        return std::ranges::count_if(kernel_subflows(network.a()), [&](const KernelSubflow &one) {
            const std::string address = network.address(Side::a, path);
            const auto at = one.local.find(address);
            // ADDRESS:PORT, ADDRESS%DEVICE:PORT, [ADDRESS]:PORT
            return at != one.local.npos && std::string_view(":%]").contains(one.local[at + address.size()]);
        });
    }
    [[nodiscard]] std::string endpoints() const {
        return must(network.a().spawn_checked({"ip", "mptcp", "endpoint", "show"})).out;
    }
    [[nodiscard]] bool has_endpoint(std::size_t path) const {
        return endpoints().contains(network.address(Side::a, path) + " id ");
    }
    [[nodiscard]] std::int64_t removed() const {
        return must(must(read_counters(network.a())).get("MPTcpExtRmSubflow"));
    }
    // By which the peer ended subflows.
    [[nodiscard]] std::int64_t resets() const {
        return must(must(read_counters(network.a())).get("MPTcpExtMPRstRx"));
    }
    [[nodiscard]] bool both_joined() const { return subflows(0) == 1 && subflows(1) == 1; }
};

// The longest request of a connection whose path dies silently and is back later.
double longest_request(const char *follow, bool closes, Family family) {
    Pair pair(family);
    const Process follower = pair.mpsched.start(follow);
    Transfer transfer = pair.requests();
    REQUIRE(wait_until([&] { return pair.both_joined(); }, 10s) >= 0);
    std::this_thread::sleep_for(700ms);
    const std::string before = pair.endpoints();
    must(pair.network.set_blackhole(0, true));
    if (closes) {
        CHECK(wait_until([&] { return pair.subflows(0) == 0; }, 5s, 5ms) >= 0);
        CHECK(pair.removed() >= 1);
    }
    std::this_thread::sleep_for(1500ms);
    CHECK(pair.subflows(0) == (closes ? 0 : 1));
    must(pair.network.set_blackhole(0, false));
    CHECK(wait_until([&] { return pair.both_joined() && pair.endpoints() == before; }, 10s) >= 0);
    transfer.stop();
    const TransferResult result = transfer.wait();
    CHECK(result.errors() == 0);
    const auto &times = result.connections.at(0).request_seconds;
    REQUIRE(!times.empty());
    return *std::ranges::max_element(times);
}

// Until the endpoint of the first path is not there, between two tries, which last a tenth of a second: the follower is stopped then.
void stop_when_removed(Pair &pair, Process &follower) {
    must(pair.network.set_blackhole(0, true));
    const auto is_removed = [&] {
        if (pair.has_endpoint(0))
            return false;
        must(follower.signal(SIGSTOP));
        if (!pair.has_endpoint(0))
            return true;
        must(follower.signal(SIGCONT));
        return false;
    };
    REQUIRE(wait_until(is_removed, 20s, 5ms) >= 0);
}

} // namespace

TEST_CASE(
    "what a silent path had under way is sent elsewhere at once when it is closed, and it is opened again when it answers",
    "[e2e][guard]") {
    struct Seen {
        double closed, left;
    };
    const Family family = GENERATE(Family::ipv4, Family::ipv6);
    const auto seen = undisturbed(
        [&] {
            return Seen{longest_request(close_silent, true, family),
                        longest_request("attach --follow", false, family)};
        },
        [](const Seen &s) { return s.closed < 0.75 * s.left; }, 2);
    report(fmt::format("longest request: {:.0f} ms, {:.0f} ms where the path is left as it is",
                       seen.closed * 1000, seen.left * 1000));
    CHECK(seen.closed < 0.75 * seen.left);
}

TEST_CASE("a path whose link went down while it was closed is opened again when that is back",
          "[e2e][guard]") {
    Pair pair;
    const Process follower = pair.mpsched.start(close_silent);
    Transfer transfer = pair.requests();
    REQUIRE(wait_until([&] { return pair.both_joined(); }, 10s) >= 0);
    const std::string before = pair.endpoints();
    must(pair.network.set_blackhole(0, true));
    REQUIRE(wait_until([&] { return pair.subflows(0) == 0; }, 10s, 5ms) >= 0);
    must(pair.network.set_link(0, false, Side::a));
    must(pair.network.set_blackhole(0, false));
    std::this_thread::sleep_for(5s);
    CHECK(pair.subflows(0) == 0);
    must(pair.network.set_link(0, true, Side::a));
    CHECK(wait_until([&] { return pair.both_joined() && pair.endpoints() == before; }, 15s) >= 0);
    transfer.stop();
    CHECK(transfer.wait().errors() == 0);
}

TEST_CASE("a path that is back joins once, although what told of its end waits in the queue of the other one",
          "[e2e][guard]") {
    Pair pair(Family::ipv4, 500ms);
    for (const std::size_t path : {0U, 1U})
        must(pair.network.set_rate(path, path_rate(2)));
    const Process follower = pair.mpsched.start(close_silent);
    Transfer transfer = upload(pair.network, pair.server, {.think_time = 0ms});
    REQUIRE(wait_until([&] { return pair.both_joined(); }, 10s) >= 0);
    pair.mpsched("use default"); // fills both queues
    std::this_thread::sleep_for(3s);
    must(pair.network.set_blackhole(0, true));
    REQUIRE(wait_until([&] { return pair.subflows(0) == 0; }, 10s, 5ms) >= 0);
    std::this_thread::sleep_for(1s);
    const std::int64_t resets = pair.resets();
    must(pair.network.set_blackhole(0, false));
    CHECK(wait_until([&] { return pair.both_joined(); }, 10s, 5ms) >= 0);
    std::this_thread::sleep_for(2s);
    CHECK(pair.both_joined());
    // On a busy machine a queue may have outgrown what was waited for, once.
    CHECK(pair.resets() <= resets + 1);
    transfer.stop();
    CHECK(transfer.wait().errors() == 0);
}

TEST_CASE("a path is not closed while a connection has nothing else", "[e2e][guard]") {
    Pair pair;
    const Process follower = pair.mpsched.start(close_silent);
    TransferSpec alone = light_traffic();
    alone.think_time = 20ms;
    const bool plain = GENERATE(false, true); // TCP is no affair of the path manager
    alone.protocol = plain ? Protocol::tcp : Protocol::mptcp;
    const auto allow_subflows = [&](const char *number) {
        must(pair.network.a().spawn_checked({"ip", "mptcp", "limits", "set", "subflows", number}));
    };
    allow_subflows("0");
    alone.address = pair.network.server_address();
    alone.port = pair.server.port();
    Transfer single = must(Transfer::start(pair.network.a(), alone));
    std::this_thread::sleep_for(200ms);
    CHECK(pair.subflows(1) == 0);
    allow_subflows("8");
    Transfer transfer = pair.requests();
    REQUIRE(wait_until([&] { return pair.subflows(1) == 1; }, 10s) >= 0);
    std::this_thread::sleep_for(500ms);
    const std::string before = pair.endpoints();
    must(pair.network.set_blackhole(0, true));
    std::this_thread::sleep_for(1500ms);
    CHECK((pair.removed() >= 1) == plain);
    if (!plain)
        CHECK(pair.endpoints() == before);
    must(pair.network.set_blackhole(0, false));
    std::this_thread::sleep_for(1000ms);
    for (Transfer *one : {&single, &transfer}) {
        one->stop();
        CHECK(one->wait().errors() == 0);
    }
}

TEST_CASE(
    "mpschedd closes silent paths if its file says so, also by endpoints that are bound to no interface",
    "[e2e][guard]") {
    Pair pair;
    for (const std::size_t path : {0U, 1U}) {
        const std::string address = pair.network.address(Side::a, path);
        must(pair.network.a().ip(fmt::format(
            "mptcp endpoint del id {0}\nmptcp endpoint add {1} id {0} subflow", path + 1, address)));
    }
    const std::string before = pair.endpoints();
    const bool closes = GENERATE(true, false);
    const TemporaryFolder folder;
    const std::string file = folder.path() + "/mpsched.toml";
    std::ofstream(file) << "version = 1\n[[interface]]\nname = [\"dsl\", \"lte\"]\nmode = \"tc\"\n"
                        << "[default]\npolicy = \"active-standby\"\n[failover]\nclose_silent = "
                        << (closes ? "true\n" : "false\n");
    std::filesystem::permissions(file, std::filesystem::perms(0644));
    const std::string binary = Cli::default_binary() + "d";
    const Process service = must(Process::start(
        {binary, "--netns", pair.network.a().name(), "--config", file, "--state", folder.path() + "/state"},
        Cli::options()));
    Transfer transfer = pair.requests();
    REQUIRE(wait_until([&] { return pair.both_joined(); }, 10s) >= 0);
    std::this_thread::sleep_for(1500ms);
    must(pair.network.set_blackhole(0, true));
    CHECK((wait_until([&] { return pair.subflows(0) == 0; }, 2s, 5ms) >= 0) == closes);
    must(pair.network.set_blackhole(0, false));
    CHECK(wait_until([&] { return pair.both_joined() && pair.endpoints() == before; }, 10s) >= 0);
    transfer.stop();
    CHECK(transfer.wait().errors() == 0);
}

TEST_CASE("an endpoint that was removed is put back by whoever comes after one that was killed",
          "[e2e][guard]") {
    Pair pair;
    Process follower = pair.mpsched.start(close_silent);
    Transfer transfer = pair.requests();
    REQUIRE(wait_until([&] { return pair.both_joined(); }, 10s) >= 0);
    const std::string before = pair.endpoints();
    stop_when_removed(pair, follower);
    must(follower.signal(SIGKILL));
    (void)follower.wait(5s);
    const bool was_removed = !pair.has_endpoint(0);
    const std::string next = GENERATE("repair", "detach --all");
    pair.mpsched(next);
    CHECK(was_removed);
    CHECK(pair.endpoints() == before);
    must(pair.network.set_blackhole(0, false));
    CHECK(wait_until([&] { return pair.both_joined(); }, 15s) >= 0);
    if (next == "repair") {
        Process again = pair.mpsched.start(close_silent);
        std::this_thread::sleep_for(300ms);
        stop_when_removed(pair, again);
        must(again.signal(SIGTERM));
        must(again.signal(SIGCONT));
        CHECK(must(again.wait(5s)).exit_code == 0);
        CHECK(pair.has_endpoint(0));
    }
    transfer.stop();
    CHECK(transfer.wait().errors() == 0);
}
