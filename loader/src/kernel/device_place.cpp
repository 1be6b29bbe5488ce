// SPDX-License-Identifier: MIT
#include "kernel/device_place.hpp"

#include <net/if_arp.h>

#include <algorithm>
#include <map>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace mps {

namespace {

using Verdict = Place::Verdict;

// ---- a device by its own kind

enum class Xdp {
    native,  // worth trying in the driver
    no,      // not in the driver
    costly,  // in the driver, at a price
    members, // the driver hands it down to other devices, where it takes the packets for theirs
};

struct KindRow {
    std::string_view kind; // IFLA_INFO_KIND, or the driver where a device has none
    Xdp xdp;
    std::string_view why; // for the mode
    Verdict verdict = Verdict::good;
    std::string_view what{}; // NAME WHAT
    std::string_view next{}; // empty: depends on the other devices, see below
};

constexpr std::string_view members_why =
    "native XDP would run on its members and take the packets for theirs";

constexpr KindRow kind_rows[] = {
    {"veth", Xdp::costly, "veth: native XDP switches the peer's GSO off"},
    {"virtio_net", Xdp::costly, "virtio: with native XDP the host hands over no packets of several segments"},
    {"bond", Xdp::members, members_why},
    {"team", Xdp::members, members_why},
    {"hv_netvsc", Xdp::members, "native XDP would run on its VF as well and take the packets for the VF's"},
    {"net_failover", Xdp::no, "the packets come through its members"},
    {"bridge", Xdp::no, "a bridge has no XDP in its driver"},
    {"openvswitch", Xdp::no, "a switch's internal port has no XDP in its driver"},
    {"vlan", Xdp::no, "a VLAN has no XDP in its driver"},
    {"macvlan", Xdp::no, "a macvlan has no XDP in its driver"},
    {"ipvlan", Xdp::no, "an ipvlan has no XDP in its driver"},
    {"macsec", Xdp::no, "before it the packets are encrypted"},
    {"dummy", Xdp::no, "a dummy device has no XDP in its driver", Verdict::doubtful,
     "is a dummy device: it receives nothing",
     "attach the interfaces on which the packets for its addresses arrive"},
    {"vrf", Xdp::no, "", Verdict::useless, "is a VRF: packets reach it behind every hook"},
    {"ifb", Xdp::no, "", Verdict::useless, "is an ifb: packets are only on their way through it",
     "attach the interface that they come from"},
    {"macvtap", Xdp::no, "", Verdict::useless,
     "is a macvtap: its packets go to the program that holds it, not to sockets",
     "attach the interface inside of what that program runs"},
    {"ipvtap", Xdp::no, "", Verdict::useless,
     "is an ipvtap: its packets go to the program that holds it, not to sockets",
     "attach the interface inside of what that program runs"},
};

const KindRow *row_of(const NetDevice &device) {
    const std::string &kind = device.kind.empty() ? device.driver : device.kind;
    const auto row = std::find_if(std::begin(kind_rows), std::end(kind_rows),
                                  [&](const KindRow &r) { return r.kind == kind; });
    return row == std::end(kind_rows) ? nullptr : row;
}

// ---- a device by what it is a port of

struct PortRow {
    std::string_view kind; // of the master
    Verdict verdict;
    std::string_view is; // "a port of the bridge"
};

constexpr PortRow port_rows[] = {
    {"bridge", Verdict::doubtful, "a port of the bridge"}, // it lies below, but every packet passes here
    {"bond", Verdict::useless, "a member of the bond"},
    {"team", Verdict::useless, "a member of the team"},
    {"openvswitch", Verdict::useless, "a port of the Open vSwitch datapath"},
    {"vrf", Verdict::good, ""},               // VRFs are below sockets, not below devices
    {"", Verdict::useless, "a device below"}, // a VF of hv_netvsc, net_failover
};

// ---- names of other devices

const NetDevice *find(std::uint32_t ifindex, std::span<const NetDevice> all) {
    const auto found = std::find_if(all.begin(), all.end(),
                                    [&](const NetDevice &d) { return ifindex && d.ifindex == ifindex; });
    return found == all.end() ? nullptr : &*found;
}

template <class Wanted>
std::string names_of(std::span<const NetDevice> all, Wanted wanted) {
    std::vector<std::string_view> names;
    for (const NetDevice &device : all) {
        if (wanted(device))
            names.push_back(device.name);
    }
    return fmt::format("{}", fmt::join(names, ", "));
}

std::string attach_instead(const std::string &names, std::string_view none) {
    return names.empty() ? std::string(none) : fmt::format("attach {} instead", names);
}

void place_port(Place &place, const NetDevice &device, std::span<const NetDevice> all) {
    const NetDevice *master = find(device.master, all);
    const std::string kind = !device.port_kind.empty() ? device.port_kind : master ? master->kind : "";
    const auto row = std::find_if(std::begin(port_rows), std::end(port_rows),
                                  [&](const PortRow &r) { return r.kind == kind; });
    const std::string name = master ? master->name : fmt::format("interface {}", device.master);
    place.verdict = row == std::end(port_rows) ? Verdict::useless : row->verdict;
    if (place.verdict == Verdict::good)
        return;
    const std::string is =
        row == std::end(port_rows) ? fmt::format("a port of the {}", kind) : std::string(row->is);
    if (kind == "openvswitch") {
        place.what =
            fmt::format("{} is {} {}: sockets use the switch's internal ports", device.name, is, name);
        place.next = attach_instead(names_of(all,
                                             [&](const NetDevice &d) {
                                                 return d.kind == kind && d.ifindex != device.master && d.up;
                                             }),
                                    "attach the internal port that has the addresses, once it is up");
        return;
    }
    place.what = fmt::format("{} is {} {}: sockets use {}", device.name, is, name, name);
    place.next = fmt::format("attach {} instead", name);
}

// A packet without a link-layer header cannot be shown to the VRF's program.
void place_tunnel_in_vrf(Place &place, const NetDevice &device) {
    place.verdict = Verdict::doubtful;
    place.what = fmt::format(
        "{} is in a VRF and has no link-layer header: sockets that are bound to the VRF are not found",
        device.name);
    place.next = "subflows that are bound to it ('ip mptcp endpoint ... dev') are steered";
}

void place_vrf(Place &place, const NetDevice &device, std::span<const NetDevice> all) {
    place.next = attach_instead(names_of(all, [&](const NetDevice &d) { return d.master == device.ifindex; }),
                                "attach its members, once it has some");
}

void place_ipvlan_l3s(Place &place, const NetDevice &device, std::span<const NetDevice> all) {
    const NetDevice *parent = find(device.link, all);
    place.verdict = Verdict::useless;
    place.what = fmt::format("{} is an ipvlan in mode l3s: packets reach it behind every hook", device.name);
    place.next =
        parent ? fmt::format("attach {} instead, or use mode l2 or l3", parent->name) : "use mode l2 or l3";
}

void place_below_rmnet(Place &place, const NetDevice &device, std::span<const NetDevice> all) {
    const std::string above =
        names_of(all, [&](const NetDevice &d) { return d.kind == "rmnet" && d.link == device.ifindex; });
    if (above.empty())
        return;
    place.verdict = Verdict::useless;
    place.what = fmt::format("{} carries multiplexed packets: sockets use {}", device.name, above);
    place.next = fmt::format("attach {} instead", above);
}

void choose(Place &place, const NetDevice &device, const KindRow *row) {
    if (device.port_kind == "vrf") {
        place.mode = Mode::tc;
        place.why = "in a VRF: XDP does not find sockets that are bound to the VRF";
        place.native = fmt::format(
            "{} is in a VRF: XDP does not find sockets that are bound to the VRF, their subflows are not steered",
            device.name);
        place.generic = place.native;
        return;
    }
    if (device.layer3()) {
        place.mode = Mode::tc;
        place.why = "no link-layer header: native XDP does not exist there";
        return;
    }
    if (device.type == ARPHRD_LOOPBACK) {
        place.mode = Mode::tc;
        place.why = "the loopback device has no XDP in its driver";
        return;
    }
    if (!row || row->xdp == Xdp::native) {
        place.mode = Mode::native;
        place.why = "the cheapest place";
        return;
    }
    place.mode = Mode::tc;
    place.why = row->why;
    // MPTCP counts the receive buffer by what packets take up in memory, never drops what came out of order, and stops taking
    // anything when it is full; with XDP a veth's packets take up more (docs/devices.md).
    if (row->kind == "veth")
        place.native = fmt::format(
            "{} is a veth: with native XDP on it downloads can stall for good (Linux 7.2)", device.name);
    if (row->xdp == Xdp::members) {
        place.native_works = false;
        place.native = fmt::format("{} ({}): {}", device.name, row->kind, row->why);
    }
}

} // namespace

