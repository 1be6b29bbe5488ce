// SPDX-License-Identifier: MIT
//
// What policies make of downloads whose sender does not run mpsched, beside the shares and the standby of traffic_peer: by the bytes that
// arrived at the host's devices.
#include <array>

#include <fmt/format.h>

#include "peer_run.hpp"
#include "traffic_wire.hpp"

using namespace mps::lab;
using namespace mps::e2e;

namespace {

const double path_mbit = path_rate(20);
constexpr double idle = 0.02;
// … while the other direction uses both paths, and acknowledges over each.
constexpr double with_acks = 0.06;

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
        // What the peer has handed to the subflow when it is told: a window, which fills the path and its queue of 50 ms, and as
        // much again behind it.
        const double in_the_path = 2 * (2 * path_mbit * 1e6 / 8 * 0.05);
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
    // Dearer also once it is awake: what it received before its peer was told has woken it.
    run.mpsched("use energy --set umts_tail_ms=60000 --set umts_base_mw=5000 --set umts_down_mw=5000");
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
        // Side by side: each has its direction of the paths for itself but for the other's ACKs.
        auto download = run.start();
        auto sent = upload(run.network, run.server);
        std::this_thread::sleep_for(500ms);
        at_peer.restart();
        const auto down = run.receives(1s);
        const auto up = at_peer.read();
        report(fmt::format("{}: download {}, upload {}", direction, down.text(), up.text()));
        CHECK((down.share[1] < with_acks) == (direction != "tx"));
        CHECK((up.share[1] < with_acks) == (direction != "rx"));
        CHECK((run.prios() > 0) == (direction != "tx"));
        run.check_counted();
        run.finish(download);
        run.finish(sent);
    }
}

