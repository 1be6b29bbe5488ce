// SPDX-License-Identifier: MIT
#include "mpsched/xdp.hpp"

#include <libmnl/libmnl.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "base/try.hpp"
#include "kernel/netlink.hpp"
#include "kernel/netns.hpp"

namespace mps {

namespace {

// include/uapi/linux/netdev.h, newer than Debian 12's headers; names as in Documentation/netlink/specs/netdev.yaml, from bit 0 on.
constexpr std::uint8_t netdev_cmd_dev_get = 1;
constexpr std::uint16_t netdev_a_dev_ifindex = 1, netdev_a_dev_xdp_features = 3;
constexpr std::array names{"basic",      "redirect", "ndo-xmit",   "xsk-zerocopy",
                           "hw-offload", "rx-sg",    "ndo-xmit-sg"};

XdpFeatures names_of(const nlattr *attribute) {
    std::uint64_t bits = 0;
    std::memcpy(&bits, mnl_attr_get_payload(attribute),
                std::min<std::size_t>(sizeof bits, mnl_attr_get_payload_len(attribute)));
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
            all[ifindex] = names_of(attribute);
    });
    return all;
}

} // namespace mps
