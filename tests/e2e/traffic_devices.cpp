// SPDX-License-Identifier: MIT
//
// Devices that are stacked on others (docs/devices.md): attached without a word about the mode, they are steered, by their own
// attributes. What the kernel did is read from its byte counters and from MP_PRIO that it accepted.
#include <algorithm>
#include <thread>

#include <fmt/format.h>

#include "traffic.hpp"
#include "traffic_wire.hpp"

using namespace mps::lab;
using namespace mps::e2e;

namespace {

const double path_mbit = path_rate(20);

struct Steered {
    Kind kind;
    // What is attached; empty: the paths' own devices. The weight 3 goes to the first path's device.
    std::vector<std::string> attached{};
};

// Two paths of the kind with the weights 3 and 1 carry bytes in that ratio.
void check_steered(const Steered &steered) {
    if (const auto kind = missing(steered.kind))
        mps::test::skip(fmt::format("this kernel has no {}", *kind));
    const WiredNetwork network({{.name = "x0", .kind = steered.kind, .rate_mbit = path_mbit},
                                {.name = "x1", .kind = steered.kind, .rate_mbit = path_mbit}});
    const auto server = network.serve();
    const Health health(network.a(), network.b());
    Attachment attachment(network.a(), steered.attached.empty() ? network.devices() : steered.attached);
    const Cli mpsched(network.a());
    for (const auto &interface : mpsched.json("status").at("interfaces"))
        CHECK(interface.at("mode") == "tc");
    CHECK(mpsched.json("status").at("problems").empty());
    mpsched(fmt::format("path {} weight=3", steered.attached.empty() ? "x0" : steered.attached[0]));
    mpsched("use weighted");
    const auto prios = mp_prio_received(network.a());
    auto transfer = network.start(server);
    std::this_thread::sleep_for(1s);
    Meter meter(network.b(), network.devices());
    const auto share = undisturbed(
        [&] {
            const auto window = meter.over(2s);
            report(fmt::format("weights 3:1: {}", window.text()));
            return window.share[0];
        },
        [](double seen) { return seen == Approx(0.75).margin(0.04); });
    CHECK(share == Approx(0.75).margin(0.04));
    CHECK(mp_prio_received(network.a()) > prios);
    transfer.stop();
    check_clean(transfer.wait());
    health.check();
}

} // namespace

TEST_CASE("two bonds are steered, and native XDP is refused there", "[e2e][devices]") {
    check_steered({Kind::bond});
    const WiredNetwork network({{.name = "x0", .kind = Kind::bond}});
    const auto refused = Cli(network.a()).try_run("attach x0 --mode native");
    CHECK(refused.exit_code == 3);
    CHECK(refused.err.find("on its members") != std::string::npos);
    const auto member = Cli(network.a()).try_run("attach x0l");
    CHECK(member.exit_code == 3);
    CHECK(member.err.find("attach x0 instead") != std::string::npos);
}

TEST_CASE("sockets that are bound to a VRF are steered from its members", "[e2e][devices]") {
    check_steered({Kind::vrf});
}

TEST_CASE("two VLANs are steered by their own weights, also where their parents are attached",
          "[e2e][devices]") {
    check_steered({Kind::vlan, {"x0", "x1", "x0l", "x1l"}});
}

TEST_CASE("two macvlans are steered", "[e2e][devices]") { check_steered({Kind::macvlan}); }

TEST_CASE("two bridges are steered, also where their ports are attached", "[e2e][devices]") {
    check_steered({Kind::bridge, {"x0", "x1", "x0l", "x1l"}});
}