TEST_CASE("a peer that steers, too, and asked first does not keep this host from steering",
          "[e2e][download]") {
    PeerRun run(two_paths(Family::ipv4, path_mbit), "tc");
    const auto told_here = [&, before = mp_prio_received(run.network.a())] {
        return mp_prio_received(run.network.a()) - before;
    };
    run.mpsched("use default");
    auto download = run.start();
    Attachment attachment(run.network.b(), run.network.devices(), "tc");
    const Cli peer(run.network.b());
    peer("path lte priority=1");
    peer("use default");
    peer("use active-standby --direction rx");
    REQUIRE(wait_until([&] { return told_here() > 0; }, 5s, 50ms) >= 0);
    run.mpsched("path dsl priority=1");
    run.mpsched("use active-standby --direction rx");
    // It has to see for a while that the peer sends on lte all the same.
    Window window;
    CHECK(wait_until([&] { return (window = run.receives(500ms)).share[0] < with_acks; }, 15s, 100ms) >= 0);
    report(fmt::format("this host prefers lte: {}", window.text()));
    CHECK(run.receives(2s).share[0] < with_acks);
    run.finish(download);
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

TEST_CASE("a peer that does not hear is told again, ever more seldom, and obeys when it hears",
          "[e2e][download]") {
    PeerRun run(two_paths(Family::ipv4, path_mbit), "tc");
    const Cli at_peer(run.network.b());
    for (const auto &device : run.network.devices())
        at_peer(fmt::format("rule add {} in mp_prio neutralise", device));
    run.mpsched("path lte priority=1");
    run.mpsched("use active-standby");
    auto download = run.start();
    std::this_thread::sleep_for(1s);
    const auto deaf = run.receives(3s);
    std::int64_t arrived = 0;
    const Json rules = at_peer.json("rule counters");
    for (const Json &rule : rules)
        arrived += rule.at("matched").get<std::int64_t>();
    report(fmt::format("deaf: {}, {} MP_PRIO in 4 s", deaf.text(), arrived));
    CHECK(run.prios() == 0);
    CHECK(arrived >= 2);
    CHECK(arrived <= 8);
    // It is as without mpsched.
    CHECK(deaf.total_mbit > 1.8 * path_mbit);
    at_peer("rule del --all");
    CHECK(wait_until([&] { return kernel_backup(run.network.b(), run.network.address(Side::a, 1)); }, 8s) >=
          0);
    std::this_thread::sleep_for(500ms);
    const auto heard = run.receives(1s);
    report(fmt::format("heard: {}", heard.text()));
    CHECK(heard.share[1] < idle);
    run.finish(download);
}

TEST_CASE("a peer that floods us with MP_PRIO is told no more for that", "[e2e][download]") {
    auto spec = two_paths(Family::ipv4, path_mbit);
    spec.joins = Joins::server_signal;
    PeerRun run(spec, "tc");
    run.mpsched("path lte priority=1");
    run.mpsched("use active-standby");
    auto download = run.start();
    std::this_thread::sleep_for(1500ms);
    const auto before = mp_prio_received(run.network.a());
    const auto told = run.prios();
    run.meter.restart();
    for (int i = 0; i < 100; ++i) {
        must(run.network.b().ip(fmt::format("mptcp endpoint change {} {}", run.network.address(Side::b, 1),
                                            i % 2 ? "nobackup" : "backup")));
        std::this_thread::sleep_for(10ms);
    }
    const auto window = run.meter.read();
    const auto flood = mp_prio_received(run.network.a()) - before;
    report(fmt::format("{} MP_PRIO of the peer: {}, told {}", flood, window.text(), run.prios() - told));
    CHECK(flood >= 80);
    CHECK(run.prios() - told <= 4);
    CHECK(window.share[1] < idle);
    CHECK(window.mbit[0] > 0.8 * path_mbit);
    run.check_counted();
    run.finish(download);
}

namespace {

// Half of twenty connections send, half receive, and what decides about either changes all the time.
void swap_both(const NetworkSpec &spec, const char *mode, std::chrono::milliseconds duration) {
    constexpr unsigned half = 10;
    constexpr std::array commands{"use weighted",
                                  "use active-standby --direction rx",
                                  "use active-standby --direction tx",
                                  "path lte priority=2",
                                  "use auto",
                                  "use default --direction rx",
                                  "use round-robin",
                                  "path lte priority=0",
                                  "use default"};
    PeerRun run(spec, mode);
    run.mpsched("path dsl weight=3 priority=1");
    const auto at_peer = must(read_counters(run.network.b()));
    const auto here = must(read_counters(run.network.a()));
    auto download = run.start({.connections = half});
    auto sent = upload(run.network, run.server, {.connections = half});
    const auto end = std::chrono::steady_clock::now() + duration;
    for (std::size_t i = 0; std::chrono::steady_clock::now() < end; ++i) {
        run.mpsched(commands[i % commands.size()]);
        std::this_thread::sleep_for(150ms);
    }
    // The uploads fill the queues, which drop some of what is told; it is told again where that shows.
    const auto prios = run.prios();
    const auto sent_prios = run.mpsched.json("stats").at("told").get<std::int64_t>();
    CHECK(prios > 0);
    CHECK(prios <= sent_prios);
    CHECK(prios >= sent_prios * 9 / 10);
    CHECK(download.running());
    CHECK(sent.running());
    for (Transfer *transfer : {&download, &sent}) {
        transfer->stop();
        const auto result = transfer->wait();
        check_clean(result);
        CHECK(result.connections.size() == half);
        CHECK(result.min_subflows() == 2);
    }
    run.health.check();
    const auto heard = must(read_counters(run.network.a())) - here;
    CHECK(must(heard.get("MPTcpExtMPPrioRx")) > 0);
    for (const auto &moved : {heard, must(read_counters(run.network.b())) - at_peer})
        CHECK(must(moved.get("TcpInCsumErrors")) == 0);
    report(fmt::format("{}: the peer heard {} of {} MP_PRIO", mode, prios, sent_prios));
}

NetworkSpec jumbo() {
    auto spec = two_paths(Family::ipv4, path_mbit);
    for (auto &path : spec.paths)
        path.mtu = 9000;
    return spec;
}

NetworkSpec small_without_offload() {
    auto spec = two_paths(Family::ipv6, path_mbit);
    spec.offloads = {.tx_checksum = false, .gro = false};
    for (auto &path : spec.paths)
        path.mtu = 1280;
    return spec;
}

} // namespace

TEST_CASE("policies are swapped in both directions under 20 connections with an MTU of 9000",
          "[e2e][download]") {
    swap_both(jumbo(), "tc", 4s);
}

// Not part of every run: ./build/bin/tests/traffic_download '[long]'
TEST_CASE("policies are swapped in both directions under 20 connections for 60 s", "[.][long]") {
    swap_both(small_without_offload(), "native", 30s);
    swap_both(jumbo(), "generic", 30s);
}
