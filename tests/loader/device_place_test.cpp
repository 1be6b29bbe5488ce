// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <vector>

#include <net/if_arp.h>

#include "kernel/device_place.hpp"

using namespace mps;
using Verdict = Place::Verdict;

namespace {

NetDevice device(std::uint32_t ifindex, std::string name, std::string kind = "",
                 std::string driver = "e1000e") {
    return {.name = std::move(name),
            .ifindex = ifindex,
            .type = ARPHRD_ETHER,
            .up = true,
            .kind = std::move(kind),
            .driver = std::move(driver)};
}

NetDevice port_of(const NetDevice &master, std::string kind = "") {
    NetDevice port = device(100, "port0", std::move(kind));
    port.master = master.ifindex;
    port.port_kind = master.kind;
    return port;
}

Place place(const NetDevice &one, std::vector<NetDevice> others = {}) {
    others.push_back(one);
    return place_of(one, others);
}

} // namespace

TEST_CASE("an interface of its own driver gets native XDP, and every virtual kind tc") {
    CHECK(place(device(1, "eth0")).mode == Mode::native);
    CHECK(place(device(1, "eth0")).verdict == Verdict::good);
    for (const char *kind : {"veth", "bond", "team", "bridge", "vlan", "macvlan", "ipvlan", "openvswitch"}) {
        INFO(kind);
        const Place found = place(device(1, "x0", kind, kind));
        CHECK(found.mode == Mode::tc);
        CHECK(found.verdict == Verdict::good);
        CHECK_FALSE(found.why.empty());
    }
    // No rtnetlink kind, so it goes by the driver.
    CHECK(place(device(1, "eth0", "", "hv_netvsc")).mode == Mode::tc);
    NetDevice tun = device(1, "wg0", "wireguard", "");
    tun.type = 0xFFFE;
    CHECK(place(tun).mode == Mode::tc);
    CHECK(place(tun).verdict == Verdict::good);
}

TEST_CASE("native XDP is refused where the driver hands it down to other devices") {
    for (const char *kind : {"bond", "team"})
        CHECK_FALSE(place(device(1, "x0", kind)).native_works);
    CHECK_FALSE(place(device(1, "eth0", "", "hv_netvsc")).native_works);
    CHECK(place(device(1, "x0", "veth")).native_works);
    CHECK(place(device(1, "x0", "veth")).native.find("stall") != std::string::npos);
    CHECK(place(device(1, "x0", "veth")).generic.empty());
    CHECK(place_problem(device(1, "b0", "bond"), Mode::native, {}) ==
          "b0 (bond): native XDP would run on its members and take the packets for theirs");
    CHECK(place_problem(device(1, "b0", "bond"), Mode::tc, {}).empty());
}

TEST_CASE("a port of another device names the device that sockets use") {
    for (const char *kind : {"bond", "team", "batadv", ""}) {
        INFO(kind);
        const NetDevice master = device(7, "up0", kind, "hv_netvsc");
        const Place found = place(port_of(master), {master});
        CHECK(found.verdict == Verdict::useless);
        CHECK(found.what.find("sockets use up0") != std::string::npos);
        CHECK(found.next == "attach up0 instead");
    }
    const NetDevice bridge = device(7, "br0", "bridge");
    CHECK(place(port_of(bridge), {bridge}).verdict == Verdict::doubtful);
    CHECK(place(port_of(bridge), {bridge}).what == "port0 is a port of the bridge br0: sockets use br0");
    // Its master went between two looks.
    CHECK(place(port_of(device(7, "gone", "bond"))).what.find("interface 7") != std::string::npos);
}

TEST_CASE("a port of a switch names the internal ports that are up") {
    const NetDevice datapath = device(7, "ovs-system", "openvswitch");
    NetDevice down = device(9, "spare", "openvswitch");
    down.up = false;
    const Place found = place(port_of(datapath), {datapath, device(8, "wan", "openvswitch"), down});
    CHECK(found.verdict == Verdict::useless);
    CHECK(found.next == "attach wan instead");
    CHECK(place(port_of(datapath), {datapath}).next.find("internal port") != std::string::npos);
}

