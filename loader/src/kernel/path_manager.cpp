// SPDX-License-Identifier: MIT
#include "kernel/path_manager.hpp"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/genetlink.h>
#include <linux/mptcp.h>

#include <array>
#include <cerrno>
#include <fstream>

#include <fmt/format.h>

#include "base/addresses.hpp"
#include "kernel/netlink.hpp"

namespace mps {

namespace {

Endpoint parse_endpoint(const nlattr *nest) {
    Endpoint one;
    for_each_nested(nest, [&](const nlattr *attribute) {
        switch (mnl_attr_get_type(attribute)) {
        case MPTCP_PM_ADDR_ATTR_ID:
            one.id = mnl_attr_get_u8(attribute);
            break;
        case MPTCP_PM_ADDR_ATTR_ADDR4:
            one.address = address_text(AF_INET, mnl_attr_get_payload(attribute));
            break;
        case MPTCP_PM_ADDR_ATTR_ADDR6:
            one.address = address_text(AF_INET6, mnl_attr_get_payload(attribute));
            break;
        case MPTCP_PM_ADDR_ATTR_IF_IDX:
            one.ifindex = mnl_attr_get_u32(attribute);
            one.ifname = ifname_of(one.ifindex);
            one.orphaned = one.ifindex && one.ifname.empty();
            break;
        case MPTCP_PM_ADDR_ATTR_FLAGS:
            one.flags = mnl_attr_get_u32(attribute);
            one.subflow = one.flags & (MPTCP_PM_ADDR_FLAG_SUBFLOW | MPTCP_PM_ADDR_FLAG_FULLMESH);
            one.signal = one.flags & MPTCP_PM_ADDR_FLAG_SIGNAL;
            one.backup = one.flags & MPTCP_PM_ADDR_FLAG_BACKUP;
            break;
        }
    });
    return one;
}

// net.mptcp.path_manager (6.16), net.mptcp.pm_type before; where there is neither, only the kernel's exists.
bool is_in_kernel() {
    std::string name = "kernel";
    if (std::ifstream file("/proc/sys/net/mptcp/path_manager"); file >> name)
        return name == "kernel";
    int type = 0;
    std::ifstream file("/proc/sys/net/mptcp/pm_type");
    return !(file >> type) || type == 0;
}

void put_endpoint(nlmsghdr *message, const Endpoint &endpoint) {
    nlattr *nest = mnl_attr_nest_start(message, MPTCP_PM_ATTR_ADDR);
    const bool ipv6 = endpoint.address.contains(':');
    std::array<std::uint8_t, 16> address{};
    ::inet_pton(ipv6 ? AF_INET6 : AF_INET, endpoint.address.c_str(), address.data());
    mnl_attr_put_u16(message, MPTCP_PM_ADDR_ATTR_FAMILY, ipv6 ? AF_INET6 : AF_INET);
    mnl_attr_put(message, ipv6 ? MPTCP_PM_ADDR_ATTR_ADDR6 : MPTCP_PM_ADDR_ATTR_ADDR4, ipv6 ? 16 : 4,
                 address.data());
    mnl_attr_put_u8(message, MPTCP_PM_ADDR_ATTR_ID, static_cast<std::uint8_t>(endpoint.id));
    mnl_attr_put_u32(message, MPTCP_PM_ADDR_ATTR_FLAGS, endpoint.flags);
    if (endpoint.ifindex)
        mnl_attr_put_u32(message, MPTCP_PM_ADDR_ATTR_IF_IDX, endpoint.ifindex);
    mnl_attr_nest_end(message, nest);
}

} // namespace

std::optional<PathManager> read_path_manager() {
    PathManager pm{.in_kernel = is_in_kernel()};
    const int err = ask_generic(MPTCP_PM_NAME, MPTCP_PM_CMD_GET_ADDR, true, [&](const nlattr *attribute) {
        if (mnl_attr_get_type(attribute) == MPTCP_PM_ATTR_ADDR)
            pm.endpoints.push_back(parse_endpoint(attribute));
    });
    if (err)
        return std::nullopt;
    (void)ask_generic(MPTCP_PM_NAME, MPTCP_PM_CMD_GET_LIMITS, false, [&](const nlattr *attribute) {
        if (mnl_attr_get_type(attribute) == MPTCP_PM_ATTR_SUBFLOWS)
            pm.subflow_limit = mnl_attr_get_u32(attribute);
    });
    return pm;
}

Result<void> add_endpoint(const Endpoint &endpoint) {
    const int err = tell_generic(MPTCP_PM_NAME, MPTCP_PM_CMD_ADD_ADDR,
                                 [&](nlmsghdr *message) { put_endpoint(message, endpoint); });
    // Its number is in use, which the kernel tells in different ways, or the address has another one.
    if (!err || err == EBUSY || err == EEXIST)
        return {};
    return std::unexpected(system_error(err, fmt::format("adding the MPTCP endpoint {}", endpoint.address)));
}

Result<void> remove_endpoint(const Endpoint &endpoint) {
    const int err = tell_generic(MPTCP_PM_NAME, MPTCP_PM_CMD_DEL_ADDR,
                                 [&](nlmsghdr *message) { put_endpoint(message, endpoint); });
    if (!err || err == EINVAL)
        return {};
    return std::unexpected(
        system_error(err, fmt::format("removing the MPTCP endpoint {}", endpoint.address)));
}

} // namespace mps
