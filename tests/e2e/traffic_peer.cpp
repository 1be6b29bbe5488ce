// SPDX-License-Identifier: MIT
//
// What the peer sends: a host that runs mpsched downloads from one that does not. Judged by what the host's devices received,
// and by what the peer's kernel took (MPPrioRx).
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <thread>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "peer_run.hpp"

using namespace mps::lab;
using namespace mps::e2e;

namespace {

const double path_mbit = path_rate(20);

using Run = PeerRun;

NetworkSpec two_paths(Family family) { return mps::e2e::two_paths(family, path_mbit); }

} // namespace

TEST_CASE("a download is shared by the weights of its paths", "[e2e][peer]") {
    for (const auto &[family, mode] : {std::pair{Family::ipv4, "tc"}, std::pair{Family::ipv6, "native"}}) {
        Run run(two_paths(family), mode);
        run.mpsched("path dsl weight=3");
        run.mpsched("use weighted");
        auto transfer = run.start();
        std::this_thread::sleep_for(1s);
        run.meter.restart();
        const auto window = undisturbed([&] { return run.meter.over(4s); },
                                        [](const Window &seen) {
                                            return std::abs(seen.share[0] - 0.75) < 0.05 &&
                                                   seen.total_mbit > 0.95 * path_mbit * 4 / 3;
                                        });
        const auto line = fmt::format("{} weights 3:1: {}", mode, window.text());
        report(line);
        INFO(line);
        CHECK(std::abs(window.share[0] - 0.75) < 0.05);
        CHECK(window.total_mbit > 0.95 * path_mbit * 4 / 3);
        run.check_counted();
        run.finish(transfer);
    }
}

TEST_CASE("a download leaves the standby path alone", "[e2e][peer]") {
    for (const auto &[family, mode] : {std::pair{Family::ipv4, "generic"}, std::pair{Family::ipv6, "tc"}}) {
        Run run(two_paths(family), mode);
        run.mpsched("path lte priority=1");
        run.mpsched("use active-standby");
        auto transfer = run.start();
        std::this_thread::sleep_for(500ms);
        run.meter.restart();
        const auto window = run.meter.over(2s);
        const auto line = fmt::format("{} active-standby: {}", mode, window.text());
        report(line);
        INFO(line << run.mpsched.json("stats").dump());
        CHECK(window.share[1] < 0.02);
        CHECK(window.mbit[0] > 0.9 * path_mbit);
        run.check_counted();
        run.attachment.detach();
        run.meter.restart();
        std::this_thread::sleep_for(300ms);
        const auto after = run.meter.over(2s);
        report(fmt::format("{} detached: {}", mode, after.text()));
        CHECK(after.share[1] > 0.3);
        for (const auto &subflow : kernel_subflows(run.network.b()))
            CHECK_FALSE(subflow.backup);
        run.finish(transfer);
    }
}

namespace {

// What every mpsched of this process is to do without.
class Without {
  public:
    explicit Without(const char *what) { ::setenv("MPS_WITHOUT", what, 1); }
    Without(const Without &) = delete;
    Without &operator=(const Without &) = delete;
    ~Without() { ::unsetenv("MPS_WITHOUT"); }
};

NetworkSpec with(Family family, Offloads offloads, unsigned mtu = 1500) {
    auto spec = two_paths(family);
    spec.offloads = offloads;
    for (auto &path : spec.paths) {
        path.mtu = mtu;
    }
    return spec;
}

bool told_to_avoid(const Run &run, std::size_t path) {
    const auto address = run.network.address(Side::a, path);
    return kernel_backup(run.network.b(), address.contains(':') ? fmt::format("[{}]", address) : address);
}

// Which path is to be avoided changes while next to nothing is sent, so that the other one is silent when its turn comes.
void check_turns(Run &run, int turns) {
    auto spec = light_traffic();
    spec.address = run.network.address(Side::b, 0);
    auto transfer = upload(run.network, run.server, spec);
    for (int i = 0; i < turns; ++i) {
        run.mpsched(fmt::format("path lte priority={}", i % 2 ? 0 : 2));
        const std::size_t avoided = i % 2 ? 0 : 1;
        CHECK(wait_until([&] { return told_to_avoid(run, avoided) && !told_to_avoid(run, 1 - avoided); }, 2s,
                         10ms) >= 0);
    }
    std::this_thread::sleep_for(50ms);
    const auto stats = run.mpsched.json("stats");
    report(
        fmt::format("{} turns: told {}, alone {}", turns, stats["told"].dump(), stats["told_alone"].dump()));
    CHECK(stats["told_alone"] > turns / 2);
    CHECK(stats["tell_failed"] == 0);
    run.check_counted();
    transfer.stop();
    check_clean(transfer.wait());
    run.health.check();
}

} // namespace

