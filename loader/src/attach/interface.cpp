// SPDX-License-Identifier: MIT
#include "attach/interface.hpp"

#include <algorithm>
#include <array>
#include <iterator>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "attach/vrf.hpp"
#include "base/try.hpp"
#include "kernel/device_features.hpp"
#include "kernel/netlink.hpp"
#include "options/option_rules.hpp"

namespace mps {

namespace {

// Frees the XDP hook of a program that is not ours, if that is allowed.
Result<void> clear_foreign_xdp(const Session &session, Before &before, bool force,
                               std::vector<std::string> &warnings) {
    const NetDevice &device = before.device;
    const auto hooks = read_hooks(session.paths, session.pins, device.ifindex);
    MPS_TRY(hooks);
    const auto xdp = read_xdp(device.ifindex, *hooks);
    MPS_TRY(xdp);
    if (!xdp->foreign)
        return {};
    const std::string program = prog_text(xdp->foreign->prog_id);
    if (!force) {
        return fail(
            ErrorKind::in_use, fmt::format("{} already has another XDP program: {}", device.name, program),
            program.starts_with("mps_")
                ? "'mpsched status' tells whether its pins are gone, and 'mpsched repair' removes it then"
                : "'--mode tc' works beside it; '--force' replaces it");
    }
    before.foreign = xdp->foreign;
    MPS_TRY(remove_foreign_xdp(device, *xdp->foreign, before.foreign_program));
    warnings.push_back(fmt::format("{}: replaced XDP program {}", device.name, program));
    return {};
}

// What this mode wants at TC ingress: everything, or beside XDP only wakes.
Result<void> put_ingress(const Session &session, const NetDevice &device, Mode mode, bool tcx) {
    return put_program(session.paths, session.pins, *wanted_at(HookId::in, device, mode, Role::host), device,
                       tcx);
}

// Attaches XDP and leaves only wakes to TC. From mode tc XDP comes first and from nothing TC does, so that
// there is always one program that does the work, or none yet.
std::expected<void, XdpFailure> switch_to_xdp(const Session &session, const Before &before, Mode mode,
                                              bool tcx) {
    const auto wakes = [&]() -> std::expected<void, XdpFailure> {
        auto done = put_ingress(session, before.device, mode, tcx);
        if (!done)
            return std::unexpected(XdpFailure{done.error()});
        return {};
    };
    if (before.mode == Mode::tc) {
        MPS_TRY(put_xdp(session.paths, session.pins, before.device, mode));
        return wakes();
    }
    MPS_TRY(wakes());
    if (before.mode) {
        // The kernel allows no native beside a generic program, so here is a gap of microseconds.
        if (auto done = remove_xdp(session.paths, before.device.ifindex); !done)
            return std::unexpected(XdpFailure{done.error()});
    }
    auto done = put_xdp(session.paths, session.pins, before.device, mode);
    if (!done && before.mode)
        (void)put_xdp(session.paths, session.pins, before.device, *before.mode);
    return done;
}

Result<void> switch_to_tc(const Session &session, const Before &before, bool tcx) {
    MPS_TRY(put_ingress(session, before.device, Mode::tc, tcx));
    return remove_xdp(session.paths, before.device.ifindex);
}

// A shaper of what comes in wants the place of our qdisc for one of its own.
void warn_of_clsact(const Session &session, const NetDevice &device, std::vector<std::string> &warnings) {
    const auto hooks = read_hooks(session.paths, session.pins, device.ifindex);
    if (!hooks || !hooks->clsact_is_ours)
        return;
    warnings.push_back(fmt::format(
        "{}: this kernel has no tcx, so it has a clsact qdisc now: a shaper that adds an ingress qdisc "
        "later (SQM, wondershaper) fails with 'Exclusivity flag on'; start it before attaching",
        device.name));
}

// XDP wants packets that nobody has put together.
void warn_of_lost_features(const std::set<std::string> &before, const NetDevice &device, Mode mode,
                           std::vector<std::string> &warnings) {
    std::vector<std::string> lost;
    std::ranges::set_difference(before, device_features(device.name), std::back_inserter(lost));
    if (lost.empty())
        return;
    warnings.push_back(fmt::format(
        "{0}: for {1} XDP the kernel has switched off {2}, and does not switch it on again on detach (ethtool -K {0} {3} "
        "on); '--mode tc' keeps it",
        device.name, to_string(mode), fmt::join(lost, ", "), fmt::join(lost, " on ")));
}

// Where it was attached already.
Result<AttachedInterface> stay_attached(Session &session, const Before &before, bool tcx,
                                        std::vector<std::string> &warnings) {
    const NetDevice &device = before.device;
    // It may have joined a VRF meanwhile.
    MPS_TRY(provide(session, needed_programs(device, *before.mode, Role::host), warnings));
    MPS_TRY(follow_vrf(session.paths, session.pins, device, *before.mode, tcx));
    // What does not go was said when it was attached, and `status` tells.
    std::vector<std::string> said;
    put_others(session, device, *before.mode, Role::host, tcx, said);
    return AttachedInterface{.name = device.name,
                             .ifindex = device.ifindex,
                             .mode = *before.mode,
                             .why = "it was attached already",
                             .changed = false};
}

// The programs of result.mode, or those of tc where that was a guess and the driver refuses.
Result<void> put_programs(Session &session, Before &before, const AttachWish &wish, bool tcx,
                          AttachedInterface &result, std::vector<std::string> &warnings) {
    if (result.mode != Mode::tc) {
        MPS_TRY(clear_foreign_xdp(session, before, wish.force, warnings));
        const auto done = switch_to_xdp(session, before, result.mode, tcx);
        if (done)
            return {};
        if (wish.mode != Mode::automatic || !done.error().driver_refused)
            return std::unexpected(done.error().error);
        result.mode = Mode::tc;
        result.why = fmt::format("the driver refuses native XDP: {}", errno_text(done.error().err));
        MPS_TRY(provide(session, needed_programs(before.device, Mode::tc, Role::host), warnings));
    }
    return switch_to_tc(session, before, tcx);
}

} // namespace

Result<void> mark_attached(Session &session, const Before &before, const AttachWish &wish) {
    mps_path path = before.path.value_or(default_path(before.device.ifindex, before.device.name));
    // What belongs to the name stays; the rest is of this device and this way to attach it.
    path.flags = (path.flags & MPS_PATH_NEVER) | MPS_PATH_ATTACHED | MPS_PATH_WANTED;
    path.mode = path_mode(wish.mode);
    if (before.device.layer3())
        path.flags |= MPS_PATH_L3;
    if (wish.role == Role::gateway)
        path.flags |= MPS_PATH_GATEWAY;
    MPS_TRY(session.path_table().put(path));
    return session.bump_path_epoch();
}

void put_others(Session &session, const NetDevice &device, Mode mode, Role role, bool tcx,
                std::vector<std::string> &warnings) {
    for (const HookProgram *one : wanted_on(device, mode, role)) {
        if (one->lack.empty())
            continue;
        auto done = provide(session, names_of(std::array{one}, device), warnings);
        if (done)
            done = put_program(session.paths, session.pins, *one, device, tcx);
        if (!done)
            warnings.push_back(fmt::format("{}: {}: {}", device.name, one->lack, done.error().what));
    }
}

std::uint32_t path_mode(Mode mode) {
    switch (mode) {
    case Mode::native:
        return MPS_MODE_NATIVE;
    case Mode::generic:
        return MPS_MODE_GENERIC;
    case Mode::tc:
        return MPS_MODE_TC;
    case Mode::automatic:
        break;
    }
    return MPS_MODE_AUTO;
}

Result<Before> look(const Session &session, const NetDevice &device) {
    auto entry = session.path_table().find(device.ifindex);
    // It came after the last look at the interfaces: what is known of its name is its own.
    if (entry && !*entry)
        entry = session.path_table().find(device.name);
    MPS_TRY(entry);
    const auto hooks = read_hooks(session.paths, session.pins, device.ifindex);
    MPS_TRY(hooks);
    const auto xdp = read_xdp(device.ifindex, *hooks);
    MPS_TRY(xdp);
    Before before{.device = device, .mode = std::nullopt, .path = std::nullopt};
    if (*entry) {
        before.path = (*entry)->path;
        before.path->ifindex = device.ifindex;
    }
    if (before.path && (before.path->flags & MPS_PATH_ATTACHED))
        before.mode = xdp->own_mode.value_or(Mode::tc);
    return before;
}

Result<Place> judge(const NetDevice &device, Mode wish, std::vector<std::string> &warnings) {
    const auto all = net_devices();
    MPS_TRY(all);
    Place place = place_of(device, *all);
    if (place.verdict == Place::Verdict::useless)
        return fail(ErrorCode::unsupported, place.what, place.next);
    if (wish == Mode::native && !place.native_works)
        return fail(ErrorCode::unsupported, place.native,
                    "'--mode tc' works there, and is what 'auto' chooses");
    if (place.verdict == Place::Verdict::doubtful)
        warnings.push_back(fmt::format("{}; {}", place.what, place.next));
    const std::string price = wish == Mode::native    ? place.native
                              : wish == Mode::generic ? place.generic
                                                      : std::string();
    if (!price.empty())
        warnings.push_back(fmt::format("{}; '--mode tc' does not have that", price));
    return place;
}

Result<AttachedInterface> attach_one(Session &session, Before &before, const AttachWish &wish, bool tcx,
                                     std::vector<std::string> &warnings) {
    const NetDevice &device = before.device;
    if (before.mode && role_of(*before.path) != wish.role)
        return fail(
            ErrorKind::in_use,
            fmt::format("{} is attached in the role '{}'", device.name, to_string(role_of(*before.path))),
            fmt::format("'mpsched detach {}' comes first", device.name));
    if (wish.role == Role::gateway)
        return attach_gateway(session, before, wish, tcx);
    const auto place = judge(device, wish.mode, warnings);
    MPS_TRY(place);
    if (before.mode && (wish.mode == Mode::automatic || wish.mode == *before.mode))
        return stay_attached(session, before, tcx, warnings);
    AttachedInterface result{
        .name = device.name, .ifindex = device.ifindex, .mode = wish.mode, .why = "as asked for"};
    if (wish.mode == Mode::automatic) {
        result.mode = place->mode;
        result.why = place->why;
    }
    MPS_TRY(provide(session, needed_programs(device, result.mode, Role::host), warnings));
    // A filter leaves no pin behind; with the path on record, repair knows where to look.
    if (!before.path)
        MPS_TRY(session.path_table().put(default_path(device.ifindex, device.name)));
    const auto features = device_features(device.name);
    MPS_TRY(put_programs(session, before, wish, tcx, result, warnings));
    warn_of_lost_features(features, device, result.mode, warnings);
    MPS_TRY(follow_vrf(session.paths, session.pins, device, result.mode, tcx));
    put_others(session, device, result.mode, Role::host, tcx, warnings);
    if (!tcx) {
        warn_of_clsact(session, device, warnings);
        MPS_TRY(settle_option_rules(session.paths, tcx, {device.ifindex}));
    }
    MPS_TRY(mark_attached(session, before, wish));
    return result;
}

void undo(Session &session, const Before &before, bool tcx) {
    const std::uint32_t ifindex = before.device.ifindex;
    if (before.mode == Mode::tc) {
        (void)switch_to_tc(session, before, tcx);
    } else if (before.mode) {
        Before now{.device = before.device, .mode = before.mode, .path = before.path};
        if (const auto seen = look(session, before.device))
            now.mode = seen->mode;
        if (now.mode != before.mode)
            (void)switch_to_xdp(session, now, *before.mode, tcx);
    } else {
        (void)remove_programs(session.paths, session.pins, ifindex);
        (void)leave_vrf(session.paths, session.pins, ifindex);
    }
    if (before.mode)
        (void)follow_vrf(session.paths, session.pins, before.device, *before.mode, tcx);
    if (before.foreign)
        put_foreign_xdp_back(before.device, *before.foreign, before.foreign_program);
    if (before.path) {
        (void)session.path_table().put(*before.path);
    } else {
        (void)session.path_table().remove(ifindex);
    }
    (void)session.bump_path_epoch();
}

} // namespace mps