TEST_CASE("a VRF names its members, and they are attached in tc") {
    const NetDevice vrf = device(7, "vrf0", "vrf");
    const NetDevice member = port_of(vrf);
    CHECK(place(vrf, {member}).verdict == Verdict::useless);
    CHECK(place(vrf, {member}).next == "attach port0 instead");
    CHECK(place(vrf).next.find("once it has some") != std::string::npos);
    CHECK(place(member, {vrf}).verdict == Verdict::good);
    CHECK(place(member, {vrf}).mode == Mode::tc);
    CHECK(place_problem(member, Mode::tc, {}).empty());
    CHECK_FALSE(place_problem(member, Mode::native, {}).empty());
    CHECK_FALSE(place_problem(member, Mode::generic, {}).empty());
    NetDevice tunnel = member;
    tunnel.type = 0xFFFE;
    CHECK(place(tunnel, {vrf}).verdict == Verdict::doubtful);
}

TEST_CASE("a device below others tells which sockets are not seen on it") {
    const NetDevice parent = device(7, "eth0");
    for (const char *kind : {"vlan", "macvlan", "ipvlan", "macsec"}) {
        INFO(kind);
        NetDevice child = device(8, "eth0.5", kind);
        child.link = 7;
        CHECK(place(parent, {child}).verdict == Verdict::good);
        CHECK(place(child, {parent}).verdict == Verdict::good);
        CHECK(unseen_above(parent, {7}, std::vector{parent, child}).find("attach eth0.5 as well") !=
              std::string::npos);
        CHECK(unseen_above(parent, {7, 8}, std::vector{parent, child}).empty());
        child.up = false;
        CHECK(unseen_above(parent, {7}, std::vector{parent, child}).empty());
    }
}

TEST_CASE("what stands on a device is named as sockets use it, however high the stack is") {
    const NetDevice eth0 = device(1, "eth0");
    const auto on = [](NetDevice below, std::uint32_t ifindex, std::string name) {
        NetDevice vlan = device(ifindex, std::move(name), "vlan");
        vlan.link = below.ifindex;
        return vlan;
    };
    const NetDevice outer = on(eth0, 2, "eth0.5"), inner = on(outer, 3, "eth0.5.6");
    CHECK(devices_above(eth0, std::vector{eth0, outer, inner}).size() == 2);
    CHECK(unseen_above(eth0, {1, 2}, std::vector{eth0, outer, inner}).find("attach eth0.5.6 as well") !=
          std::string::npos);
    // A port of a bridge has no sockets; a member of a VRF has, and the VRF cannot be attached.
    const NetDevice bridge = device(4, "br0", "bridge"), vrf = device(5, "vrf0", "vrf");
    NetDevice port = outer, member = outer;
    port.master = 4, port.port_kind = "bridge";
    member.master = 5, member.port_kind = "vrf";
    CHECK(unseen_above(eth0, {1}, std::vector{eth0, port, bridge}).find("attach br0 as well") !=
          std::string::npos);
    CHECK(devices_above(eth0, std::vector{eth0, port, on(bridge, 6, "br0.7"), bridge}).size() == 2);
    CHECK(unseen_above(eth0, {1}, std::vector{eth0, member, vrf}).find("attach eth0.5 as well") !=
          std::string::npos);
    // Devices that were renumbered between two looks.
    NetDevice circle = outer;
    circle.link = circle.ifindex;
    CHECK(devices_above(circle, std::vector{circle}).size() == 1);
}

TEST_CASE("a device of multiplexed packets names those that sockets use") {
    const NetDevice parent = device(7, "wwan0");
    NetDevice rmnet = device(8, "rmnet0", "rmnet");
    rmnet.link = 7;
    CHECK(place(parent, {rmnet}).verdict == Verdict::useless);
    CHECK(place(parent, {rmnet}).next == "attach rmnet0 instead");
}

TEST_CASE("where no packet for a socket of this host passes, attaching is refused") {
    for (const char *kind : {"ifb", "macvtap", "ipvtap"})
        CHECK(place(device(1, "x0", kind)).verdict == Verdict::useless);
    NetDevice l3s = device(8, "ip0", "ipvlan");
    l3s.link = 7;
    l3s.ipvlan_l3s = true;
    CHECK(place(l3s, {device(7, "eth0")}).next == "attach eth0 instead, or use mode l2 or l3");
    CHECK(place(device(1, "d0", "dummy")).verdict == Verdict::doubtful);
    NetDevice lo = device(1, "lo", "", "");
    lo.type = ARPHRD_LOOPBACK;
    CHECK(place(lo).verdict == Verdict::doubtful);
}
