// SPDX-License-Identifier: MIT
#include "mpsched/xdp.hpp"

#include <libmnl/libmnl.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "base/try.hpp"
#include "kernel/generic_netlink.hpp"
#include "kernel/netlink.hpp"
#include "kernel/netns.hpp"

namespace mps {

namespace {

// include/uapi/linux/netdev.h, newer than Debian 12's headers; names as in Documentation/netlink/specs/netdev.yaml, from bit 0 on.
constexpr std::uint8_t netdev_cmd_dev_get = 1;
constexpr std::uint16_t netdev_a_dev_ifindex = 1, netdev_a_dev_xdp_features = 3;
constexpr std::array names{"basic",      "redirect", "ndo-xmit",   "xsk-zerocopy",
                           "hw-offload", "rx-sg",    "ndo-xmit-sg"};

constexpr std::uint64_t netdev_xdp_act_basic = 1;

std::uint64_t bits_of(const nlattr *attribute) {
    std::uint64_t bits = 0;
    std::memcpy(&bits, mnl_attr_get_payload(attribute),
                std::min<std::size_t>(sizeof bits, mnl_attr_get_payload_len(attribute)));
    return bits;
}

XdpFeatures names_of(std::uint64_t bits) {
    XdpFeatures found;
    for (std::size_t bit = 0; bit < names.size(); bit++)
        if (bits >> bit & 1)
            found.emplace_back(names[bit]);
    return found;
}

} // namespace

Result<std::map<std::uint32_t, XdpFeatures>> xdp_features(const std::string &netns) {
    const auto inside = InNetns::enter(netns);
    MPS_TRY(inside);
    std::map<std::uint32_t, XdpFeatures> all;
    std::uint32_t ifindex = 0;
    // Each answer begins with the interface (netdev_nl_dev_fill, net/core/netdev-genl.c).
    (void)ask_generic("netdev", netdev_cmd_dev_get, true, [&](const nlattr *attribute) {
        if (mnl_attr_get_type(attribute) == netdev_a_dev_ifindex)
            ifindex = mnl_attr_get_u32(attribute);
        if (mnl_attr_get_type(attribute) == netdev_a_dev_xdp_features)
            all[ifindex] = names_of(bits_of(attribute));
    });
    return all;
}

std::optional<bool> driver_has_xdp(std::uint32_t ifindex) {
    std::optional<bool> answer;
    const int err = ask_generic({.family = "netdev",
                                 .command = netdev_cmd_dev_get,
                                 .attribute = netdev_a_dev_ifindex,
                                 .value = ifindex},
                                [&](const nlmsghdr *message) {
                                    for_each_generic(message, [&](const nlattr *attribute) {
                                        if (mnl_attr_get_type(attribute) == netdev_a_dev_xdp_features)
                                            answer = bits_of(attribute) & netdev_xdp_act_basic;
                                    });
                                });
    return err ? std::nullopt : answer;
}

} // namespace mps
