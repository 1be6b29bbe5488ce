// SPDX-License-Identifier: MIT
#include "attach/levers.hpp"

#include <bpf/bpf.h>
#include <linux/bpf.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <thread>

#include <fmt/format.h>

#include "base/clock.hpp"
#include "base/try.hpp"
#include "kernel/cgroup.hpp"
#include "kernel/iterator.hpp"

namespace mps {

namespace {

// Runs mps_apply over all subflows once; the number of those whose connection was not decided on since `changed_ns`.
Result<std::size_t> apply(const Pins &pins) {
    std::size_t waiting = 0;
    const auto done = run_iterator(pins.program("mps_apply"), "moving the levers of subflows",
                                   [&](std::span<const char> piece) { waiting += piece.size(); });
    MPS_TRY(done);
    return waiting;
}

Result<void> attach(const Session &session) {
    if (!session.sockops)
        return fail(ErrorCode::unsupported, "treated as missing (MPS_WITHOUT)", "");
    const auto cgroup = open_root_cgroup();
    MPS_TRY(cgroup);
    const Fd link(
        bpf_link_create(session.pins.program("mps_sockops"), cgroup->get(), BPF_CGROUP_SOCK_OPS, nullptr));
    if (!link)
        return std::unexpected(system_error(errno, "attaching to cgroup v2"));
    return pin(link.get(), session.paths.levers_link());
}

Result<void> switch_flag(Session &session, bool on) {
    return session.config.update([&](mps_config &c) {
        c.flags &= ~static_cast<std::uint32_t>(MPS_CONFIG_LEVERS);
        if (on)
            c.flags |= MPS_CONFIG_LEVERS;
    });
}

Result<bool> in_use(const Session &session) {
    const auto slots = session.slots().read();
    MPS_TRY(slots);
    const auto has_levers = [](const Slot &slot) { return slot.policy && slot.policy->header.levers; };
    if (std::none_of(slots->begin(), slots->end(), has_levers))
        return false;
    const auto uses = session.slots().uses();
    MPS_TRY(uses);
    return std::any_of(slots->begin(), slots->end(), [&](const Slot &slot) {
        const SlotUse &use = uses->at(slot.number);
        return has_levers(slot) &&
               (use.is_default || !use.rules.empty() || use.connections || !use.apps.empty());
    });
}

Result<void> ready(Session &session, LeverState state, std::vector<std::string> &warnings) {
    if (!state.attached) {
        if (const auto attached = attach(session); !attached) {
            warnings.push_back(
                fmt::format("only subflows that exist at a command get what the policy wishes to be set: {}",
                            attached.error().what));
        }
    }
    return state.on ? Result<void>{} : switch_flag(session, true);
}

struct Found {
    LeverState state;
    bool wanted = false; // some policy in use has levers
};

Result<Found> look(const Session &session) {
    const auto state = lever_state(session.paths, session.pins);
    MPS_TRY(state);
    const auto wanted = in_use(session);
    MPS_TRY(wanted);
    return Found{*state, *wanted};
}

Result<void> settle(Session &session, const Found &found) {
    if (!found.wanted) {
        if (!found.state.on && !found.state.attached)
            return {};
        MPS_TRY(switch_flag(session, false));
        MPS_TRY(release_levers(session.pins));
        return unpin(session.paths.levers_link());
    }
    const std::uint64_t now = monotonic_ns();
    if (auto done = session.config.update([&](mps_config &c) { c.changed_ns = now; }); !done)
        return done;
    // Subflows that mps_sockops sees to need no waiting; here it is not known which those are.
    for (int round = 0; round < 20; round++) {
        const auto waiting = apply(session.pins);
        MPS_TRY(waiting);
        if (!*waiting)
            break;
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return {};
}

} // namespace

Result<LeverState> lever_state(const InstallationPaths &paths, const Pins &pins) {
    const auto config = read_config(pins);
    MPS_TRY(config);
    const auto link = open_pin(paths.levers_link());
    MPS_TRY(link);
    if (*link && object_kind((*link)->get()) != ObjectKind::link) {
        return fail(ErrorCode::failed, fmt::format("{} is not ours: it is no BPF link", paths.levers_link()),
                    "'mpsched detach --all' removes what is there");
    }
    return LeverState{.on = (config->flags & MPS_CONFIG_LEVERS) != 0, .attached = link->has_value()};
}

Result<void> prepare_levers(Session &session, std::uint32_t slot, std::vector<std::string> &warnings) {
    const auto slots = session.slots().read();
    MPS_TRY(slots);
    const bool wanted = std::any_of(slots->begin(), slots->end(), [&](const Slot &s) {
        return s.number == slot && s.policy && s.policy->header.levers;
    });
    if (!wanted)
        return {};
    const auto state = lever_state(session.paths, session.pins);
    MPS_TRY(state);
    return ready(session, *state, warnings);
}

Result<void> settle_levers(Session &session) {
    const auto found = look(session);
    MPS_TRY(found);
    return settle(session, *found);
}

Result<void> repair_levers(Session &session, bool disturbed) {
    const auto found = look(session);
    MPS_TRY(found);
    const auto &[state, wanted] = *found;
    if (wanted == state.on && wanted == state.attached && !(wanted && disturbed))
        return {};
    if (wanted) {
        std::vector<std::string> warnings; // `status` tells
        MPS_TRY(ready(session, state, warnings));
        if (state.on && !disturbed)
            return {};
    }
    return settle(session, *found);
}

Result<void> release_levers(const Pins &pins) {
    MPS_TRY(apply(pins));
    return {};
}

} // namespace mps
