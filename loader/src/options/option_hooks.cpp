// SPDX-License-Identifier: MIT
#include "options/option_hooks.hpp"

#include <bpf/bpf.h>

#include <cerrno>
#include <set>
#include <span>

#include <fmt/format.h>

#include "attach/clsact.hpp"
#include "base/try.hpp"
#include "kernel/kernel_objects.hpp"

namespace mps {

namespace {

// 6.6 (053c8e1f235d "bpf: Add generic attach/detach/query API for multi-progs"): in front of what is there.
constexpr std::uint32_t before_all = 1u << 3;

std::string link_path(const InstallationPaths &paths, const RuleHook &hook) {
    return paths.rules_link(hook.ifindex, hook.out ? "out" : "in");
}

std::span<const std::uint32_t> handles(bool out) {
    return out ? std::span<const std::uint32_t>(rules_out_handles) : rules_in_handles;
}

FilterPlace place(const RuleHook &hook, std::uint32_t handle) {
    return {hook.ifindex, hook.out ? BPF_TC_EGRESS : BPF_TC_INGRESS, handle};
}

bool is_rule_program(std::uint32_t id) {
    const auto program = id ? prog_by_id(id) : std::unexpected(Error{});
    const auto info = program ? prog_info(program->get()) : std::unexpected(Error{});
    return info && (info->name.starts_with("mps_rin_") || info->name.starts_with("mps_rout_"));
}

// Places of the filters that there are.
std::vector<FilterPlace> filters_at(const RuleHook &hook) {
    std::vector<FilterPlace> found;
    for (const std::uint32_t handle : handles(hook.out))
        if (is_rule_program(filter_program(place(hook, handle))))
            found.push_back(place(hook, handle));
    return found;
}

Result<void> remove_pinned_link(const std::string &path) {
    if (const auto fd = open_pin(path); fd && *fd)
        bpf_link_detach((*fd)->get());
    return unpin(path);
}

Result<void> put_link(const std::string &path, const NetDevice &device, bool out, int program) {
    MPS_TRY(remove_pinned_link(path));
    LIBBPF_OPTS(bpf_link_create_opts, options, .flags = before_all);
    const Fd link(bpf_link_create(
        program, static_cast<int>(device.ifindex),
        static_cast<bpf_attach_type>(out ? attach_type_tcx_egress : attach_type_tcx_ingress), &options));
    if (!link)
        return std::unexpected(system_error(
            errno, fmt::format("attaching to TC {} of {}", out ? "egress" : "ingress", device.name)));
    return pin(link.get(), path);
}

// The filter that was made last comes first, so one in front is a new one.
Result<void> put_rule_filter(const InstallationPaths &paths, const NetDevice &device, bool out, int program) {
    const RuleHook hook{device.ifindex, out};
    const std::vector<FilterPlace> old = filters_at(hook);
    const std::uint32_t handle = !old.empty() && old.front().handle == handles(out).front()
                                     ? handles(out).back()
                                     : handles(out).front();
    MPS_TRY(put_filter(place(hook, handle), device, program, paths.rules_clsact_mark(device.ifindex),
                       {paths.clsact_mark(device.ifindex)}));
    // An ingress qdisc has no egress: what is put there is put to ingress.
    if (out && filter_program({device.ifindex, BPF_TC_INGRESS, handle})) {
        MPS_TRY(remove_filter(place(hook, handle)));
        return fail(ErrorCode::unsupported,
                    fmt::format("{} has an ingress qdisc, which has no egress", device.name),
                    "a clsact qdisc in its place has both");
    }
    for (const FilterPlace &one : old)
        if (one.handle != handle)
            MPS_TRY(remove_filter(one));
    return {};
}

} // namespace

Result<std::uint32_t> rule_program_at(const InstallationPaths &paths, const RuleHook &hook) {
    const auto fd = open_pin(link_path(paths, hook));
    MPS_TRY(fd);
    const auto info = *fd && object_kind((*fd)->get()) == ObjectKind::link ? link_info((*fd)->get())
                                                                           : std::unexpected(Error{});
    if (info && info->ifindex)
        return info->prog_id;
    const auto filters = filters_at(hook);
    return filters.empty() ? 0 : filter_program(filters.front());
}

Result<void> put_rule_program(const InstallationPaths &paths, const NetDevice &device, bool out, int program,
                              bool tcx) {
    return tcx ? put_link(link_path(paths, {device.ifindex, out}), device, out, program)
               : put_rule_filter(paths, device, out, program);
}

Result<void> remove_rule_program(const InstallationPaths &paths, const RuleHook &hook) {
    MPS_TRY(remove_pinned_link(link_path(paths, hook)));
    for (const FilterPlace &one : filters_at(hook))
        MPS_TRY(remove_filter(one));
    const auto other = rule_program_at(paths, {hook.ifindex, !hook.out});
    MPS_TRY(other);
    return *other ? Result<void>{} : remove_clsact(paths.rules_clsact_mark(hook.ifindex), hook.ifindex);
}

Result<std::vector<RuleHook>> rule_hooks(const InstallationPaths &paths) {
    const std::vector<std::uint32_t> pinned = ruled_interfaces(paths);
    std::set<std::uint32_t> interfaces(pinned.begin(), pinned.end());
    const auto devices = net_links();
    MPS_TRY(devices);
    std::vector<RuleHook> found;
    for (const NetDevice &device : *devices)
        if (!filters_at({device.ifindex, false}).empty() || !filters_at({device.ifindex, true}).empty())
            interfaces.insert(device.ifindex);
    for (const std::uint32_t ifindex : interfaces)
        for (const bool out : {false, true})
            found.push_back({ifindex, out});
    return found;
}

} // namespace mps
