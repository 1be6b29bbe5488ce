// SPDX-License-Identifier: MIT
#include "kernel/path_manager.hpp"

#include <libmnl/libmnl.h>
#include <linux/genetlink.h>
#include <linux/mptcp.h>

#include <fstream>

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
            one.ifname = ifname_of(mnl_attr_get_u32(attribute));
            one.orphaned = mnl_attr_get_u32(attribute) && one.ifname.empty();
            break;
        case MPTCP_PM_ADDR_ATTR_FLAGS: {
            const std::uint32_t flags = mnl_attr_get_u32(attribute);
            one.subflow = flags & (MPTCP_PM_ADDR_FLAG_SUBFLOW | MPTCP_PM_ADDR_FLAG_FULLMESH);
            one.signal = flags & MPTCP_PM_ADDR_FLAG_SIGNAL;
            one.backup = flags & MPTCP_PM_ADDR_FLAG_BACKUP;
            break;
        }
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

} // namespace mps
