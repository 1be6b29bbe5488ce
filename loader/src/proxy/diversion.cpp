// SPDX-License-Identifier: MIT
#include "proxy/diversion.hpp"

#include <bpf/libbpf.h>
#include <libmnl/libmnl.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstdint>

#include <mps/proxy_abi.h>

#include <fmt/format.h>

#include "base/try.hpp"
#include "common/log.hpp"
#include "kernel/route_request.hpp"

namespace mps {

namespace {

constexpr std::uint32_t table = MPS_PROXY_MARK;
constexpr std::uint32_t rule_priority = 50; // before all that a gateway may have of its own
constexpr std::uint8_t protocol =
    0x6d; // says whose rule and route it is; iproute2's rt_protos has none of it

// As the data path's filters, before all others. One handle tells that the qdisc was made for it.
constexpr std::uint32_t filter_priority = 1;
constexpr std::uint32_t handle_with_qdisc = 0x6d7078, handle_in_qdisc = 0x6d7079;

struct Request {
    alignas(nlmsghdr) std::array<char, 256> buffer{};
    nlmsghdr *message = mnl_nlmsg_put_header(buffer.data());

    Request(std::uint16_t type, bool adds) {
        message->nlmsg_type = type;
        message->nlmsg_flags =
            static_cast<std::uint16_t>(NLM_F_REQUEST | NLM_F_ACK | (adds ? NLM_F_CREATE | NLM_F_EXCL : 0));
    }
};

int change_rule(int family, bool adds) {
    Request request(adds ? RTM_NEWRULE : RTM_DELRULE, adds);
    auto *header =
        static_cast<fib_rule_hdr *>(mnl_nlmsg_put_extra_header(request.message, sizeof(fib_rule_hdr)));
    header->family = static_cast<std::uint8_t>(family);
    header->action = FR_ACT_TO_TBL;
    mnl_attr_put_u32(request.message, FRA_TABLE, table);
    mnl_attr_put_u32(request.message, FRA_PRIORITY, rule_priority);
    mnl_attr_put_u32(request.message, FRA_FWMARK, MPS_PROXY_MARK);
    mnl_attr_put_u32(request.message, FRA_FWMASK, UINT32_MAX);
    mnl_attr_put_u8(request.message, FRA_PROTOCOL, protocol);
    return ask_route(request.message);
}

int change_route(int family, bool adds) {
    Request request(adds ? RTM_NEWROUTE : RTM_DELROUTE, adds);
    auto *header = static_cast<rtmsg *>(mnl_nlmsg_put_extra_header(request.message, sizeof(rtmsg)));
    header->rtm_family = static_cast<std::uint8_t>(family);
    header->rtm_protocol = protocol;
    header->rtm_scope = family == AF_INET ? RT_SCOPE_HOST : RT_SCOPE_UNIVERSE;
    header->rtm_type = RTN_LOCAL;
    mnl_attr_put_u32(request.message, RTA_TABLE, table);
    mnl_attr_put_u32(request.message, RTA_OIF, if_nametoindex("lo"));
    return ask_route(request.message);
}

// Of a family that the kernel lacks or that is off there is nothing to divert.
bool has_no_family(int err) { return err == EAFNOSUPPORT || err == EOPNOTSUPP || err == EACCES; }

bpf_tc_hook ingress(std::uint32_t ifindex) {
    LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = static_cast<int>(ifindex), .attach_point = BPF_TC_INGRESS);
    return hook;
}

bool has_filter(std::uint32_t ifindex, std::uint32_t handle) {
    const bpf_tc_hook hook = ingress(ifindex);
    LIBBPF_OPTS(bpf_tc_opts, options, .handle = handle, .priority = filter_priority);
    return bpf_tc_query(&hook, &options) == 0;
}

Result<void> remove_filter(const NetDevice &device, std::uint32_t handle) {
    bpf_tc_hook hook = ingress(device.ifindex);
    LIBBPF_OPTS(bpf_tc_opts, options, .handle = handle, .priority = filter_priority);
    if (const int err = bpf_tc_detach(&hook, &options); err && err != -ENOENT && err != -ENODEV)
        return std::unexpected(system_error(err, fmt::format("taking the proxy off {}", device.name)));
    const auto others = count_clsact_filters(device.ifindex);
    if (handle == handle_with_qdisc && others && *others == 0) {
        hook.attach_point = static_cast<bpf_tc_attach_point>(BPF_TC_INGRESS | BPF_TC_EGRESS);
        bpf_tc_hook_destroy(&hook);
    }
    return {};
}

} // namespace

Result<void> add_diversion() {
    for (const int family : {AF_INET, AF_INET6}) {
        // The route first: a rule that leads nowhere would be one by which packets fall through.
        for (const bool route : {true, false}) {
            const int err = route ? change_route(family, true) : change_rule(family, true);
            if (err && err != EEXIST && !(family == AF_INET6 && has_no_family(err)))
                return std::unexpected(system_error(
                    err, fmt::format("adding the {} that leads to the proxy", route ? "route" : "rule"),
                    "the kernel needs CONFIG_IP_MULTIPLE_TABLES, and the interface lo to be up"));
        }
    }
    return {};
}

Result<void> remove_diversion() {
    for (const int family : {AF_INET, AF_INET6})
        for (const bool route : {false, true}) {
            const int err = route ? change_route(family, false) : change_rule(family, false);
            if (err && err != ENOENT && err != ESRCH && !(family == AF_INET6 && has_no_family(err)))
                return std::unexpected(
                    system_error(err, fmt::format("removing the proxy's {}", route ? "route" : "rule")));
        }
    return {};
}

Result<void> put_proxy_filter(const NetDevice &device, int program) {
    const LibbpfMessages messages;
    bpf_tc_hook hook = ingress(device.ifindex);
    const int made = bpf_tc_hook_create(&hook);
    if (made && made != -EEXIST)
        return std::unexpected(system_error(made, fmt::format("making a clsact qdisc on {}", device.name),
                                            "the kernel needs CONFIG_NET_SCH_INGRESS; see 'mpsched probe'"));
    LIBBPF_OPTS(bpf_tc_opts, options, .prog_fd = program,
                .handle = made ? handle_in_qdisc : handle_with_qdisc, .priority = filter_priority);
    if (const int err = bpf_tc_attach(&hook, &options))
        return std::unexpected(system_error(
            err, fmt::format("attaching to TC ingress of {}", device.name),
            fmt::format("a filter of another kind may hold priority {}: 'tc filter show dev {} ingress'",
                        filter_priority, device.name)));
    return {};
}

Result<std::vector<std::string>> remove_proxy_filters() {
    const LibbpfMessages messages;
    const auto devices = net_links();
    MPS_TRY(devices);
    std::vector<std::string> names;
    for (const NetDevice &device : *devices)
        for (const std::uint32_t handle : {handle_with_qdisc, handle_in_qdisc})
            if (has_filter(device.ifindex, handle)) {
                MPS_TRY(remove_filter(device, handle));
                names.push_back(device.name);
            }
    return names;
}

} // namespace mps
