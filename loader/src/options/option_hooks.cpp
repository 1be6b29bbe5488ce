// SPDX-License-Identifier: MIT
#include "options/option_hooks.hpp"

#include <bpf/bpf.h>

#include <set>

#include <fmt/format.h>

#include "attach/clsact.hpp"
#include "attach/hooks.hpp"
#include "base/try.hpp"
#include "kernel/kernel_objects.hpp"

namespace mps {

namespace {

// 6.6 (053c8e1f235d "bpf: Add generic attach/detach/query API for multi-progs"): in front of what is there.
constexpr std::uint32_t before_all = 1u << 3;

const Hook &hook_at(bool out) { return hook_of(out ? HookId::rules_out : HookId::rules_in); }

FilterPlace place(const RuleHook &hook, std::uint32_t handle) {
    return {hook.ifindex, *hook_at(hook.out).filter, handle};
}

bool is_rule_program(std::uint32_t id) {
    const auto program = id ? prog_by_id(id) : std::unexpected(Error{});
    const auto info = program ? prog_info(program->get()) : std::unexpected(Error{});
    const HookProgram *row = info ? find_hook_program(info->name) : nullptr;
    return row && (row->hook == HookId::rules_in || row->hook == HookId::rules_out);
}

// Places of the filters that there are.
std::vector<FilterPlace> filters_at(const RuleHook &hook) {
    std::vector<FilterPlace> found;
    for (const std::uint32_t handle : hook_at(hook.out).handles)
        if (is_rule_program(filter_program(place(hook, handle))))
            found.push_back(place(hook, handle));
    return found;
}

// The filter that was made last comes first, so one in front is a new one.
Result<void> put_rule_filter(const InstallationPaths &paths, const NetDevice &device, bool out, int program) {
    const RuleHook hook{device.ifindex, out};
    const std::vector<FilterPlace> old = filters_at(hook);
    const std::uint32_t handle = !old.empty() && old.front().handle == hook_at(out).handles.front()
                                     ? hook_at(out).handles.back()
                                     : hook_at(out).handles.front();
    MPS_TRY(put_filter(place(hook, handle), device, program, mark_of(paths, hook_at(out), device.ifindex),
                       other_marks(paths, hook_at(out), device.ifindex)));
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
    const auto fd = open_pin(pin_of(paths, hook_at(hook.out), hook.ifindex));
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
    return tcx ? put_link(paths, hook_at(out), device, program, before_all)
               : put_rule_filter(paths, device, out, program);
}

Result<void> remove_rule_program(const InstallationPaths &paths, const RuleHook &hook) {
    MPS_TRY(remove_link(pin_of(paths, hook_at(hook.out), hook.ifindex)));
    for (const FilterPlace &one : filters_at(hook))
        MPS_TRY(remove_filter(one));
    const auto other = rule_program_at(paths, {hook.ifindex, !hook.out});
    MPS_TRY(other);
    return *other ? Result<void>{}
                  : remove_clsact(mark_of(paths, hook_at(hook.out), hook.ifindex), hook.ifindex);
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
