// SPDX-License-Identifier: MIT
#include "kernel/netlink.hpp"

#include <libmnl/libmnl.h>
#include <linux/ethtool.h>
#include <linux/genetlink.h>
#include <linux/if_link.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <functional>
#include <memory>

#include <fmt/format.h>

#include "base/fd.hpp"
#include "kernel/generic_netlink.hpp"
#include "kernel/route_request.hpp"
#include "kernel/token_bucket.hpp"

// linux/if_arp.h, which cannot be included beside net/if.h.
#ifndef ARPHRD_RAWIP
#define ARPHRD_RAWIP 519
#endif
#ifndef ARPHRD_IP6GRE
#define ARPHRD_IP6GRE 823
#endif
#ifndef ARPHRD_NONE
#define ARPHRD_NONE 0xFFFE
#endif

namespace mps {

namespace {

using Callback = std::function<void(const nlmsghdr *)>;

int call_back(const nlmsghdr *message, void *data) {
    (*static_cast<const Callback *>(data))(message);
    return MNL_CB_OK;
}

// libmnl's own loops do not compile as C++.
int on_attribute(const nlattr *attribute, void *data) {
    (*static_cast<const OnAttribute *>(data))(attribute);
    return MNL_CB_OK;
}
void for_each_attribute(const nlmsghdr *message, std::size_t header_size, const OnAttribute &act) {
    mnl_attr_parse(message, static_cast<unsigned>(header_size), on_attribute,
                   const_cast<OnAttribute *>(&act));
}

struct CloseSocket {
    void operator()(mnl_socket *socket) const { mnl_socket_close(socket); }
};

// Sends one request and calls `on_message` for each answer. 0 or an errno.
int transact(int bus, nlmsghdr *request, const Callback &on_message) {
    const std::unique_ptr<mnl_socket, CloseSocket> socket(mnl_socket_open2(bus, SOCK_CLOEXEC));
    if (!socket || mnl_socket_bind(socket.get(), 0, MNL_SOCKET_AUTOPID) < 0)
        return errno;
    request->nlmsg_seq = 1;
    if (mnl_socket_sendto(socket.get(), request, request->nlmsg_len) < 0)
        return errno;
    std::array<char, 32768> buffer;
    for (;;) {
        const ssize_t length = mnl_socket_recvfrom(socket.get(), buffer.data(), buffer.size());
        if (length < 0)
            return errno;
        const int next =
            mnl_cb_run(buffer.data(), static_cast<std::size_t>(length), 1,
                       mnl_socket_get_portid(socket.get()), call_back, const_cast<Callback *>(&on_message));
        if (next < 0)
            return errno;
        if (next == MNL_CB_STOP)
            return 0;
    }
}

// Lists what the kernel has of one kind; `which` is the message's own header.
template <class Header>
int dump(std::uint16_t type, const Header &which, const Callback &on_message) {
    alignas(nlmsghdr) std::array<char, 256> buffer;
    nlmsghdr *request = mnl_nlmsg_put_header(buffer.data());
    request->nlmsg_type = type;
    request->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    std::memcpy(mnl_nlmsg_put_extra_header(request, sizeof which), &which, sizeof which);
    return transact(NETLINK_ROUTE, request, on_message);
}

std::string read_driver(const std::string &ifname) {
    const Fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    ethtool_drvinfo info{};
    info.cmd = ETHTOOL_GDRVINFO;
    ifreq request{};
    ifname.copy(request.ifr_name, IFNAMSIZ - 1);
    request.ifr_data = reinterpret_cast<char *>(&info);
    if (!socket || ::ioctl(socket.get(), SIOCETHTOOL, &request))
        return {};
    return {info.driver, strnlen(info.driver, sizeof info.driver)};
}

void parse_link_info(const nlattr *info, NetDevice &device) {
    for_each_nested(info, [&](const nlattr *attribute) {
        switch (mnl_attr_get_type(attribute)) {
        case IFLA_INFO_KIND:
            device.kind = mnl_attr_get_str(attribute);
            break;
        case IFLA_INFO_SLAVE_KIND:
            device.port_kind = mnl_attr_get_str(attribute);
            break;
        case IFLA_INFO_DATA: // behind the kind, as rtnl_link_fill() puts it
            if (device.kind != "ipvlan")
                break;
            for_each_nested(attribute, [&](const nlattr *nested) {
                if (mnl_attr_get_type(nested) == IFLA_IPVLAN_MODE)
                    device.ipvlan_l3s = mnl_attr_get_u16(nested) == IPVLAN_MODE_L3S;
            });
            break;
        }
    });
}

NetDevice parse_link(const nlmsghdr *message) {
    const auto *header = static_cast<const ifinfomsg *>(mnl_nlmsg_get_payload(message));
    NetDevice device;
    bool link_is_elsewhere = false;
    device.ifindex = static_cast<std::uint32_t>(header->ifi_index);
    device.type = header->ifi_type;
    device.up = header->ifi_flags & IFF_UP;
    constexpr unsigned iff_lower_up = 1U << 16; // linux/if.h, which cannot be included beside net/if.h
    device.carrier = header->ifi_flags & iff_lower_up;
    for_each_attribute(message, sizeof *header, [&](const nlattr *attribute) {
        switch (mnl_attr_get_type(attribute)) {
        case IFLA_IFNAME:
            device.name = mnl_attr_get_str(attribute);
            break;
        case IFLA_MTU:
            device.mtu = mnl_attr_get_u32(attribute);
            break;
        case IFLA_ADDRESS:
            std::memcpy(device.mac.data(), mnl_attr_get_payload(attribute),
                        std::min<std::size_t>(device.mac.size(), mnl_attr_get_payload_len(attribute)));
            break;
        case IFLA_MASTER:
            device.master = mnl_attr_get_u32(attribute);
            break;
        case IFLA_LINK:
            device.link = mnl_attr_get_u32(attribute);
            break;
        case IFLA_LINK_NETNSID:
            link_is_elsewhere = true;
            break;
        case IFLA_LINKINFO:
            parse_link_info(attribute, device);
            break;
        }
    });
    // A veth's peer is not below it.
    if (link_is_elsewhere || device.link == device.ifindex || device.kind == "veth")
        device.link = 0;
    return device;
}

// Dump (no name, no index) or one interface.
int get_links(std::string_view name, std::uint32_t ifindex, std::vector<NetDevice> &devices) {
    alignas(nlmsghdr) std::array<char, 256> buffer;
    nlmsghdr *request = mnl_nlmsg_put_header(buffer.data());
    request->nlmsg_type = RTM_GETLINK;
    const bool dump = name.empty() && !ifindex;
    request->nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | (dump ? NLM_F_DUMP : NLM_F_ACK));
    auto *header = static_cast<ifinfomsg *>(mnl_nlmsg_put_extra_header(request, sizeof(ifinfomsg)));
    header->ifi_index = static_cast<int>(ifindex);
    if (!name.empty())
        mnl_attr_put(request, IFLA_IFNAME, name.size() + 1, std::string(name).c_str());
    return transact(NETLINK_ROUTE, request, [&](const nlmsghdr *message) {
        if (message->nlmsg_type == RTM_NEWLINK)
            devices.push_back(parse_link(message));
    });
}

std::optional<NetDevice> get_link(std::string_view name, std::uint32_t ifindex) {
    std::vector<NetDevice> devices;
    if (get_links(name, ifindex, devices) || devices.empty())
        return std::nullopt;
    devices.front().driver = read_driver(devices.front().name);
    return std::move(devices.front());
}

struct GenlRequest {
    alignas(nlmsghdr) std::array<char, 256> buffer;
    nlmsghdr *message;