TEST_CASE("the peer is told of a silent subflow in a packet of its own", "[e2e][peer]") {
    struct Case {
        const char *name;
        NetworkSpec spec;
        const char *mode;
        bool tcx;
    };
    const Case cases[] = {
        {"IPv4", two_paths(Family::ipv4), "tc", true},
        {"IPv6, MTU 1280", with(Family::ipv6, {}, 1280), "generic", true},
        {"no checksum offload", with(Family::ipv4, {.tx_checksum = false}), "tc", true},
        {"IPv6, no checksum offload, clsact", with(Family::ipv6, {.tx_checksum = false}), "native", false},
    };
    for (const auto &one : cases) {
        INFO(one.name);
        const Without without(one.tcx ? "" : "tcx");
        Run run(one.spec, one.mode);
        run.mpsched("path dsl priority=1");
        run.mpsched("path lte priority=2");
        // The state of a switch back has to last.
        run.mpsched("use active-standby --set hold_ms=0");
        check_turns(run, 6);
    }
}

TEST_CASE("what an idle peer was told is taken back", "[e2e][peer]") {
    for (const bool by_detach : {true, false}) {
        Run run(two_paths(Family::ipv4), "tc");
        run.mpsched("path lte priority=1");
        run.mpsched("use active-standby");
        auto spec = light_traffic();
        spec.address = run.network.address(Side::b, 0);
        spec.think_time = 1s;
        auto transfer = upload(run.network, run.server, spec);
        CHECK(wait_until([&] { return told_to_avoid(run, 1); }, 3s, 10ms) >= 0);
        // Nothing is sent now, for nearly a second.
        if (by_detach) {
            run.attachment.detach();
        } else {
            run.mpsched("use default");
        }
        CHECK(wait_until([&] { return !told_to_avoid(run, 1); }, 400ms, 10ms) >= 0);
    }
}

TEST_CASE("the local path manager's own word to the peer is heeded", "[e2e][peer]") {
    Run run(two_paths(Family::ipv4), "tc");
    run.mpsched("path lte priority=1");
    run.mpsched("use active-standby");
    auto transfer = run.start();
    CHECK(wait_until([&] { return told_to_avoid(run, 1); }, 2s, 10ms) >= 0);
    const auto endpoint = fmt::format("mptcp endpoint change {} ", run.network.address(Side::a, 1));
    must(run.network.a().ip(endpoint + "backup"));
    CHECK(wait_until([&] { return run.mpsched.json("stats")["told_by_kernel"] == 1; }, 1s, 10ms) >= 0);
    // It says that the path is to be used: the policy says otherwise, and has the last word.
    must(run.network.a().ip(endpoint + "nobackup"));
    CHECK(wait_until([&] { return run.mpsched.json("stats")["told_by_kernel"] == 2; }, 1s, 10ms) >= 0);
    CHECK(wait_until([&] { return told_to_avoid(run, 1); }, 1s, 10ms) >= 0);
    run.check_counted();
    // What the endpoint says stays when we go.
    must(run.network.a().ip(endpoint + "backup"));
    run.attachment.detach();
    std::this_thread::sleep_for(100ms);
    CHECK(told_to_avoid(run, 1));
    run.finish(transfer);
}

TEST_CASE("what the peer was told is taken back although it has asked for the same since", "[e2e][peer]") {
    auto spec = two_paths(Family::ipv4);
    spec.joins = Joins::server_signal;
    Run run(spec, "tc");
    run.mpsched("path lte priority=1");
    run.mpsched("use active-standby");
    auto transfer = run.start();
    CHECK(wait_until([&] { return told_to_avoid(run, 1); }, 2s, 10ms) >= 0);
    const auto asked_before = mp_prio_received(run.network.a());
    must(run.network.b().ip(fmt::format("mptcp endpoint change {} backup", run.network.address(Side::b, 1))));
    REQUIRE(wait_until([&] { return mp_prio_received(run.network.a()) > asked_before; }, 2s, 10ms) >= 0);
    run.mpsched("path lte priority=0");
    run.mpsched("path dsl priority=1");
    CHECK(wait_until([&] { return !told_to_avoid(run, 1); }, 2s, 10ms) >= 0);
    // It treats lte as a backup itself, so dsl is not taken from it.
    std::this_thread::sleep_for(500ms);
    CHECK_FALSE(told_to_avoid(run, 0));
    run.meter.restart();
    const auto window = run.meter.over(500ms);
    report(window.text());
    CHECK(window.share[1] < 0.02);
    run.finish(transfer);
}

TEST_CASE("a long download has all paths under auto", "[e2e][peer]") {
    Run run(two_paths(Family::ipv4), "tc");
    run.mpsched("use auto");
    auto transfer = run.start();
    std::this_thread::sleep_for(1s);
    run.meter.restart();
    const auto window = undisturbed([&] { return run.meter.over(2s); },
                                    [](const Window &seen) { return seen.total_mbit > 1.9 * path_mbit; });
    const auto line = fmt::format("auto: {}", window.text());
    report(line);
    INFO(line << run.mpsched.json("stats").dump());
    CHECK(window.total_mbit > 1.9 * path_mbit);
    run.check_counted();
    run.finish(transfer);
}
