// SPDX-License-Identifier: MIT
//
// What an interface needs is loaded when it comes: a program of the data path for its mode and its link layer, and every
// policy that is in use as a program of that type. Only then is anything attached, so that no packet meets a data path whose
// policy is not there.
#include <algorithm>
#include <set>

#include <fmt/format.h>

#include "base/try.hpp"
#include "instance_impl.hpp"
#include "policy/policy_switch.hpp"

namespace mps {

namespace {

// From the object that the slot was filled from, on the maps of the program that is there.
Result<void> fill_in(Session &session, const Slot &slot, OpenedPolicy &opened) {
    const auto there = prog_by_id(slot.policy->prog_id);
    MPS_TRY(there);
    const auto info = prog_info(there->get());
    MPS_TRY(info);
    const auto loaded = opened.object.load(session.pins.map(MPS_MAP_SCRATCH), slot.lacking, &*info);
    MPS_TRY(loaded);
    return session.slots().fill_in(slot.number, *loaded);
}

// That object is of another build of mpsched: ours takes its place everywhere, as `use` would do it.
Result<void> replace_everywhere(Session &session, const OpenedPolicy &opened,
                                std::vector<std::string> &warnings) {
    auto replaced = replacements(session, opened, {}, warnings);
    MPS_TRY(replaced);
    if (replaced->empty())
        return {};
    return perform(session, {.replaced = std::move(*replaced)}, warnings);
}

} // namespace

Result<void> complete_slots(Session &session, std::vector<std::string> &warnings) {
    const auto slots = session.slots().read();
    MPS_TRY(slots);
    std::set<std::string> replaced;
    for (const Slot &slot : *slots) {
        if (!slot.policy || !slot.lacking.any())
            continue;
        const std::string &name = slot.policy->header.name;
        const BuiltinPolicy *builtin = find_builtin(name);
        if (!builtin) {
            return fail(ErrorCode::failed,
                        fmt::format("slot {} holds half of the policy '{}'", slot.number, name),
                        "'mpsched use FILE' loads it anew");
        }
        auto opened = open_builtin(*builtin);
        MPS_TRY(opened);
        Result<void> done;
        if (slot.origin && slot.origin->sha256 == opened->origin.sha256)
            done = fill_in(session, slot, *opened);
        else if (replaced.insert(name).second)
            done = replace_everywhere(session, *opened, warnings);
        if (!done)
            return done;
    }
    return {};
}

Result<void> provide(Session &session, const std::set<std::string> &programs,
                     std::vector<std::string> &warnings) {
    std::set<std::string> missing;
    std::ranges::copy_if(programs, std::inserter(missing, missing.end()),
                         [&](const std::string &name) { return session.pins.program(name) < 0; });
    if (missing.empty())
        return {};
    const std::set<std::string> before = provided(session);
    auto done = load_programs(session.pins, missing);
    if (done)
        done = complete_slots(session, warnings);
    if (done)
        done = pin_programs(session.paths, session.pins, missing);
    if (done)
        return {};
    withdraw_others(session, before);
    return done;
}

std::set<std::string> provided(const Session &session) {
    std::set<std::string> names;
    for (const auto &[name, fd] : session.pins.programs)
        names.insert(name);
    return names;
}

void withdraw_others(Session &session, const std::set<std::string> &programs) {
    for (const std::string &name : provided(session)) {
        if (programs.contains(name))
            continue;
        (void)unpin(session.paths.program(name));
        session.pins.programs.erase(name);
        session.pins.program_infos.erase(name);
    }
}

} // namespace mps