    GenlRequest(std::uint16_t family, std::uint8_t command, bool dump = false) {
        message = mnl_nlmsg_put_header(buffer.data());
        message->nlmsg_type = family;
        message->nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | (dump ? NLM_F_DUMP : NLM_F_ACK));
        auto *header = static_cast<genlmsghdr *>(mnl_nlmsg_put_extra_header(message, sizeof(genlmsghdr)));
        header->cmd = command;
        header->version = 1;
    }
};

// 0: there is none of this name.
std::uint16_t family_id(std::string_view name) {
    std::uint16_t family = 0;
    GenlRequest lookup(GENL_ID_CTRL, CTRL_CMD_GETFAMILY);
    mnl_attr_put_strz(lookup.message, CTRL_ATTR_FAMILY_NAME, std::string(name).c_str());
    const int err = transact(NETLINK_GENERIC, lookup.message, [&](const nlmsghdr *message) {
        for_each_attribute(message, sizeof(genlmsghdr), [&](const nlattr *attribute) {
            if (mnl_attr_get_type(attribute) == CTRL_ATTR_FAMILY_ID)
                family = mnl_attr_get_u16(attribute);
        });
    });
    return err ? 0 : family;
}

} // namespace

void for_each_nested(const nlattr *outer, const OnAttribute &act) {
    mnl_attr_parse_nested(outer, on_attribute, const_cast<OnAttribute *>(&act));
}

