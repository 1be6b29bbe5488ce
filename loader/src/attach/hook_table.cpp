// SPDX-License-Identifier: MIT
#include "attach/hook_table.hpp"

#include <linux/bpf.h>
#include <mps/abi.h>
#include <mps/gateway_abi.h>

#include <algorithm>

#include <fmt/format.h>

#include "attach/clsact.hpp"
#include "kernel/kernel_objects.hpp"

namespace mps {

namespace {

constexpr std::uint32_t data_path_handles[] = {data_path_handle};
constexpr int tcx_in = attach_type_tcx_ingress, tcx_out = attach_type_tcx_egress;

constexpr Hook places[] = {
    {HookId::xdp, "XDP", BPF_XDP, "{}-xdp", {}, {}, "", true},
    {HookId::in, "TC ingress", tcx_in, "{}-tc", BPF_TC_INGRESS, data_path_handles, "{}-clsact", true},
    {HookId::out, "TC egress", tcx_out, "{}-out", BPF_TC_EGRESS, data_path_handles, "{}-clsact", true},
    {HookId::vrf, "TC egress", tcx_out, "vrf-{}", BPF_TC_EGRESS, data_path_handles, "vrf-{}-clsact", false},
    {HookId::rules_in, "TC ingress", tcx_in, "rules-{}-in", BPF_TC_INGRESS, rules_in_handles,
     "rules-{}-clsact", false},
    {HookId::rules_out, "TC egress", tcx_out, "rules-{}-out", BPF_TC_EGRESS, rules_out_handles,
     "rules-{}-clsact", false},
};

bool everywhere(const NetDevice &) { return true; }
// What leaves by the members of a VRF passes theirs.
bool no_vrf(const NetDevice &device) { return device.kind != "vrf"; }
bool member_of_vrf(const NetDevice &device) { return device.port_kind == "vrf"; }

constexpr std::string_view no_peers = "what peers send is not steered";
constexpr Variants none{}, xdp{.xdp = true}, tc{.tc = true};

constexpr HookProgram programs[] = {
    {"mps_xdp_", HookId::xdp, Role::host, ModeKind::xdp, everywhere, "", xdp, false, {}},
    {"mps_tc_", HookId::in, Role::host, ModeKind::tc, everywhere, "", tc, false, {}},
    {"mps_wake_", HookId::in, Role::host, ModeKind::xdp, everywhere, "", none, false, {}},
    {"mps_out_", HookId::out, Role::host, ModeKind::any, no_vrf, no_peers, none, true, {MPS_PROG_TAKE_BACK}},
    {"mps_tc_vrf", HookId::vrf, Role::host, ModeKind::tc, member_of_vrf, "", none, false, {}},
    {"mps_gin_", HookId::in, Role::gateway, ModeKind::tc, everywhere, "", none, true, {}},
    {"mps_gout_",
     HookId::out,
     Role::gateway,
     ModeKind::tc,
     no_vrf,
     "",
     none,
     true,
     {MPS_PROG_GW_BACK, MPS_PROG_GW_LOOK}},
    {"mps_rin_", HookId::rules_in, {}, ModeKind::any, everywhere, "", none, false, {}},
    {"mps_rout_", HookId::rules_out, {}, ModeKind::any, everywhere, "", none, false, {}},
};

constexpr bool has_two(const HookProgram &program) { return program.name.ends_with('_'); }

bool is_named(const HookProgram &program, std::string_view name) {
    if (!has_two(program))
        return name == program.name;
    return name.starts_with(program.name) &&
           (name.substr(program.name.size()) == "eth" || name.substr(program.name.size()) == "l3");
}

bool fits(ModeKind kind, Mode mode) {
    return kind == ModeKind::any || (kind == ModeKind::tc) == (mode == Mode::tc);
}

} // namespace

std::span<const Hook> hooks() { return places; }

const Hook &hook_of(HookId id) { return *std::ranges::find(places, id, &Hook::id); }

std::span<const HookProgram> hook_programs() { return programs; }

const HookProgram *find_hook_program(std::string_view name) {
    const auto row = std::ranges::find_if(programs, [&](const HookProgram &one) {
        return is_named(one, name) ||
               (!name.empty() && std::ranges::find(one.beside, name) != one.beside.end());
    });
    return row == std::end(programs) ? nullptr : row;
}

std::string program_name(const HookProgram &program, const NetDevice &device) {
    return fmt::format("{}{}", program.name, !has_two(program) ? "" : device.layer3() ? "l3" : "eth");
}

std::vector<const HookProgram *> wanted_on(const NetDevice &device, Mode mode, Role role) {
    std::vector<const HookProgram *> wanted;
    for (const HookProgram &one : programs)
        if (one.role == role && fits(one.mode, mode) && one.stands_at(device))
            wanted.push_back(&one);
    return wanted;
}

const HookProgram *wanted_at(HookId hook, const NetDevice &device, Mode mode, Role role) {
    for (const HookProgram *one : wanted_on(device, mode, role))
        if (one->hook == hook)
            return one;
    return nullptr;
}

std::set<std::string> names_of(std::span<const HookProgram *const> rows, const NetDevice &device) {
    std::set<std::string> names;
    for (const HookProgram *one : rows) {
        names.insert(program_name(*one, device));
        for (const std::string_view other : one->beside)
            if (!other.empty())
                names.emplace(other);
    }
    return names;
}

std::set<std::string> needed_programs(const NetDevice &device, Mode mode, Role role) {
    auto wanted = wanted_on(device, mode, role);
    std::erase_if(wanted, [](const HookProgram *one) { return !one->lack.empty(); });
    return names_of(wanted, device);
}

} // namespace mps
