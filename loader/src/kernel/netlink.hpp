// SPDX-License-Identifier: MIT
//
// What libbpf's netlink calls do not tell: interfaces, filters on a hook, and a driver's XDP features.
// All of it is about the current network namespace (sysfs is not asked: it shows the namespace of its mount).
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.hpp"
#include "mpsched/error.hpp"

struct nlattr;
struct nlmsghdr;

namespace mps {

struct NetDevice {
    std::string name{};
    std::uint32_t ifindex = 0;
    std::uint16_t type = 0; // ARPHRD_*
    std::uint32_t mtu = 0;
    bool up = false;
    bool carrier = false;     // the link is there: IFF_LOWER_UP
    std::string kind{};       // rtnetlink kind: "veth", "tun", "vlan"; "" for physical devices
    std::string driver{};     // ethtool driver name, "" if unknown
    std::uint32_t master = 0; // the bridge, bond, VRF … that it is a port of; 0: none
    std::string port_kind{};  // rtnetlink kind of that master: "bridge"; "" if it has none
    std::uint32_t link = 0;   // the device below: a VLAN's parent; 0: none in this network namespace
    bool ipvlan_l3s = false;
    std::array<std::uint8_t, 6> mac{}; // first six bytes of the link-layer address

    // Packets come without link-layer header.
    [[nodiscard]] bool layer3() const;
    // Neither Ethernet framing nor bare IP: nothing we could parse.
    [[nodiscard]] bool foreign_framing() const;
    // "ethernet", "loopback", "none (layer 3)", "ppp (layer 3)", "type 24".
    [[nodiscard]] std::string type_text() const;
};

// In order of their index.
[[nodiscard]] Result<std::vector<NetDevice>> net_devices();
// The same without the names of drivers, each of which takes a system call.
[[nodiscard]] Result<std::vector<NetDevice>> net_links();
// nullopt: no such interface.
[[nodiscard]] std::optional<NetDevice> net_device(std::string_view name);
[[nodiscard]] std::optional<NetDevice> net_device(std::uint32_t ifindex);
// "" if the interface is gone.
[[nodiscard]] std::string ifname_of(std::uint32_t ifindex);

// Tells that interfaces of the current network namespace come, go or change.
class LinkMonitor {
  public:
    // Of links and addresses; `routes`: of routes as well.
    [[nodiscard]] static Result<LinkMonitor> open(bool routes = false);
    // Readable when something has happened.
    [[nodiscard]] int fd() const { return fd_.get(); }
    // Takes what has come, and tells whether that was anything. What was lost because too much came counts as well: look at
    // everything.
    bool drain() const;

  private:
    explicit LinkMonitor(Fd fd) : fd_(std::move(fd)) {}
    Fd fd_;
};

// Indices of the interfaces that have an address by which other hosts can be reached beyond the link.
[[nodiscard]] Result<std::set<std::uint32_t>> interfaces_with_addresses();

// Indices of the interfaces over which some table has a default route, IPv4 or IPv6.
[[nodiscard]] Result<std::set<std::uint32_t>> default_route_interfaces();

// Indices of the interfaces that nl80211 knows; empty where the kernel has no such family.
[[nodiscard]] std::set<std::uint32_t> wireless_interfaces();

// One request without attributes to a generic netlink family of version 1; calls back for each attribute of each answer. 0
// or an errno: ENOENT where the kernel has no such family.
using OnAttribute = std::function<void(const nlattr *)>;
[[nodiscard]] int ask_generic(std::string_view family, std::uint8_t command, bool dump,
                              const OnAttribute &on_attribute);
// The same with attributes, which `put` adds, and without an answer but for whether it was done.
[[nodiscard]] int tell_generic(std::string_view family, std::uint8_t command,
                               const std::function<void(nlmsghdr *)> &put);
void for_each_nested(const nlattr *outer, const OnAttribute &act);

// How many filters the clsact (or ingress) qdisc of an interface carries, ingress and egress together.
[[nodiscard]] Result<unsigned> count_clsact_filters(std::uint32_t ifindex);

// NETDEV_XDP_ACT_BASIC of the driver: may a native XDP program be attached? 6.3 (netdev generic netlink
// family); nullopt where the kernel cannot tell.
[[nodiscard]] std::optional<bool> driver_has_xdp(std::uint32_t ifindex);

} // namespace mps