int ask_generic(const GenericRequest &asked, const OnAnswer &on_answer) {
    const std::uint16_t id = family_id(asked.family);
    if (!id)
        return ENOENT;
    GenlRequest request(id, asked.command, asked.dump);
    if (asked.attribute)
        mnl_attr_put_u32(request.message, asked.attribute, asked.value);
    return transact(NETLINK_GENERIC, request.message, on_answer);
}

void for_each_generic(const nlmsghdr *answer, const OnAttribute &act) {
    for_each_attribute(answer, sizeof(genlmsghdr), act);
}

int ask_generic(std::string_view family, std::uint8_t command, bool dump,
                const OnAttribute &on_attribute_of) {
    return ask_generic({.family = family, .command = command, .dump = dump},
                       [&](const nlmsghdr *answer) { for_each_generic(answer, on_attribute_of); });
}

int tell_generic(std::string_view family, std::uint8_t command, const std::function<void(nlmsghdr *)> &put) {
    const std::uint16_t id = family_id(family);
    if (!id)
        return ENOENT;
    GenlRequest request(id, command);
    put(request.message);
    return transact(NETLINK_GENERIC, request.message, [](const nlmsghdr *) {});
}

int ask_route(nlmsghdr *request) {
    return transact(NETLINK_ROUTE, request, [](const nlmsghdr *) {});
}

bool NetDevice::layer3() const {
    switch (type) {
    case ARPHRD_NONE:
    case ARPHRD_RAWIP:
    case ARPHRD_TUNNEL:
    case ARPHRD_TUNNEL6:
    case ARPHRD_SIT:
    case ARPHRD_IPGRE:
    case ARPHRD_IP6GRE:
    case ARPHRD_PPP:
        return true;
    default:
        return false;
    }
}

bool NetDevice::foreign_framing() const {
    return type != ARPHRD_ETHER && type != ARPHRD_LOOPBACK && !layer3();
}

std::string NetDevice::type_text() const {
    switch (type) {
    case ARPHRD_ETHER:
        return "ethernet";
    case ARPHRD_LOOPBACK:
        return "loopback";
    case ARPHRD_NONE:
        return "none (layer 3)";
    case ARPHRD_RAWIP:
        return "raw IP (layer 3)";
    case ARPHRD_PPP:
        return "ppp (layer 3)";
    default:
        return layer3() ? "tunnel (layer 3)" : fmt::format("type {}", type);
    }
}

