// SPDX-License-Identifier: MIT
//
// Where programs of ours stand on an interface, and which: two tables off which attach, detach, repair, status and the search for
// programs that lost their pins work. One more program at a place that is there is a row of the second table; one more place a row of
// the first as well.
#pragma once

#include <bpf/libbpf.h>

#include <array>
#include <cstdint>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernel/netlink.hpp"
#include "mpsched/instance.hpp"
#include "policy/variants.hpp"

namespace mps {

enum class HookId {
    xdp,
    in,       // TC ingress
    out,      // TC egress
    vrf,      // TC egress of the VRF that an attached interface is a member of
    rules_in, // of option rules: in front of all else
    rules_out,
};

struct Hook {
    HookId id;
    std::string_view name; // "TC ingress"
    int type;              // enum bpf_attach_type of a link
    std::string_view pin;  // of that link, below links/; {} is the index of the interface
    // Without links to TC: a filter of a clsact qdisc, under one of these handles.
    std::optional<bpf_tc_attach_point> filter;
    std::span<const std::uint32_t> handles;
    std::string_view mark; // the pin that says: the qdisc is ours
    bool of_interface;     // of every attached interface itself, and its to take off
};

enum class ModeKind { any, xdp, tc }; // native and generic are xdp

// One program; it is there for Ethernet (…_eth) and for interfaces without link layer (…_l3), or for both together.
struct HookProgram {
    std::string_view name; // ends in '_' where there are two
    HookId hook;
    std::optional<Role> role; // of the attachment; none: option rules put it
    ModeKind mode;
    bool (*stands_at)(const NetDevice &); // where else it is not wanted
    // What does not work without it. "": the interface would not be attached.
    std::string_view lack;
    Variants calls;                         // policies
    bool calls_rx;                          // policies that decide what peers send, as TC programs
    std::array<std::string_view, 2> beside; // loaded with it, run by hand
};

[[nodiscard]] std::span<const Hook> hooks();
[[nodiscard]] const Hook &hook_of(HookId id);

[[nodiscard]] std::span<const HookProgram> hook_programs();
// The row of a program by its name; nullptr: it stands nowhere. `beside` ones are found as well.
[[nodiscard]] const HookProgram *find_hook_program(std::string_view name);

[[nodiscard]] std::string program_name(const HookProgram &program, const NetDevice &device);
// What is wanted there; nullptr: nothing. `mode` is not `automatic`.
[[nodiscard]] const HookProgram *wanted_at(HookId hook, const NetDevice &device, Mode mode, Role role);
[[nodiscard]] std::vector<const HookProgram *> wanted_on(const NetDevice &device, Mode mode, Role role);
// What has to be loaded for these: with those beside them.
[[nodiscard]] std::set<std::string> names_of(std::span<const HookProgram *const> programs,
                                             const NetDevice &device);
// All without which the interface is not attached.
[[nodiscard]] std::set<std::string> needed_programs(const NetDevice &device, Mode mode, Role role);

} // namespace mps
