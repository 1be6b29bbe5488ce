// SPDX-License-Identifier: MIT
//
// What policies make of downloads whose sender does not run mpsched, beside the shares and the standby of traffic_peer: by the bytes that
// arrived at the host's devices.
#include <fmt/format.h>

#include "peer_run.hpp"
#include "traffic_wire.hpp"

using namespace mps::lab;
using namespace mps::e2e;

namespace {

const double path_mbit = path_rate(20);
constexpr double idle = 0.02;

// `bytes` every `interval`: what a path carries easily, if that is less than its rate.
TransferSpec stream(std::uint32_t bytes, std::chrono::microseconds interval) {
    return {.direction = Direction::requests, .response_bytes = bytes, .think_time = interval};
}

} // namespace

TEST_CASE("overflow: a download has the second path only while the first is full", "[e2e][download]") {
    PeerRun run(two_paths(Family::ipv4, path_mbit), "tc");
    run.mpsched("path lte priority=1");
    run.mpsched("use overflow");
    auto light = run.start(stream(6000, 10ms));
    std::this_thread::sleep_for(300ms);
    const auto within = run.receives(1500ms);
    report(fmt::format("a stream within the first path's rate: {}", within.text()));
    CHECK(within.total_mbit > 0.1 * path_mbit);
    CHECK(within.share[1] < idle);
    run.finish(light);

    auto bulk = run.start();
    std::this_thread::sleep_for(1200ms);
    const auto full = undisturbed([&] { return run.receives(1500ms); },
                                  [](const Window &seen) { return seen.total_mbit > 1.8 * path_mbit; });
    report(fmt::format("bulk: {}", full.text()));
    CHECK(full.total_mbit > 1.8 * path_mbit);
    run.check_counted();
    run.finish(bulk);
}

TEST_CASE("quota: a download brings the quota over the metered path and no more", "[e2e][download]") {
    constexpr std::uint64_t quota = 3'000'000, burst = 65536;
    for (const unsigned connections : {1u, 6u}) {
        auto spec = two_paths(Family::ipv4, 2 * path_mbit);
        spec.first_path = connections == 1 ? 1 : 0;
        PeerRun run(spec, connections == 1 ? "tc" : "native");
        const auto carried = [&] {
            const auto lte = must(read_counters(run.network.a())).devices.at("lte");
            return lte.rx_bytes + lte.tx_bytes;
        };
        run.mpsched(fmt::format("path lte priority=1 quota={}", quota));
        run.mpsched("use quota");
        const auto before = carried();
        auto transfer = run.start({.connections = connections, .bytes = 16'000'000 / connections});
        check_clean(transfer.wait());
        const auto seen = static_cast<double>(carried() - before);
        // What the path holds when its queue of 50 ms is full.
        const double in_the_path = 2 * path_mbit * 1e6 / 8 * 0.05;
        report(fmt::format("{} connections: quota {}, device {} bytes", connections, quota, seen));
        CHECK(seen <= (static_cast<double>(quota + connections * burst) + in_the_path) * 1.012);
        CHECK(seen > 0.7 * static_cast<double>(quota));
        run.health.check();
    }
}

TEST_CASE("latency-budget: a download avoids the path that exceeds the budget", "[e2e][download]") {
    const WiredNetwork network({{.name = "quick", .kind = Kind::tap, .rate_mbit = path_mbit, .delay = 3ms},
                                {.name = "slow", .kind = Kind::tap, .rate_mbit = path_mbit, .delay = 60ms}});
    const auto server = network.serve();
    Attachment attachment(network.a(), network.devices(), "tc");
    const Cli mpsched(network.a());
    Meter meter(network.a(), network.devices());
    mpsched("use latency-budget --set budget_ms=100 --set hold_ms=200");
    auto transfer = network.start(server, stream(20000, 5ms), 0);
    std::this_thread::sleep_for(1s);
    meter.restart();
    const auto within = meter.over(1500ms);
    report(fmt::format("budget 100 ms: {}", within.text()));
    CHECK(within.total_mbit > 1);
    CHECK(within.share[1] < idle);
    transfer.stop();
    check_clean(transfer.wait());
}