Result<std::vector<NetDevice>> net_links() {
    std::vector<NetDevice> devices;
    if (const int err = get_links({}, 0, devices))
        return std::unexpected(system_error(err, "listing the interfaces"));
    std::sort(devices.begin(), devices.end(),
              [](const NetDevice &a, const NetDevice &b) { return a.ifindex < b.ifindex; });
    return devices;
}

Result<std::vector<NetDevice>> net_devices() {
    auto devices = net_links();
    if (!devices)
        return devices;
    for (NetDevice &device : *devices)
        device.driver = read_driver(device.name);
    return devices;
}

Result<LinkMonitor> LinkMonitor::open(bool routes) {
    Fd socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE));
    sockaddr_nl address{};
    address.nl_family = AF_NETLINK;
    address.nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR;
    if (routes)
        address.nl_groups |= RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE;
    if (!socket || ::bind(socket.get(), reinterpret_cast<const sockaddr *>(&address), sizeof address))
        return std::unexpected(system_error(errno, "listening for changes of interfaces"));
    return LinkMonitor(std::move(socket));
}

bool LinkMonitor::drain() const {
    std::array<char, 8192> buffer;
    bool any = false;
    // ENOBUFS is told once, then reading goes on.
    while (::recv(fd_.get(), buffer.data(), buffer.size(), 0) >= 0 || errno == ENOBUFS || errno == EINTR)
        any = true;
    return any;
}

namespace {

void note_default_route(const nlmsghdr *message, std::set<std::uint32_t> &found) {
    const auto *header = static_cast<const rtmsg *>(mnl_nlmsg_get_payload(message));
    if (message->nlmsg_type != RTM_NEWROUTE || header->rtm_dst_len != 0 || header->rtm_type != RTN_UNICAST ||
        header->rtm_flags & RTM_F_CLONED)
        return;
    for_each_attribute(message, sizeof *header, [&](const nlattr *attribute) {
        if (mnl_attr_get_type(attribute) == RTA_OIF)
            found.insert(mnl_attr_get_u32(attribute));
        if (mnl_attr_get_type(attribute) != RTA_MULTIPATH)
            return;
        const auto *hop = static_cast<const rtnexthop *>(mnl_attr_get_payload(attribute));
        int left = mnl_attr_get_payload_len(attribute);
        for (; RTNH_OK(hop, left); left -= RTNH_ALIGN(hop->rtnh_len), hop = RTNH_NEXT(hop))
            found.insert(static_cast<std::uint32_t>(hop->rtnh_ifindex));
    });
}

} // namespace

Result<std::set<std::uint32_t>> interfaces_with_addresses() {
    std::set<std::uint32_t> found;
    const int err = dump(RTM_GETADDR, ifaddrmsg{.ifa_family = AF_UNSPEC}, [&](const nlmsghdr *message) {
        const auto *address = static_cast<const ifaddrmsg *>(mnl_nlmsg_get_payload(message));
        if (message->nlmsg_type == RTM_NEWADDR && address->ifa_scope < RT_SCOPE_LINK)
            found.insert(address->ifa_index);
    });
    if (err)
        return std::unexpected(system_error(err, "listing the addresses"));
    return found;
}

Result<std::set<std::uint32_t>> default_route_interfaces() {
    std::set<std::uint32_t> found;
    for (const int family : {AF_INET, AF_INET6}) {
        const int err = dump(RTM_GETROUTE, rtmsg{.rtm_family = static_cast<unsigned char>(family)},
                             [&](const nlmsghdr *message) { note_default_route(message, found); });
        // A kernel without IPv6 has no such routes.
        if (err && err != EAFNOSUPPORT && err != EOPNOTSUPP)
            return std::unexpected(system_error(err, "listing the routes"));
    }
    return found;
}

