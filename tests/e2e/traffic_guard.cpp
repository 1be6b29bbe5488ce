// SPDX-License-Identifier: MIT
//
// Paths that are lost while somebody follows: what was parked in their favour is opened without waiting for a packet of theirs.
#include <algorithm>
#include <csignal>
#include <thread>

#include <fmt/format.h>

#include "standby_pair.hpp"

using namespace mps::lab;
using namespace mps::e2e;

namespace {

std::int64_t counted(const Cli &mpsched, const char *name) {
    return mpsched.json("stats --json")[name].get<std::int64_t>();
}

struct Pair : StandbyPair {
    [[nodiscard]] bool standby_is_parked() const {
        const auto all = kernel_subflows(network.a());
        return std::ranges::any_of(all, [&](const KernelSubflow &one) {
            return one.backup && one.local.contains(network.address(Side::a, 1));
        });
    }
};

// The longest request of a connection whose path dies silently.
double longest_request(bool followed) {
    Pair pair;
    std::optional<Process> follower;
    if (followed)
        follower.emplace(pair.mpsched.start("attach --follow"));
    Transfer transfer = pair.requests();
    REQUIRE(wait_until([&] { return pair.standby_is_parked(); }, 5s) >= 0);
    std::this_thread::sleep_for(700ms);
    must(pair.network.set_blackhole(0, true));
    std::this_thread::sleep_for(1500ms);
    CHECK((counted(pair.mpsched, "silent") > 0) == followed);
    transfer.stop();
    const TransferResult result = transfer.wait();
    CHECK(result.errors() == 0);
    const auto &times = result.connections.at(0).request_seconds;
    REQUIRE(!times.empty());
    return *std::ranges::max_element(times);
}

} // namespace

TEST_CASE(
    "a parked path takes over from a silent one in less than two thirds of the time when somebody follows",
    "[e2e][guard]") {
    struct Seen {
        double with, without;
    };
    const auto seen = undisturbed([] { return Seen{longest_request(true), longest_request(false)}; },
                                  [](const Seen &s) { return s.with < 0.66 * s.without; }, 2);
    report(fmt::format("longest request: {:.0f} ms, without a follower {:.0f} ms", seen.with * 1000,
                       seen.without * 1000));
    CHECK(seen.with < 0.66 * seen.without);
}

TEST_CASE("a link that goes down opens the parked path at once, although no packet comes", "[e2e][guard]") {
    for (const bool address : {false, true}) {
        Pair pair;
        const Process follower = pair.mpsched.start("attach --follow");
        // A connection that is idle: nothing arrives, and no timer of the kernel's runs.
        TransferSpec spec = light_traffic();
        spec.think_time = 3s;
        const Transfer transfer = upload(pair.network, pair.server, spec);
        REQUIRE(wait_until([&] { return pair.standby_is_parked(); }, 5s) >= 0);
        std::this_thread::sleep_for(1200ms);
        CHECK(pair.standby_is_parked());
        if (address) {
            must(pair.network.a().ip("addr flush dev dsl"));
        } else {
            // Not at the peer: the kernel tells of a lost carrier once a second at most (linkwatch_fire_event()).
            must(pair.network.set_link(0, false, Side::a));
        }
        const double took = wait_until([&] { return !pair.standby_is_parked(); }, 3s, 0ms);
        report(fmt::format("open {:.0f} ms after {}", took * 1000,
                           address ? "the address was gone" : "the link was down"));
        CHECK(took >= 0);
        CHECK(took < 0.5); // the data path's own timer takes a second
    }
}

TEST_CASE("a path that is up again is preferred again, also after who followed was killed", "[e2e][guard]") {
    Pair pair;
    Process follower = pair.mpsched.start("attach --follow");
    Transfer transfer = pair.requests();
    REQUIRE(wait_until([&] { return pair.standby_is_parked(); }, 5s) >= 0);
    std::this_thread::sleep_for(500ms);
    must(pair.network.set_link(0, false, Side::b));
    REQUIRE(wait_until([&] { return !pair.standby_is_parked(); }, 3s, 0ms) >= 0);
    must(follower.signal(SIGKILL));
    must(pair.network.set_link(0, true, Side::b));
    const double took = wait_until([&] { return pair.standby_is_parked(); }, 12s);
    report(fmt::format("parked again {:.1f} s after the link was up", took));
    CHECK(took >= 0);
    transfer.stop();
    CHECK(transfer.wait().errors() == 0);
}

TEST_CASE("after a hundred times that a carrier went and came no path is stuck", "[e2e][guard]") {
    Pair pair;
    const Process follower = pair.mpsched.start("attach --follow");
    pair.mpsched("set hold_ms=1");
    Transfer transfer = pair.requests();
    REQUIRE(wait_until([&] { return pair.standby_is_parked(); }, 5s) >= 0);
    for (int i = 0; i < 100; i++) {
        must(pair.network.b().ip("link set dev dsl down"));
        std::this_thread::sleep_for(15ms);
        must(pair.network.b().ip("link set dev dsl up"));
        std::this_thread::sleep_for(15ms);
    }
    Meter meter(pair.network.b(), pair.network.devices());
    const double took =
        wait_until([&] { return pair.standby_is_parked() && meter.over(200ms).share[0] > 0.9; }, 12s, 0ms);
    report(fmt::format("carries again {:.1f} s after the last time", took));
    CHECK(took >= 0);
    transfer.stop();
    CHECK(transfer.wait().errors() == 0);
}