TEST_CASE("energy: a download comes by the radio that takes less energy for it", "[e2e][download]") {
    PeerRun run(two_paths(Family::ipv6, path_mbit), "tc");
    run.mpsched("path dsl energy=wifi");
    run.mpsched("path lte energy=3g");
    run.mpsched("use energy --set umts_tail_ms=60000");
    auto transfer = run.start();
    std::this_thread::sleep_for(500ms);
    const auto dear = run.receives(1500ms);
    report(fmt::format("the second radio is the dearer one: {}", dear.text()));
    CHECK(dear.share[1] < idle);
    CHECK(dear.mbit[0] > 0.9 * path_mbit);
    run.mpsched(
        "use energy --set umts_promo_ms=0 --set umts_tail_ms=0 --set umts_base_mw=0 --set wifi_down_mw=1000");
    std::this_thread::sleep_for(1s);
    const auto cheap = run.receives(1500ms);
    report(fmt::format("the other is the dearer one: {}", cheap.text()));
    CHECK(cheap.share[1] > 0.9);
    run.check_counted();
    run.finish(transfer);
}

TEST_CASE("deadline: a download has the dear path only while it would be late", "[e2e][download]") {
    PeerRun run(two_paths(Family::ipv4, path_mbit), "generic");
    run.mpsched("path lte cost=10");
    run.mpsched("use deadline --set deadline_ms=60000");
    auto transfer = run.start();
    std::this_thread::sleep_for(500ms);
    const auto early = run.receives(1500ms);
    report(fmt::format("a minute for it: {}", early.text()));
    CHECK(early.share[1] < idle);
    CHECK(early.mbit[0] > 0.9 * path_mbit);
    run.mpsched("use deadline --set deadline_ms=500");
    std::this_thread::sleep_for(1s);
    const auto late = run.receives(1500ms);
    report(fmt::format("half a second: {}", late.text()));
    CHECK(late.share[1] > 0.3);
    run.finish(transfer);

    // Answers of which each arrives in time by the cheap path alone.
    run.mpsched("use deadline --set deadline_ms=2000");
    auto answers = run.start(stream(200000, 300ms));
    std::this_thread::sleep_for(700ms);
    const auto in_time = run.receives(1500ms);
    report(fmt::format("answers of 200 KB, two seconds for each: {}", in_time.text()));
    CHECK(in_time.share[1] < idle);
    run.check_counted();
    run.finish(answers);
}

TEST_CASE("each direction is steered alone where only that is asked for", "[e2e][download]") {
    for (const std::string direction : {"tx", "rx", "both"}) {
        PeerRun run(two_paths(Family::ipv4, path_mbit), "tc");
        Meter at_peer(run.network.b(), run.network.devices());
        run.mpsched("path lte priority=1");
        run.mpsched("use default");
        run.mpsched("use active-standby --direction " + direction);
        auto download = run.start();
        std::this_thread::sleep_for(500ms);
        const auto down = run.receives(1s);
        CHECK((down.share[1] < idle) == (direction != "tx"));
        CHECK((run.prios() > 0) == (direction != "tx"));
        run.check_counted();
        run.finish(download);
        auto sent = upload(run.network, run.server);
        std::this_thread::sleep_for(500ms);
        at_peer.restart();
        const auto up = at_peer.over(1s);
        report(fmt::format("{}: download {}, upload {}", direction, down.text(), up.text()));
        CHECK((up.share[1] < idle) == (direction != "rx"));
        run.finish(sent);
    }
}

TEST_CASE("a rule steers one direction of the connections that it is for", "[e2e][download]") {
    PeerRun run(two_paths(Family::ipv4, path_mbit), "tc");
    run.mpsched("path lte priority=1");
    run.mpsched("use default");
    run.mpsched(fmt::format("use active-standby --direction rx --for rport={}", run.server.port()));
    auto download = run.start();
    std::this_thread::sleep_for(500ms);
    const auto matched = run.receives(1s);
    report(fmt::format("with a rule: {}", matched.text()));
    CHECK(matched.share[1] < idle);
    run.mpsched(fmt::format("use default --direction rx --for rport={}", run.server.port()));
    std::this_thread::sleep_for(300ms);
    const auto left = run.receives(1s);
    report(fmt::format("the rule says default: {}", left.text()));
    CHECK(left.share[1] > 0.3);
    run.check_counted();
    run.finish(download);
}