Place place_of(const NetDevice &device, std::span<const NetDevice> all) {
    Place place;
    const KindRow *row = row_of(device);
    choose(place, device, row);
    if (row && row->verdict != Verdict::good) {
        place.verdict = row->verdict;
        place.what = fmt::format("{} {}", device.name, row->what);
        place.next = row->next;
    }
    if (device.kind == "vrf")
        place_vrf(place, device, all);
    if (device.ipvlan_l3s)
        place_ipvlan_l3s(place, device, all);
    if (device.type == ARPHRD_LOOPBACK) {
        place.verdict = Verdict::doubtful;
        place.what = fmt::format("{} carries only what this host says to itself", device.name);
        place.next = "attach the interfaces towards the peers";
    }
    if (device.master)
        place_port(place, device, all);
    if (device.port_kind == "vrf" && device.layer3())
        place_tunnel_in_vrf(place, device);
    place_below_rmnet(place, device, all);
    return place;
}

std::string place_problem(const NetDevice &device, Mode mode, std::span<const NetDevice> all) {
    const Place place = place_of(device, all);
    if (place.verdict == Verdict::useless)
        return place.what;
    const bool lame = mode == Mode::native && !place.native_works;
    const bool blind = mode != Mode::tc && device.port_kind == "vrf";
    if (lame || blind)
        return place.native;
    return {};
}

