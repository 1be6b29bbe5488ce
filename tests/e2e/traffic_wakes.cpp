// SPDX-License-Identifier: MIT
//
// Wakes land: what the data path counts as written into packets and as handed to the stack is what the
// kernel counts as received MP_PRIO, for activating and for parking subflows that have no traffic of their
// own.
#include <cmath>
#include <string>
#include <thread>

#include <fmt/format.h>

#include "traffic.hpp"

using namespace mps::lab;
using namespace mps::e2e;

namespace {

enum class Wires { ipv4, ipv6, mixed };

const char *name(Wires wires) {
    switch (wires) {
    case Wires::ipv4:
        return "IPv4";
    case Wires::ipv6:
        return "IPv6";
    case Wires::mixed:
        break;
    }
    return "IPv4 and IPv6";
}

Network build(Wires wires) {
    NetworkSpec spec{
        .paths = {{.name = "dsl", .rate_mbit = path_rate(20)}, {.name = "lte", .rate_mbit = path_rate(20)}}};
    if (wires == Wires::ipv6) {
        spec.family = Family::ipv6;
    } else if (wires == Wires::mixed) {
        spec.family = Family::dual;
        spec.joins = Joins::none;
    }
    auto network = must(Network::create(spec));
    if (wires == Wires::mixed) {
        // The first subflow is IPv4 over dsl, B announces its IPv6 address on lte.
        must(network.b().ip(
            fmt::format("mptcp endpoint add {} dev lte signal", network.address(Side::b, 1, Family::ipv6))));
    }
    return network;
}

// Only a socket that speaks both families can have subflows of both.
std::string connect_to(Wires wires, const Network &network) {
    return (wires == Wires::mixed ? "::ffff:" : "") +
           network.server_address(wires == Wires::ipv6 ? Family::ipv6 : Family::ipv4);
}

// lte stands by for dsl, without a hold time.
struct Standby {
    Server server;
    Health health;
    Attachment attachment;
    Cli mpsched;

    Standby(const Network &network, const char *mode)
        : server(serve(network)),
          health(network.a(), network.b()),
          attachment(network.a(), network.devices(), mode),
          mpsched(network.a()) {
        mpsched("path lte priority=1");
        mpsched("use active-standby -s hold_ms=0");
    }
};

// The second subflow is allowed and parked in turn; it carries (nearly) nothing of these small requests.
void toggle_idle_subflow(Wires wires, const char *mode) {
    const auto network = build(wires);
    const Standby standby(network, mode);
    auto spec = light_traffic();
    spec.address = connect_to(wires, network);
    auto transfer = upload(network, standby.server, std::move(spec));
    std::this_thread::sleep_for(200ms);

    check_wakes_land({network.a(), "lte", fmt::format("{} {}", mode, name(wires))});
    transfer.stop();
    check_clean(transfer.wait());
    standby.health.check();
}

} // namespace

TEST_CASE("wakes to an idle IPv4 subflow land in every mode", "[e2e][wakes]") {
    for (const auto *mode : modes) {
        toggle_idle_subflow(Wires::ipv4, mode);
    }
}

TEST_CASE("wakes to an idle IPv6 subflow land in every mode", "[e2e][wakes]") {
    for (const auto *mode : modes) {
        toggle_idle_subflow(Wires::ipv6, mode);
    }
}

TEST_CASE("wakes from an IPv4 to an idle IPv6 subflow land in every mode", "[e2e][wakes]") {
    for (const auto *mode : modes) {
        toggle_idle_subflow(Wires::mixed, mode);
    }
}

// An answer of a Linux peer fills the options: timestamps, and a DSS with 64-bit numbers. So a subflow that carries requests
// and answers is parked by a wake which must fit behind the very packet that asked for it.
TEST_CASE("a subflow whose packets have no room is parked all the same", "[e2e][wakes]") {
    constexpr int toggles = 20;
    for (const auto *mode : modes) {
        const auto network = must(Network::create({.paths = {{.name = "dsl"}, {.name = "lte"}}}));
        const Standby standby(network, mode);
        const Cli &mpsched = standby.mpsched;
        auto transfer = upload(network, standby.server, light_traffic());
        std::this_thread::sleep_for(200ms);
        const auto stats_before = mpsched.json("stats");
        const auto prio_before = mp_prio_received(network.a());
        for (int i = 0; i < toggles; ++i) {
            INFO(mode << ", change " << i);
            mpsched(fmt::format("path dsl priority={}", i % 2 ? 0 : 2));
            // One subflow is parked, the other activated.
            CHECK(wait_until([&] { return mp_prio_received(network.a()) >= prio_before + 2 * (i + 1); }, 1s,
                             2ms) >= 0);
        }
        std::this_thread::sleep_for(100ms);
        const auto stats = mpsched.json("stats");
        const auto counted = [&](const char *counter) {
            return stats.at(counter).get<std::int64_t>() - stats_before.at(counter).get<std::int64_t>();
        };
        const auto prio = mp_prio_received(network.a()) - prio_before;
        const auto line = fmt::format("{}: MPPrioRx {}, inserted {}, wakes landed {}, no room {}", mode, prio,
                                      counted("inserted"), counted("wake_landed"), counted("skip_room"));
        report(line);
        INFO(line);
        CHECK(counted("skip_room") > 0);
        CHECK(prio == counted("inserted") + counted("wake_landed"));
        CHECK(prio <= 2 * toggles + 4);
        transfer.stop();
        check_clean(transfer.wait());
        standby.health.check();
    }
}

// Under load changes travel in packets as well, hundreds of them.
TEST_CASE("every MP_PRIO written under load is received", "[e2e][wakes]") {
    for (const auto *mode : modes) {
        const auto network = must(Network::create({.paths = {{.name = "dsl", .rate_mbit = path_rate(50)},
                                                             {.name = "lte", .rate_mbit = path_rate(50)}}}));
        const auto server = serve(network);
        Attachment attachment(network.a(), network.devices(), mode);
        const Cli mpsched(network.a());
        // Equal weights over equal paths now and then keep themselves, with a dozen changes in three seconds.
        mpsched("path dsl weight=2");
        mpsched("use weighted -s lead_bytes=1024");
        auto transfer = upload(network, server);
        std::this_thread::sleep_for(3s);
        transfer.stop();
        check_clean(transfer.wait());
        std::this_thread::sleep_for(100ms);
        const auto stats = mpsched.json("stats");
        const auto written =
            stats.at("inserted").get<std::int64_t>() + stats.at("wake_landed").get<std::int64_t>();
        const auto received = mp_prio_received(network.a());
        const auto line =
            fmt::format("{} under load: MPPrioRx {}, inserted {}, wakes landed {}", mode, received,
                        stats.at("inserted").get<int>(), stats.at("wake_landed").get<int>());
        report(line);
        INFO(line);
        CHECK(written > 100);
        CHECK(std::abs(static_cast<double>(received - written)) <= 0.01 * static_cast<double>(received));
    }
}
