// SPDX-License-Identifier: MIT
#include "mpsched/features.hpp"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/fd.hpp"
#include "base/try.hpp"
#include "common/capabilities.hpp"
#include "common/log.hpp"
#include "kernel/device_place.hpp"
#include "kernel/kernel_probe.hpp"
#include "kernel/netlink.hpp"
#include "kernel/netns.hpp"
#include "mpsched/nearest.hpp"
#include "pins/bpffs.hpp"
#include "pins/pins.hpp"

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

namespace mps {

namespace {

Finding probe_mptcp() {
    const Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_MPTCP));
    if (socket)
        return {Answer::available, {}};
    // ENOPROTOOPT: built in, but switched off in this network namespace (mptcp_init_sock).
    if (errno == ENOPROTOOPT)
        return {Answer::available, "built in, but not enabled here"};
    if (errno == EPROTONOSUPPORT || errno == EINVAL)
        return {Answer::missing, "the kernel is built without MPTCP"};
    return {Answer::unknown, errno_text(errno)};
}

Finding probe_mptcp_enabled() {
    // /proc/sys/net belongs to the network namespace of the process that opens it.
    std::ifstream file("/proc/sys/net/mptcp/enabled");
    int enabled = 0;
    if (!(file >> enabled))
        return {Answer::unknown, "/proc/sys/net/mptcp/enabled cannot be read"};
    return {enabled ? Answer::available : Answer::missing, {}};
}

Finding probe_btf() {
    if (!::access("/sys/kernel/btf/vmlinux", R_OK))
        return {Answer::available, "/sys/kernel/btf/vmlinux"};
    if (errno == ENOENT)
        return {Answer::missing, "/sys/kernel/btf/vmlinux does not exist"};
    return {Answer::unknown, errno_text(errno)};
}

Finding probe_bpffs() {
    if (const auto good = check_bpffs({}); !good)
        return {Answer::missing, good.error().what};
    if (const auto path = find_bpffs({}))
        return {Answer::available, fmt::format("mounted at {}", *path)};
    std::ifstream file("/proc/filesystems");
    for (std::string line; std::getline(file, line);) {
        if (line.ends_with("\tbpf"))
            return {Answer::available, "not mounted yet, attach will do it"};
    }
    return {Answer::missing, {}};
}

Finding probe_rights() {
    const auto missing = missing_capabilities();
    if (missing.empty())
        return {Answer::available, {}};
    std::vector<std::string> names;
    for (const Capability &capability : missing)
        names.push_back(fmt::format("{} ({})", capability.name, capability.need));
    return {Answer::missing, fmt::format("missing: {}", fmt::join(names, ", "))};
}

struct Question {
    std::string_view name;
    std::string_view title;
    bool required;
    std::string_view since;
    std::string_view need;
    std::string_view hint;
    Finding (*ask)();
};

constexpr std::string_view newer_kernel = "use a newer kernel";

constexpr std::array questions{
    Question{"rights", "capabilities", true, "", "loading and attaching BPF programs", "run as root",
             probe_rights},
    Question{"mptcp", "MPTCP", true, "5.6", "the protocol to steer",
             "a kernel with CONFIG_MPTCP=y, as Debian's are", probe_mptcp},
    Question{"mptcp_enabled", "MPTCP enabled in this network namespace", true, "5.6",
             "applications get MPTCP sockets", "sysctl -w net.mptcp.enabled=1", probe_mptcp_enabled},
    Question{"btf", "kernel BTF", true, "5.2", "finding kernel fields",
             "a kernel with CONFIG_DEBUG_INFO_BTF=y, as Debian's are", probe_btf},
    Question{"bpffs", "bpf file system", true, "4.4", "keeping programs alive without a daemon",
             "a kernel with CONFIG_BPF_SYSCALL=y", probe_bpffs},
    Question{"xdp", "XDP", true, "4.8", "the data path of modes native and generic", newer_kernel, probe_xdp},
    Question{"tcx", "TC programs as links (tcx)", false, "6.6",
             "attaching to TC without a qdisc; without it cls_bpf is used", newer_kernel, probe_tcx},
    Question{"cls_bpf", "TC programs as filters (clsact, cls_bpf)", false, "4.5",
             "attaching to TC where tcx is missing",
             "a kernel with CONFIG_NET_CLS_BPF and CONFIG_NET_SCH_INGRESS", probe_cls_bpf},
    Question{"iter_tcp", "BPF iterator over TCP sockets", true, "5.8", "conns, detach without traces",
             newer_kernel, probe_iter_tcp},
    Question{"mptcp_sock", "bpf_skc_to_mptcp_sock()", true, "5.19", "finding the connection of a packet",
             newer_kernel, probe_skc_to_mptcp_sock},
    Question{"bpf_loop", "bpf_loop()", false, "5.17", "long loops in policies", newer_kernel, probe_bpf_loop},
    Question{"rdonly_cast", "bpf_rdonly_cast()", false, "6.2",
             "reading kernel fields quickly; without it each costs a helper call", newer_kernel,
             probe_rdonly_cast},
    Question{"live_frames", "live packets from BPF_PROG_TEST_RUN", false, "5.18",
             "restoring idle subflows on detach; without it they stay as they are until their peer speaks",
             newer_kernel, probe_live_frames},
    Question{"subprog_tail_call", "tail calls in subprograms", true, "5.10", "plug-in slots for policies",
             "a kernel newer than 5.10 with the JIT on (net.core.bpf_jit_enable=1)", probe_subprog_tail_call},
    Question{
        "sockops", "sockops programs at cgroup v2", false, "5.7",
        "levers of policies (lowat_bytes) on new subflows; without it only those get them that exist at a command",
        "a kernel with CONFIG_CGROUP_BPF=y, and no sockops program at the root that allows no other",
        probe_sockops},
    Question{"gateway", "the role of a gateway", false, "5.17",
             "attach --role gateway: connections of other hosts that pass here",
             "a kernel newer than 5.17 with CONFIG_NET_CLS_BPF and CONFIG_NET_SCH_INGRESS", probe_gateway},
    Question{"fmod_ret", "programs that choose a socket's protocol (fmod_ret)", false, "6.6",
             "'mpsched run' as root; without it a process is asked for each socket (seccomp)",
             "a kernel newer than 6.6 that allows BPF trampolines", probe_fmod_ret},
    Question{"struct_ops", "BPF MPTCP schedulers (mptcp_sched_ops)", false, "",
             "policies that need more than choosing subflows, such as redundant",
             "only the MPTCP developers' kernel tree has it", probe_mptcp_struct_ops},
};

