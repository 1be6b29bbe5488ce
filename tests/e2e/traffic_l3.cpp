// SPDX-License-Identifier: MIT
//
// Devices without a link layer (tun): attached in mode tc unasked, steered like the others, and wakes cross
// between them and Ethernet in both directions.
#include <algorithm>
#include <thread>

#include <fmt/format.h>

#include "traffic.hpp"
#include "traffic_wire.hpp"

using namespace mps::lab;
using namespace mps::e2e;

namespace {

const double path_mbit = path_rate(20);

void check_shares(const std::vector<WiredPath> &paths, Family family, const char *name) {
    const WiredNetwork network(paths, family);
    const auto server = network.serve();
    const Health health(network.a(), network.b());
    Attachment attachment(network.a(), network.devices());
    const Cli mpsched(network.a());
    for (const Json status = mpsched.json("status"); const auto &interface : status.at("interfaces")) {
        CHECK(interface.at("mode") == "tc");
        const auto path = std::ranges::find(paths, interface.at("name").get<std::string>(), &WiredPath::name);
        REQUIRE(path != paths.end());
        CHECK(interface.at("layer3").get<bool>() == (path->kind == Kind::tun));
    }
    mpsched(fmt::format("path {} weight=3", paths[0].name));
    mpsched("use weighted");
    auto transfer = network.start(server);
    std::this_thread::sleep_for(1s);
    Meter meter(network.b(), network.devices());
    const double least_mbit = 0.9 * path_mbit * 4 / 3;
    const double total_mbit = undisturbed(
        [&] {
            const auto before = network.delivered(transfer);
            const auto window = meter.over(3s);
            const auto after = network.delivered(transfer);
            const auto line = fmt::format("{} weights 3:1: {}", name, window.text());
            report(line);
            INFO(line);
            CHECK(window.share[0] == Approx(0.75).margin(0.03));
            CHECK(shares(before, after)[0] == Approx(0.75).margin(0.03));
            return window.total_mbit;
        },
        [&](double mbit) { return mbit > least_mbit; });
    CHECK(total_mbit > least_mbit);
    transfer.stop();
    check_clean(transfer.wait());
    health.check();
}

// The traffic stays on the other path.
void check_wakes_to(const std::vector<WiredPath> &paths, Family family, std::size_t idle, const char *name) {
    const WiredNetwork network(paths, family);
    const auto server = network.serve();
    const Health health(network.a(), network.b());
    Attachment attachment(network.a(), network.devices());
    const Cli mpsched(network.a());
    mpsched(fmt::format("path {} priority=1", paths[idle].name));
    mpsched("use active-standby -s hold_ms=0");
    auto transfer = network.start(server, light_traffic(), 1 - idle);
    std::this_thread::sleep_for(200ms);
    check_wakes_land({network.a(), paths[idle].name, name});
    transfer.stop();
    check_clean(transfer.wait());
    health.check();
}

const std::vector<WiredPath> two_tuns{{.name = "tun0", .rate_mbit = path_mbit},
                                      {.name = "tun1", .rate_mbit = path_mbit}};
const std::vector<WiredPath> mixed{{.name = "eth0", .kind = Kind::veth, .rate_mbit = path_mbit},
                                   {.name = "tun0", .rate_mbit = path_mbit}};

} // namespace

TEST_CASE("two L3 paths are steered in mode tc", "[e2e][l3]") {
    check_shares(two_tuns, Family::ipv4, "tun and tun, IPv4");
    check_shares(two_tuns, Family::ipv6, "tun and tun, IPv6");
}

TEST_CASE("an Ethernet path and an L3 path are steered together", "[e2e][l3]") {
    check_shares(mixed, Family::ipv4, "veth and tun, IPv4");
}

TEST_CASE("wakes land from L3 to L3", "[e2e][l3][wakes]") {
    check_wakes_to(two_tuns, Family::ipv4, 1, "tun to tun, IPv4");
    check_wakes_to(two_tuns, Family::ipv6, 0, "tun to tun, IPv6");
}

TEST_CASE("wakes land from Ethernet to L3", "[e2e][l3][wakes]") {
    check_wakes_to(mixed, Family::ipv4, 1, "veth to tun, IPv4");
    check_wakes_to(mixed, Family::ipv6, 1, "veth to tun, IPv6");
}

TEST_CASE("wakes land from L3 to Ethernet", "[e2e][l3][wakes]") {
    check_wakes_to(mixed, Family::ipv4, 0, "tun to veth, IPv4");
    check_wakes_to(mixed, Family::ipv6, 0, "tun to veth, IPv6");
}
