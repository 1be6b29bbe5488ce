// SPDX-License-Identifier: MIT
//
// What policies make of connections that pass a gateway.
#include <cmath>
#include <functional>

#include "gateway_rig.hpp"

using namespace mps::e2e;

namespace {

constexpr std::uint64_t quota_bytes = 3'000'000;
// What a push may hand out to one subflow before there is another decision, and what is under way to a queue of 50 ms.
const double late_bytes = 65536 + path_mbit * 1e6 / 8 * 0.05;
// Ethernet's share of what a device counts, above the IP packets that a quota counts.
constexpr double link_layer = 1.012;

double carried(const Gateway &gateway, const char *uplink) {
    const auto device = must(mps::lab::read_counters(gateway.network.gateway)).devices.at(uplink);
    return static_cast<double>(device.rx_bytes + device.tx_bytes);
}

// Shares of an open-ended stretch, once they are as they should be.
Shares settled(Meters &meters, const std::function<bool(const Shares &)> &suffices) {
    const Shares seen = undisturbed([&] { return meters.over(500ms); }, suffices, 12);
    report(seen.text());
    return seen;
}

bool both_used(const Shares &one) {
    const auto used = [](const Window &way) { return way.share[0] > 0.3 && way.share[1] > 0.3; };
    return used(one.up) && used(one.down);
}

} // namespace

TEST_CASE("overflow at a gateway fills the first uplink before it opens the next, in both directions",
          "[e2e][gateway][policies]") {
    Gateway gateway(Family::ipv4);
    gateway.mpsched("attach --role gateway up0 up1 --policy default");
    gateway.mpsched("path up1 priority=1");
    gateway.mpsched("use overflow");
    auto light = gateway.network.start(
        gateway.server,
        {.direction = Direction::requests, .request_bytes = 300, .response_bytes = 3000, .think_time = 3ms});
    REQUIRE(light.wait_for_subflows(2));
    Meters meters(gateway);
    std::this_thread::sleep_for(500ms);
    CHECK(settled(meters, [](const Shares &one) { return one.on(0, 0.1); }).on(0, 0.1));
    light.stop();
    check_clean(light.wait());
    for (const Direction direction : {Direction::upload, Direction::download}) {
        auto bulk = gateway.network.start(gateway.server, {.direction = direction});
        REQUIRE(bulk.wait_for_subflows(2));
        const auto used = [&](const Shares &one) {
            const Window &way = direction == Direction::upload ? one.up : one.down;
            return way.share[0] > 0.3 && way.share[1] > 0.3 && way.total_mbit > 1.5 * path_mbit;
        };
        CHECK(used(settled(meters, used)));
        bulk.stop();
        check_clean(bulk.wait());
    }
    gateway.check_hosts();
}

TEST_CASE("round-robin at a gateway gives uplinks equal turns, whatever their weights",
          "[e2e][gateway][policies]") {
    Gateway gateway(Family::ipv4);
    gateway.mpsched("attach --role gateway up0 up1 --policy default");
    gateway.mpsched("path up0 weight=9");
    gateway.mpsched("use weighted");
    BothWays traffic(gateway);
    Meters meters(gateway);
    const auto uneven = [](const Shares &one) { return one.up.share[0] > 0.8 && one.down.share[0] > 0.8; };
    CHECK(uneven(settled(meters, uneven)));
    gateway.mpsched("use round-robin");
    const auto even = [](const Shares &one) {
        return std::abs(one.up.share[0] - 0.5) < 0.1 && std::abs(one.down.share[0] - 0.5) < 0.1;
    };
    CHECK(even(settled(meters, even)));
    traffic.finish();
    gateway.check_hosts();
}

TEST_CASE(
    "latency-budget at a gateway keeps to uplinks whose round trip is within it, and auto to the quick one while it suffices",
    "[e2e][gateway][policies]") {
    Gateway gateway({.mbit = path_mbit, .uplinks = {Kind::tun, Kind::tun}, .delays = {60ms, 2ms}});
    gateway.mpsched("attach --role gateway up0 up1 --policy default");
    gateway.mpsched("use latency-budget -s budget_ms=100");
    Meters meters(gateway);
    {
        BothWays traffic(gateway);
        CHECK(settled(meters, [](const Shares &one) { return one.on(1, 0.1); }).on(1, 0.1));
        gateway.mpsched("set budget_ms=1000 retry_s=1");
        CHECK(both_used(settled(meters, both_used)));
        gateway.mpsched("use auto");
        CHECK(both_used(settled(meters, both_used)));
        traffic.finish();
    }
    auto light = gateway.network.start(
        gateway.server,
        {.direction = Direction::requests, .request_bytes = 300, .response_bytes = 3000, .think_time = 3ms});
    REQUIRE(light.wait_for_subflows(2));
    CHECK(settled(meters, [](const Shares &one) { return one.on(1, 0.1); }).on(1, 0.1));
    light.stop();
    check_clean(light.wait());
    gateway.check_hosts();
}

TEST_CASE(
    "a quota at a gateway counts what passes in both directions, and then the uplink carries nothing more",
    "[e2e][gateway][policies]") {
    Gateway gateway(Family::ipv4);
    gateway.mpsched("attach --role gateway up0 up1 --policy default");
    gateway.mpsched(fmt::format("path up1 priority=1 quota={}", quota_bytes));
    gateway.mpsched("use quota");
    const auto used = [&] { return gateway.mpsched.json("path up1").at("quota_used_bytes").get<double>(); };
    for (const Direction direction : {Direction::upload, Direction::download}) {
        gateway.mpsched("path up1 quota_used=0");
        const double before = carried(gateway, "up1");
        auto bulk = gateway.network.start(gateway.server, {.direction = direction});
        CHECK(wait_until([&] { return used() > 0.85 * quota_bytes; }, 20s) >= 0);
        std::this_thread::sleep_for(500ms);
        const double seen = carried(gateway, "up1") - before, counted = used();
        report(fmt::format("quota {}, counted {}, device {} bytes", quota_bytes, counted, seen));
        CHECK(counted > 0.95 * seen);
        CHECK(counted < 1.05 * seen);
        CHECK(seen < link_layer * (quota_bytes + 2 * late_bytes));
        std::this_thread::sleep_for(500ms);
        CHECK(carried(gateway, "up1") - before - seen < late_bytes);
        bulk.stop();
        check_clean(bulk.wait());
    }
    gateway.check_hosts();
}
