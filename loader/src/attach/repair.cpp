// SPDX-License-Identifier: MIT
//
// What a command killed at any instant may have left, and what becomes of it:
//
//   LEAVING flags                           nobody is leaving while we hold the lock: cleared on attached interfaces. On
//                                           others they say that programs went before their subflows were looked at a
//                                           last time, which the next detach does
//   the path of a vanished interface        says so, see presence.hpp
//   pins of a vanished interface            removed
//   an attached interface without TC        its TC program is attached again
//   an attached interface without its program at TC egress   it is attached again
//   an attached interface without XDP       whose TC program only does wakes: goes on in mode tc
//   XDP and a whole TC program together     a change of mode: TC goes back to wakes
//   a whole TC program and a pinned XDP link that is attached nowhere     the pin is removed
//   neither                                 somebody else took both away: it is not attached, until attach_what_lacks()
//   links of an interface that is not attached   removed
//   an attached interface that has joined or left a VRF   asks that VRF's program, or none
//   a path with nothing but defaults        removed
//   slots nobody refers to                  emptied
//   a policy in use that is not loaded for a mode of the data path     loaded for it
//   a wake that waits for a packet         gets one
//   programs of option rules on the wrong interfaces, or none where they ought to be     put in order
//   rules about congestion control without their program, or pins of them without a rule   put in order
//   programs of spread on interfaces that are gone, or without their maps     put in order
//   levers without a policy that has them, or the other way round   put in order
#include <algorithm>
#include <array>
#include <set>

#include "attach/carrier.hpp"
#include "attach/hooks.hpp"
#include "attach/interface.hpp"
#include "attach/levers.hpp"
#include "attach/vrf.hpp"
#include "base/try.hpp"
#include "common/log.hpp"
#include "congestion/choices.hpp"
#include "instance_impl.hpp"
#include "options/option_rules.hpp"
#include "policy/makers.hpp"
#include "spread/spread.hpp"

