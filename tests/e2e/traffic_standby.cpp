// SPDX-License-Identifier: MIT
//
// active-standby: the standby path is idle while a better one lives, takes over when that is set down, on
// either side, and gives the traffic back when it has returned.
#include <algorithm>
#include <thread>

#include <fmt/format.h>

#include "traffic.hpp"

using namespace mps::lab;
using namespace mps::e2e;

namespace {

constexpr double idle_share = 0.01;
const double path_mbit = path_rate(50);
// The kernel gives a silent path up after its retransmission timer, which starts at 200 ms and doubles.
constexpr auto takeover_limit = 4s;
// A path that was away is tried again when that timer fires, which has backed off meanwhile; then comes
// hold_ms.
constexpr auto return_limit = 12s;

struct Run {
    Network network;
    Server server;
    Health health;
    Attachment attachment;
    Cli mpsched;
    Transfer transfer;
    Meter meter;
    std::string name;

    Run(NetworkSpec spec, const char *mode)
        : network(must(Network::create(spec))),
          server(serve(network)),
          health(network.a(), network.b()),
          attachment(network.a(), network.devices(), mode),
          mpsched(network.a()),
          transfer((choose(), upload(network, server))),
          meter(network.b(), network.devices()),
          name(fmt::format("{} {}", mode, spec.family == Family::ipv6 ? "IPv6" : "IPv4")) {
        std::this_thread::sleep_for(500ms);
    }

    void choose() const {
        for (std::size_t i = 0; i < network.path_count(); ++i) {
            mpsched(fmt::format("path {} priority={}", network.devices()[i], i));
        }
        mpsched("use active-standby");
    }

    // Everything is on one path, which is full. Not necessarily at once: what was queued on a path when its link went down is
    // sent when TCP's timer fires, which backs off meanwhile, and is no decision of ours.
    void check_carrier(std::size_t path, const char *when, std::chrono::milliseconds duration = 1500ms) {
        struct Seen {
            double mbit, share, payload;
        };
        const auto seen = undisturbed(
            [&] {
                const auto before = delivered(transfer, network);
                const auto window = meter.over(duration);
                const auto payload = shares(before, delivered(transfer, network));
                report(fmt::format("{}, {}: {}", name, when, window.text()));
                return Seen{window.mbit[path], window.share[path], payload[path]};
            },
            [](const Seen &window) {
                return window.mbit > 0.9 * path_mbit && window.share > 1 - idle_share &&
                       window.payload > 1 - idle_share;
            });
        INFO(name << ", " << when);
        CHECK(seen.mbit > 0.9 * path_mbit);
        CHECK(seen.share > 1 - idle_share);
        CHECK(seen.payload > 1 - idle_share);
    }

    // Until the path receives nearly everything.
    void wait_for_carrier(std::size_t path, const char *when, std::chrono::milliseconds limit) {
        meter.restart();
        const double took = wait_until(
            [&] {
                const auto window = meter.over(150ms);
                return window.share[path] > 0.9 && window.mbit[path] > path_mbit / 2;
            },
            limit, 0ms);
        const auto line =
            fmt::format("{}, {}: {:.2f} s until {} carries", name, when, took, network.devices()[path]);
        report(line);
        INFO(line);
        CHECK(took >= 0);
    }

    void finish() {
        transfer.stop();
        check_clean(transfer.wait());
        // Subflows over a path that is down are closed by the kernel in its own time; nothing else may break.
        health.check();
    }
};

NetworkSpec paths(Family family, std::initializer_list<const char *> names) {
    NetworkSpec spec{.family = family};
    for (const auto *name : names) {
        spec.paths.push_back({.name = name, .rate_mbit = path_mbit});
    }
    return spec;
}

void check_two_tiers(Family family, const char *mode, Side side) {
    Run run(paths(family, {"dsl", "lte"}), mode);
    run.check_carrier(0, "both up");
    must(run.network.set_link(0, false, side));
    run.wait_for_carrier(1, side == Side::a ? "dsl down here" : "dsl down at the peer", takeover_limit);
    run.check_carrier(1, "dsl down");
    must(run.network.set_link(0, true, side));
    run.wait_for_carrier(0, "dsl up again", return_limit);
    run.check_carrier(0, "dsl back");
    run.finish();
}

} // namespace

TEST_CASE("the standby path is idle until the link goes down at the peer and again when it is up",
          "[e2e][active-standby]") {
    check_two_tiers(Family::ipv4, "tc", Side::b);
}

TEST_CASE("the standby path is idle until the link goes down here and again when it is up",
          "[e2e][active-standby]") {
    check_two_tiers(Family::ipv6, "native", Side::a);
}

TEST_CASE("each of three tiers takes over when the better ones are down", "[e2e][active-standby]") {
    Run run(paths(Family::ipv4, {"dsl", "lte", "sat"}), "generic");
    run.check_carrier(0, "all up");
    must(run.network.set_link(0, false, Side::b));
    run.wait_for_carrier(1, "dsl down", takeover_limit);
    run.check_carrier(1, "dsl down");
    must(run.network.set_link(1, false, Side::a));
    run.wait_for_carrier(2, "dsl and lte down", takeover_limit);
    run.check_carrier(2, "dsl and lte down");
    must(run.network.set_link(1, true, Side::a));
    must(run.network.set_link(0, true, Side::b));
    run.wait_for_carrier(0, "all up again", return_limit);
    run.check_carrier(0, "all up again");
    run.finish();
}

// A subflow can carry data from the fourth packet of its join on (RFC 8684 section 3.2). That packet has to tell the kernel
// already: what is written before another one comes would go to both paths.
TEST_CASE("a standby path that joins sends nothing from the start", "[e2e][active-standby]") {
    constexpr std::uint64_t bytes = 200'000;
    for (const auto *mode : modes) {
        for (const auto family : {Family::ipv4, Family::ipv6}) {
            auto network = must(Network::create(paths(family, {"dsl", "lte"})));
            auto server = serve(network);
            Health health(network.a(), network.b());
            const Attachment attachment(network.a(), network.devices(), mode);
            const Cli mpsched(network.a());

            mpsched("path lte priority=1");
            mpsched("use active-standby");
            INFO(mode << (family == Family::ipv6 ? " IPv6" : " IPv4"));
            // What the kernel repeats on the standby path, because the other one stood still on a busy machine, does not count.
            const auto least = undisturbed(
                [&] {
                    const auto result =
                        must(run_transfer(network, server, {.connections = 2, .bytes = bytes}));
                    std::uint64_t least_by_dsl = bytes;
                    check_clean(result);
                    for (const auto &connection : result.connections) {
                        std::uint64_t by_dsl = 0;
                        CHECK(connection.max_subflows == 2);
                        for (const auto &subflow : connection.subflows) {
                            by_dsl += network.path_of(subflow.local_address) == 0 ? subflow.bytes_acked : 0;
                        }
                        least_by_dsl = std::min(least_by_dsl, by_dsl);
                    }
                    return least_by_dsl;
                },
                [](std::uint64_t least_by_dsl) { return least_by_dsl == bytes; });
            CHECK(least == bytes);
            health.check();
        }
    }
}
