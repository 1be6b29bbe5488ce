// SPDX-License-Identifier: MIT
//
// What the tests of `attach --role gateway` share: the network with mpsched on its router, what passes, and what the hosts' kernels counted.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "gateway_network.hpp"

namespace mps::e2e {

using lab::CleanupGuard, lab::Counters, lab::Direction, lab::Family, lab::Server, lab::Transfer;

inline const double path_mbit = path_rate(20);

// What passes on the gateway, and mpsched there.
struct Gateway {
    RoutedNetwork network;
    Server server = network.serve();
    Counters client_before = must(lab::read_counters(network.client));
    Counters server_before = must(lab::read_counters(network.server));
    Cli mpsched{network.gateway};
    CleanupGuard guard{[cli = Cli(network.gateway)] { std::ignore = cli.try_run("detach --all"); }};

    explicit Gateway(Family family, double mbit = path_mbit)
        : Gateway(RoutedSpec{.family = family, .mbit = mbit}) {}
    explicit Gateway(const RoutedSpec &spec) : network(spec) {}
    ~Gateway() { std::ignore = mpsched.try_run("detach --all"); }

    Json forwarded() const {
        Json found = Json::array();
        for (const Json &one : mpsched.json("conns"))
            if (!one.at("forwarded").is_null())
                found.push_back(one);
        return found;
    }
    std::size_t known() const { return forwarded().size(); }

    // At both hosts no checksum was wrong and nothing fell back; and no subflow was reset. Connections that end before their joins have are
    // reset by Linux without us as well (220 of 1000 here), and so is a SYN/ACK that comes twice an error (TcpInErrs).
    void check_hosts(bool resets_too = true) const {
        for (const bool at_client : {true, false}) {
            const auto moved = must(lab::read_counters(at_client ? network.client : network.server)) -
                               (at_client ? client_before : server_before);
            std::vector<std::string> names{"TcpInCsumErrors",
                                           "MPTcpExtMPCapableFallbackACK",
                                           "MPTcpExtMPCapableFallbackSYNACK",
                                           "MPTcpExtMPFallbackTokenInit",
                                           "MPTcpExtMPFailTx",
                                           "MPTcpExtMPFailRx",
                                           "MPTcpExtDSSCorruptionFallback",
                                           "MPTcpExtDSSCorruptionReset",
                                           "MPTcpExtDataCsumErr",
                                           "MPTcpExtDSSNotMatching",
                                           "MPTcpExtDSSFallback",
                                           "MPTcpExtMPFastcloseTx"};
            if (resets_too)
                names.insert(names.end(), {"TcpEstabResets", "MPTcpExtMPRstTx", "MPTcpExtMPRstRx"});
            for (const std::string &name : names) {
                INFO((at_client ? "client: " : "server: ") << name);
                CHECK(moved.get_or(name, 0) == 0);
            }
        }
    }
};

inline std::uint64_t count(const Gateway &gateway, const char *counter) {
    return gateway.mpsched.json("stats").at(counter).get<std::uint64_t>();
}

// Shares of the uplinks in what arrives at the server and in what comes from it, from now on.
struct Shares {
    Window up, down;

    bool on(std::size_t uplink, double most_elsewhere) const {
        return up.share[1 - uplink] < most_elsewhere && down.share[1 - uplink] < most_elsewhere;
    }
    std::string text() const { return fmt::format("up {}; down {}", up.text(), down.text()); }
};

class Meters {
  public:
    explicit Meters(const Gateway &gateway)
        : up_(gateway.network.server, {"up0", "up1"}), down_(gateway.network.gateway, {"up0", "up1"}) {}
    Shares over(std::chrono::milliseconds duration) {
        up_.restart();
        down_.restart();
        std::this_thread::sleep_for(duration);
        return {up_.read(), down_.read()};
    }

  private:
    Meter up_, down_;
};

// Uploads and downloads under way at once, each with a subflow on each uplink.
struct BothWays {
    Transfer up, down;

    explicit BothWays(const Gateway &gateway)
        : up(gateway.network.start(gateway.server, {.direction = Direction::upload})),
          down(gateway.network.start(gateway.server, {.direction = Direction::download})) {
        REQUIRE(up.wait_for_subflows(2));
        REQUIRE(down.wait_for_subflows(2));
    }
    void finish() {
        up.stop();
        down.stop();
        check_clean(up.wait());
        check_clean(down.wait());
    }
};

// What both kernels took is what the gateway says it sent.
inline void check_told(const Gateway &gateway) {
    std::uint64_t told = 0;
    std::int64_t received = 0;
    wait_until(
        [&] {
            told = count(gateway, "told");
            received = mp_prio_received(gateway.network.client) + mp_prio_received(gateway.network.server);
            return static_cast<std::int64_t>(told) == received;
        },
        1s, 50ms);
    CHECK(static_cast<std::int64_t>(told) == received);
    CHECK(mp_prio_received(gateway.network.client) > 0);
    CHECK(mp_prio_received(gateway.network.server) > 0);
}

// Both hosts are moved from one uplink to the other and back, live, and get back what was told.
inline void check_moved(const RoutedSpec &spec, const std::array<std::string, 2> &attached = {"up0", "up1"}) {
    // ACKs of what is sent by the other uplink are the rest.
    constexpr double elsewhere = 0.06;
    Gateway gateway(spec);
    gateway.mpsched(fmt::format("attach --role gateway {} {} --policy default", attached[0], attached[1]));
    gateway.mpsched(fmt::format("path {} priority=1", attached[1]));
    gateway.mpsched("use active-standby -s hold_ms=0");
    BothWays traffic(gateway);
    Meters meters(gateway);
    for (const auto &[command, uplink] :
         {std::pair{"priority=0", 0U}, {"priority=2", 1U}, {"priority=0", 0U}}) {
        gateway.mpsched(fmt::format("path {} {}", attached[0], command));
        // What was queued at the hosts comes over the old uplink still.
        const Shares seen = undisturbed([&] { return meters.over(500ms); },
                                        [&](const Shares &one) {
                                            return one.on(uplink, elsewhere) &&
                                                   one.up.total_mbit > 0.8 * path_mbit &&
                                                   one.down.total_mbit > 0.8 * path_mbit;
                                        },
                                        8);
        report(fmt::format("{}: {}", command, seen.text()));
        CHECK(seen.on(uplink, elsewhere));
        CHECK(seen.up.total_mbit > 0.8 * path_mbit);
        CHECK(seen.down.total_mbit > 0.8 * path_mbit);
    }
    CHECK(count(gateway, "told_alone") > 0);
    CHECK(count(gateway, "tell_unreachable") == 0);
    check_told(gateway);
    gateway.mpsched("detach --all");
    CHECK(wait_until(
              [&] {
                  const auto none = [](const lab::Namespace &host) {
                      return std::ranges::none_of(kernel_subflows(host), &KernelSubflow::backup);
                  };
                  return none(gateway.network.client) && none(gateway.network.server);
              },
              2s, 50ms) >= 0);
    traffic.finish();
    gateway.check_hosts();
}

} // namespace mps::e2e