namespace mps {

namespace {

Result<void> provide_for(Session &session, const NetDevice &device, Mode mode) {
    std::vector<std::string> warnings;
    auto done = provide(session, needed_programs(device, mode, Role::host), warnings);
    for (const std::string &warning : warnings)
        log_lines(warning);
    return done;
}

// What one interface is to have, as the table of paths says, and what it has.
struct Found {
    std::optional<NetDevice> device;
    std::optional<PathEntry> entry;
    Hooks hooks;
    Role role = Role::host;
};

// Puts a mode's program to TC ingress where it is not there.
Result<void> put_ingress(Session &session, const NetDevice &device, Mode mode, bool tcx) {
    return put_program(session.paths, session.pins, *wanted_at(HookId::in, device, mode, Role::host), device,
                       tcx);
}

// Whether the interface goes on being attached, with the mode that its programs tell.
Result<bool> complete_programs(Session &session, const Found &found, bool tcx) {
    const NetDevice &device = *found.device;
    const std::string there = session.pins.program_name(found.hooks.in.prog_id());
    const auto is_of = [&](Mode mode) {
        const HookProgram *wanted = wanted_at(HookId::in, device, mode, found.role);
        return wanted && there == program_name(*wanted, device);
    };
    if (found.role == Role::gateway)
        return is_of(Mode::tc);
    if (found.hooks.has_xdp()) {
        MPS_TRY(put_ingress(session, device, Mode::native, tcx));
        return true;
    }
    if (is_of(Mode::native)) {
        MPS_TRY(provide_for(session, device, Mode::tc));
        MPS_TRY(put_ingress(session, device, Mode::tc, tcx));
    } else if (!is_of(Mode::tc)) {
        return false;
    }
    if (found.hooks.xdp.link)
        MPS_TRY(remove_xdp(session.paths, device.ifindex));
    return true;
}

// What is wanted there at TC. Where these do not go, `status` tells of it.
void complete_tc(Session &session, const Found &found, bool tcx) {
    const NetDevice &device = *found.device;
    std::vector<std::string> warnings;
    for (const HookProgram *one : wanted_on(device, mode_seen(found.hooks), found.role)) {
        const Hook &hook = hook_of(one->hook);
        if (!hook.filter || !hook.of_interface)
            continue;
        auto done = provide(session, names_of(std::array{one}, device), warnings);
        if (done)
            done = put_program(session.paths, session.pins, *one, device, tcx);
        if (!done)
            warnings.push_back(done.error().what);
    }
    for (const std::string &warning : warnings)
        log_lines(warning);
}

Result<void> settle_vrf(Session &session, const Found &found, std::uint32_t ifindex, bool attached,
                        bool tcx) {
    if (!attached || found.role != Role::host)
        return leave_vrf(session.paths, session.pins, ifindex);
    const Mode mode = mode_seen(found.hooks);
    MPS_TRY(provide_for(session, *found.device, mode));
    return follow_vrf(session.paths, session.pins, *found.device, mode, tcx);
}

// Whether the path is another one now.
Result<bool> settle_path(Session &session, const Found &found, bool attached) {
    if (!found.entry)
        return false;
    mps_path path = found.entry->path;
    if (attached)
        path.flags &= ~static_cast<std::uint32_t>(MPS_PATH_LEAVING);
    else if (found.hooks.any() || (path.flags & MPS_PATH_ATTACHED))
        path.flags = (path.flags & ~static_cast<std::uint32_t>(MPS_PATH_ATTACHED)) | MPS_PATH_LEAVING;
    if (!attached && is_plain(path)) {
        MPS_TRY(session.path_table().remove(path.ifindex));
        return true;
    }
    if (path.flags == found.entry->path.flags)
        return false;
    MPS_TRY(session.path_table().put(path));
    return true;
}

Result<bool> repair_interface(Session &session, std::uint32_t ifindex, bool tcx) {
    const auto entry = session.path_table().find(ifindex);
    MPS_TRY(entry);
    const auto hooks = read_hooks(session.paths, session.pins, ifindex);
    MPS_TRY(hooks);
    const Found found{.device = net_device(ifindex),
                      .entry = *entry,
                      .hooks = *hooks,
                      .role = *entry ? role_of((*entry)->path) : Role::host};
    bool attached = found.device && found.entry && (found.entry->path.flags & MPS_PATH_ATTACHED);
    if (attached) {
        const auto complete = complete_programs(session, found, tcx);
        MPS_TRY(complete);
        attached = *complete;
    }
    if (attached)
        complete_tc(session, found, tcx);
    if (!attached && found.hooks.any())
        MPS_TRY(remove_programs(session.paths, session.pins, ifindex));
    MPS_TRY(settle_vrf(session, found, ifindex, attached, tcx));
    return settle_path(session, found, attached);
}

} // namespace

Result<void> repair_installation(Session &session, bool tcx) {
    const auto presence = look_at_interfaces(session.path_table());
    MPS_TRY(presence);
    const auto rules_changed = settle(session.path_table(), session.pins, *presence);
    MPS_TRY(rules_changed);
    session.changes = presence->changes;
    std::set<std::uint32_t> interfaces;
    for (const PathEntry &entry : presence->entries) {
        if (!entry.absent())
            interfaces.insert(entry.path.ifindex);
    }
    for (const std::uint32_t ifindex : pinned_interfaces(session.paths))
        interfaces.insert(ifindex);

    bool paths_changed = !presence->same();
    for (const std::uint32_t ifindex : interfaces) {
        const auto changed = repair_interface(session, ifindex, tcx);
        MPS_TRY(changed);
        paths_changed |= *changed;
    }
    const auto config = session.config.read();
    MPS_TRY(config);
    if (paths_changed || (config->flags & MPS_CONFIG_LEAVING)) {
        const auto done = session.config.update([&](mps_config &c) {
            c.flags &= ~static_cast<std::uint32_t>(MPS_CONFIG_LEAVING);
            c.path_epoch++;
            if (*rules_changed)
                c.choice += std::uint64_t{1} << 32;
        });
        if (!done)
            return done;
    }
    MPS_TRY(session.slots().collect());
    // Where these do not go, `status` tells of it, and the command that was given may be the one that helps.
    std::vector<std::string> notes;
    if (const auto done = complete_slots(session, notes); !done)
        notes.push_back(done.error().what);
    if (const auto done = carry_wakes(session.pins); !done)
        notes.push_back(done.error().what);
    if (const auto done = settle_option_rules(session.paths, tcx); !done)
        notes.push_back(done.error().what);
    if (const auto done = repair_congestion(session.paths); !done)
        notes.push_back(done.error().what);
    if (const auto done = repair_spread(session.paths); !done)
        notes.push_back(done.error().what);
    if (const auto done = repair_makers(session); !done)
        notes.push_back(done.error().what);
    for (const std::string &note : notes)
        log_lines(note);
    return repair_levers(session, (config->flags & MPS_CONFIG_LEAVING) != 0);
}

} // namespace mps