std::set<std::uint32_t> wireless_interfaces() {
    // include/uapi/linux/nl80211.h
    constexpr std::uint8_t nl80211_cmd_get_interface = 5;
    constexpr std::uint16_t nl80211_attr_ifindex = 3;
    std::set<std::uint32_t> found;
    (void)ask_generic("nl80211", nl80211_cmd_get_interface, true, [&](const nlattr *attribute) {
        if (mnl_attr_get_type(attribute) == nl80211_attr_ifindex)
            found.insert(mnl_attr_get_u32(attribute));
    });
    return found;
}

std::optional<NetDevice> net_device(std::string_view name) {
    // Longer names would be refused with an error that says nothing.
    if (name.empty() || name.size() >= IFNAMSIZ)
        return std::nullopt;
    return get_link(name, 0);
}

std::optional<NetDevice> net_device(std::uint32_t ifindex) {
    if (!ifindex)
        return std::nullopt;
    return get_link({}, ifindex);
}

std::string ifname_of(std::uint32_t ifindex) {
    std::array<char, IF_NAMESIZE> name{};
    return if_indextoname(ifindex, name.data()) ? name.data() : "";
}

Result<unsigned> count_clsact_filters(std::uint32_t ifindex) {
    unsigned count = 0;
    for (const std::uint32_t parent : {TC_H_MIN_INGRESS, TC_H_MIN_EGRESS}) {
        const tcmsg which{.tcm_ifindex = static_cast<int>(ifindex),
                          .tcm_parent = TC_H_MAKE(TC_H_CLSACT, parent)};
        const int err = dump(RTM_GETTFILTER, which, [&](const nlmsghdr *message) {
            if (message->nlmsg_type == RTM_NEWTFILTER)
                count++;
        });
        if (err)
            return std::unexpected(system_error(err, "listing the filters of an interface"));
    }
    return count;
}

namespace {

std::optional<std::uint64_t> tbf_rate(const nlattr *options) {
    std::optional<std::uint64_t> bytes_per_s;
    for_each_nested(options, [&](const nlattr *nested) {
        const bool is_wide = mnl_attr_get_type(nested) == TCA_TBF_RATE64;
        if (is_wide && mnl_attr_get_payload_len(nested) >= sizeof(std::uint64_t))
            bytes_per_s = mnl_attr_get_u64(nested);
        if (mnl_attr_get_type(nested) != TCA_TBF_PARMS || bytes_per_s ||
            mnl_attr_get_payload_len(nested) < sizeof(tc_tbf_qopt))
            return;
        tc_tbf_qopt parameters;
        std::memcpy(&parameters, mnl_attr_get_payload(nested), sizeof parameters);
        bytes_per_s = parameters.rate.rate;
    });
    return bytes_per_s;
}

} // namespace

std::optional<std::uint64_t> token_bucket_rate(std::uint32_t ifindex) {
    std::optional<std::uint64_t> bytes_per_s;
    const tcmsg which{.tcm_ifindex = static_cast<int>(ifindex)};
    const int err = dump(RTM_GETQDISC, which, [&](const nlmsghdr *message) {
        const auto *qdisc = static_cast<const tcmsg *>(mnl_nlmsg_get_payload(message));
        // Not every kernel filters by the index that was asked for.
        if (message->nlmsg_type != RTM_NEWQDISC || qdisc->tcm_ifindex != static_cast<int>(ifindex) ||
            qdisc->tcm_parent != TC_H_ROOT)
            return;
        bool is_tbf = false;
        for_each_attribute(message, sizeof *qdisc, [&](const nlattr *attribute) {
            if (mnl_attr_get_type(attribute) == TCA_KIND)
                is_tbf = std::string_view(mnl_attr_get_str(attribute)) == "tbf";
            if (mnl_attr_get_type(attribute) == TCA_OPTIONS && is_tbf)
                bytes_per_s = tbf_rate(attribute);
        });
    });
    if (err || !bytes_per_s)
        return std::nullopt;
    return *bytes_per_s * 8;
}

} // namespace mps