Feature ask(const Question &question, const Without &without) {
    Finding finding = question.ask();
    if (without.contains(question.name))
        finding = {Answer::missing, "treated as missing (MPS_WITHOUT)"};
    std::string hint;
    if (finding.answer == Answer::missing)
        hint = question.hint;
    // Mostly for lack of rights; then the kernel is not to blame.
    if (finding.answer == Answer::unknown)
        hint = missing_capabilities_hint();
    return Feature{.name = std::string(question.name),
                   .title = std::string(question.title),
                   .answer = finding.answer,
                   .required = question.required,
                   .since = std::string(question.since),
                   .need = std::string(question.need),
                   .detail = finding.detail,
                   .hint = hint};
}

InterfaceProbe probe_interface(const NetDevice &device, std::span<const NetDevice> all) {
    InterfaceProbe result{.name = device.name,
                          .ifindex = device.ifindex,
                          .driver = device.driver.empty() ? device.kind : device.driver,
                          .link_type = device.type_text(),
                          .layer3 = device.layer3(),
                          .up = device.up,
                          .mtu = device.mtu};
    if (const auto native = driver_has_xdp(device.ifindex)) {
        result.native_xdp = *native ? Answer::available : Answer::missing;
    }
    const Place place = place_of(device, all);
    result.auto_mode =
        place.mode == Mode::native && result.native_xdp == Answer::missing ? "tc" : to_string(place.mode);
    result.auto_reason = place.mode == Mode::native && result.native_xdp == Answer::missing
                             ? "the driver has no native XDP"
                             : place.why;
    if (place.verdict == Place::Verdict::useless) {
        result.auto_mode = "none";
        result.auto_reason = fmt::format("{}; {}", place.what, place.next);
    }
    LIBBPF_OPTS(bpf_xdp_query_opts, query);
    const LibbpfMessages messages;
    if (!bpf_xdp_query(static_cast<int>(device.ifindex), 0, &query)) {
        const std::uint32_t id = query.prog_id       ? query.prog_id
                                 : query.drv_prog_id ? query.drv_prog_id
                                                     : query.skb_prog_id;
        if (id) {
            const std::string text = prog_text(id);
            if (!text.starts_with("mps_xdp_"))
                result.xdp_taken_by = text;
        }
    }
    return result;
}

} // namespace

std::string_view to_string(Answer answer) {
    switch (answer) {
    case Answer::available:
        return "available";
    case Answer::missing:
        return "missing";
    case Answer::unknown:
        break;
    }
    return "unknown";
}

bool Probe::usable() const {
    return std::all_of(features.begin(), features.end(), [](const Feature &feature) {
        return !feature.required || feature.answer == Answer::available;
    });
}

Result<Without> parse_without(std::string_view text) {
    Without without;
    while (!text.empty()) {
        const std::size_t comma = std::min(text.find(','), text.size());
        const std::string_view name = text.substr(0, comma);
        if (std::none_of(questions.begin(), questions.end(),
                         [&](const Question &q) { return q.name == name; })) {
            std::vector<std::string> names;
            for (const Question &question : questions)
                names.emplace_back(question.name);
            return fail(ErrorCode::usage,
                        fmt::format("there is no feature '{}' to do without (MPS_WITHOUT)", name),
                        fmt::format("{}there are: {}", did_you_mean(name, names), fmt::join(names, ", ")));
        }
        without.emplace(name);
        text.remove_prefix(std::min(comma + 1, text.size()));
    }
    return without;
}

Result<Without> effective_without(const Without &without) {
    const char *environment = std::getenv("MPS_WITHOUT");
    auto result = parse_without(environment ? environment : "");
    if (result)
        result->insert(without.begin(), without.end());
    return result;
}

Result<Probe> probe(const ProbeOptions &options) {
    const LogScope log(options.log);
    const auto inside = InNetns::enter(options.netns);
    MPS_TRY(inside);
    Probe result;
    const auto all_without = effective_without(options.without);
    MPS_TRY(all_without);
    for (const Question &question : questions)
        result.features.push_back(ask(question, *all_without));
    if (const auto devices = net_devices()) {
        for (const NetDevice &device : *devices)
            result.interfaces.push_back(probe_interface(device, *devices));
    }
    return result;
}

} // namespace mps
