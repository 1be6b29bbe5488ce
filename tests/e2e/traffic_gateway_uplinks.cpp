// SPDX-License-Identifier: MIT
//
// Uplinks as routers have them, at a gateway: VLANs, bridges, devices without link layer, address translation.
#include "gateway_rig.hpp"

using namespace mps::e2e;

namespace {

// "" if both can be made here.
std::string lacking(const RoutedSpec &spec) {
    for (const Kind kind : spec.uplinks)
        if (const auto why = missing(kind))
            return *why;
    return "";
}

void check_kinds(RoutedSpec spec, const std::array<std::string, 2> &attached = {"up0", "up1"}) {
    spec.mbit = path_mbit;
    if (const std::string why = lacking(spec); !why.empty())
        return report(why);
    if (spec.masquerade && !can_masquerade())
        report("without translation: this machine has no nft");
    INFO(name_of(spec.uplinks[0]) << " and " << name_of(spec.uplinks[1]));
    check_moved(spec, attached);
}

} // namespace

TEST_CASE("a gateway moves connections between uplinks without a link layer, whose addresses it translates",
          "[e2e][gateway][uplinks]") {
    check_kinds({.uplinks = {Kind::tun, Kind::tun}, .masquerade = true});
}

TEST_CASE("a gateway moves connections between an uplink without a link layer and a bridge's port",
          "[e2e][gateway][uplinks]") {
    check_kinds({.family = Family::ipv6, .uplinks = {Kind::tun, Kind::bridge}}, {"up0", "up1l"});
}

TEST_CASE("a gateway moves connections between a VLAN and a bridge", "[e2e][gateway][uplinks]") {
    check_kinds({.uplinks = {Kind::vlan, Kind::bridge}, .masquerade = true});
}

TEST_CASE("a gateway moves connections between tunnels", "[e2e][gateway][uplinks]") {
    check_kinds({.uplinks = {Kind::wireguard, Kind::ipip}});
    check_kinds({.uplinks = {Kind::gre, Kind::veth}});
}
