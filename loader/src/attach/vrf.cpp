// SPDX-License-Identifier: MIT
#include "attach/vrf.hpp"

#include <mps/abi.h>

#include <algorithm>

#include <fmt/format.h>

#include "attach/hooks.hpp"
#include "base/try.hpp"

namespace mps {

namespace {

constexpr std::string_view map_name = "mps_vrfs";

// 0: none.
std::uint32_t wanted_vrf(const NetDevice &member, Mode mode) {
    return wanted_at(HookId::vrf, member, mode, Role::host) ? member.master : 0;
}

// The program at the VRF that finds the sockets bound to it, for its members (bpf/src/vrf.bpf.h).
Result<bool> has_program(const InstallationPaths &paths, const Pins &pins, std::uint32_t vrf) {
    const auto standing = read_hook(paths, pins, HookId::vrf, vrf);
    MPS_TRY(standing);
    const HookProgram *there = find_hook_program(pins.program_name(standing->prog_id()));
    return there && there->hook == HookId::vrf;
}

Result<std::uint32_t> asked_vrf(const Pins &pins, std::uint32_t member) {
    const auto vrf = read_value<std::uint32_t>(pins.map(map_name), member);
    MPS_TRY(vrf);
    return vrf->value_or(0);
}

} // namespace

Result<void> leave_vrf(const InstallationPaths &paths, const Pins &pins, std::uint32_t member) {
    const auto vrf = asked_vrf(pins, member);
    MPS_TRY(vrf);
    if (!*vrf)
        return {};
    // The key goes last, since it is what a later command finds the program by.
    const auto members = all_keys(pins.map(map_name), MPS_MAX_PATHS);
    const bool last = std::none_of(members.begin(), members.end(), [&](std::uint32_t other) {
        return other != member && asked_vrf(pins, other).value_or(0) == *vrf;
    });
    if (last) {
        MPS_TRY(remove_program(paths, pins, HookId::vrf, *vrf));
    }
    return delete_key(pins.map(map_name), member, map_name);
}

Result<void> follow_vrf(const InstallationPaths &paths, const Pins &pins, const NetDevice &member, Mode mode,
                        bool tcx) {
    const std::uint32_t wanted = wanted_vrf(member, mode);
    const auto asked = asked_vrf(pins, member.ifindex);
    MPS_TRY(asked);
    if (*asked != wanted) {
        MPS_TRY(leave_vrf(paths, pins, member.ifindex));
    }
    if (!wanted)
        return {};
    const auto vrf = net_device(wanted);
    // It went a moment ago, and has let the member go.
    if (!vrf)
        return {};
    // The key comes first: killed behind it, repair finds it and puts the program there.
    MPS_TRY(write_value(pins.map(map_name), member.ifindex, wanted, map_name));
    return put_program(paths, pins, *wanted_at(HookId::vrf, member, mode, Role::host), *vrf, tcx);
}

Result<std::string> vrf_problem(const InstallationPaths &paths, const Pins &pins, const NetDevice &member,
                                Mode mode) {
    const std::uint32_t wanted = wanted_vrf(member, mode);
    const auto asked = asked_vrf(pins, member.ifindex);
    MPS_TRY(asked);
    if (*asked != wanted) {
        return fmt::format("it has {} since it was attached",
                           wanted ? fmt::format("joined the VRF {}", ifname_of(wanted))
                                  : std::string("left its VRF"));
    }
    if (!wanted)
        return std::string();
    const auto there = has_program(paths, pins, wanted);
    MPS_TRY(there);
    return *there ? std::string() : fmt::format("our program at the VRF {} is gone", ifname_of(wanted));
}

} // namespace mps