namespace {

// Kinds whose sockets are not found from the device below, although their packets pass there.
constexpr std::string_view kinds_above[] = {"vlan", "macvlan", "ipvlan", "macsec"};

bool stands_on(const NetDevice &device, std::uint32_t below) {
    return device.up && device.link == below &&
           std::find(std::begin(kinds_above), std::end(kinds_above), device.kind) != std::end(kinds_above);
}

// Sockets use the master of a port; a VRF is none that could be attached.
const NetDevice &used_by_sockets(const NetDevice &device, std::span<const NetDevice> all) {
    const NetDevice *master = find(device.master, all);
    return master && device.port_kind != "vrf" ? *master : device;
}

// A device cannot stand on itself, but all devices were not read at one moment: each is taken once.
void collect_above(std::uint32_t below, std::span<const NetDevice> all,
                   std::map<std::uint32_t, std::string> &found) {
    for (const NetDevice &device : all) {
        if (!stands_on(device, below))
            continue;
        const NetDevice &used = used_by_sockets(device, all);
        if (!found.emplace(used.ifindex, used.name).second)
            continue;
        collect_above(used.ifindex, all, found);
        if (used.ifindex != device.ifindex)
            collect_above(device.ifindex, all, found);
    }
}

} // namespace

std::map<std::uint32_t, std::string> devices_above(const NetDevice &device, std::span<const NetDevice> all) {
    std::map<std::uint32_t, std::string> found;
    collect_above(device.ifindex, all, found);
    return found;
}

std::string unseen_above(const NetDevice &device, const std::set<std::uint32_t> &attached,
                         std::span<const NetDevice> all) {
    std::vector<std::string> names;
    for (const auto &[ifindex, name] : devices_above(device, all)) {
        if (!attached.contains(ifindex))
            names.push_back(name);
    }
    if (names.empty())
        return {};
    const std::string above = fmt::format("{}", fmt::join(names, ", "));
    return fmt::format(
        "{0} carries {1}: sockets that are bound to one of these are not seen on {0}; attach {1} as well, if "
        "subflows use it",
        device.name, above);
}

} // namespace mps
