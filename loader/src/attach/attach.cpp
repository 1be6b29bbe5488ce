// SPDX-License-Identifier: MIT
#include <algorithm>
#include <fstream>
#include <optional>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "attach/hooks.hpp"
#include "attach/vrf.hpp"
#include "base/amounts.hpp"
#include "instance_impl.hpp"
#include "kernel/device_place.hpp"
#include "mpsched/netns.hpp"
#include "mpsched/policy_names.hpp"
#include "pins/bpffs.hpp"

namespace mps {

namespace {

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

// What an interface was before we touched it, for undoing.
struct Before {
    NetDevice device;
    std::optional<Mode> mode; // nullopt: not attached
    std::optional<mps_path> path;
    // A program of somebody else that we took off with `force`.
    std::optional<ForeignXdp> foreign{};
    Fd foreign_program{};
};

Result<Before> look(const Session &session, const NetDevice &device) {
    auto entry = session.path_table().find(device.ifindex);
    // It came after the last look at the interfaces: what is known of its name is its own.
    if (entry && !*entry)
        entry = session.path_table().find(device.name);
    if (!entry)
        return std::unexpected(entry.error());
    const auto hooks = read_hooks(session.paths, session.pins, device.ifindex);
    if (!hooks)
        return std::unexpected(hooks.error());
    const auto xdp = read_xdp(device.ifindex, *hooks);
    if (!xdp)
        return std::unexpected(xdp.error());
    Before before{.device = device, .mode = std::nullopt, .path = std::nullopt};
    if (*entry) {
        before.path = (*entry)->path;
        before.path->ifindex = device.ifindex;
    }
    if (before.path && (before.path->flags & MPS_PATH_ATTACHED))
        before.mode = xdp->own_mode.value_or(Mode::tc);
    return before;
}

// Frees the XDP hook of a program that is not ours, if that is allowed.
Result<void> clear_foreign_xdp(const Session &session, Before &before, bool force,
                               std::vector<std::string> &warnings) {
    const NetDevice &device = before.device;
    const auto hooks = read_hooks(session.paths, session.pins, device.ifindex);
    if (!hooks)
        return std::unexpected(hooks.error());
    const auto xdp = read_xdp(device.ifindex, *hooks);
    if (!xdp)
        return std::unexpected(xdp.error());
    if (!xdp->foreign)
        return {};
    const std::string program = prog_text(xdp->foreign->prog_id);
    if (!force) {
        return fail(
            ErrorCode::failed, fmt::format("{} already has another XDP program: {}", device.name, program),
            program.starts_with("mps_")
                ? "'mpsched status' tells whether its pins are gone, and 'mpsched repair' removes it then"
                : "'--mode tc' works beside it; '--force' replaces it");
    }
    before.foreign = xdp->foreign;
    if (auto done = remove_foreign_xdp(device, *xdp->foreign, before.foreign_program); !done)
        return done;
    warnings.push_back(fmt::format("{}: replaced XDP program {}", device.name, program));
    return {};
}

// Attaches XDP and leaves only wakes to TC. From mode tc XDP comes first and from nothing TC does, so that
// there is always one program that does the work, or none yet.
std::expected<void, XdpFailure> switch_to_xdp(const Session &session, const Before &before, Mode mode,
                                              bool tcx) {
    const auto wakes = [&]() -> std::expected<void, XdpFailure> {
        auto done = put_tc(session.paths, session.pins, before.device, TcRole::wakes, tcx);
        if (!done)
            return std::unexpected(XdpFailure{done.error()});
        return {};
    };
    if (before.mode == Mode::tc) {
        if (auto done = put_xdp(session.paths, session.pins, before.device, mode); !done)
            return done;
        return wakes();
    }
    if (auto done = wakes(); !done)
        return done;
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
    if (auto done = put_tc(session.paths, session.pins, before.device, TcRole::whole, tcx); !done)
        return done;
    return remove_xdp(session.paths, before.device.ifindex);
}

// The last step: from now on wakes may be sent here.
Result<void> mark_attached(Session &session, const Before &before, Mode wish) {
    mps_path path = before.path.value_or(default_path(before.device.ifindex, before.device.name));
    path.flags = MPS_PATH_ATTACHED | MPS_PATH_WANTED;
    path.mode = path_mode(wish);
    if (before.device.layer3())
        path.flags |= MPS_PATH_L3;
    if (auto done = session.path_table().put(path); !done)
        return done;
    return session.bump_path_epoch();
}

// Where it is among stacked devices. Refuses what would steer nothing, and warns of what is doubtful.
Result<Place> judge(const NetDevice &device, Mode wish, std::vector<std::string> &warnings) {
    const auto all = net_devices();
    if (!all)
        return std::unexpected(all.error());
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

Result<AttachedInterface> attach_one(Session &session, Before &before, Mode wish, bool force, bool tcx,
                                     std::vector<std::string> &warnings) {
    const NetDevice &device = before.device;
    const auto place = judge(device, wish, warnings);
    if (!place)
        return std::unexpected(place.error());
    AttachedInterface result{
        .name = device.name, .ifindex = device.ifindex, .mode = wish, .why = "as asked for"};
    if (before.mode && (wish == Mode::automatic || wish == *before.mode)) {
        result.mode = *before.mode;
        result.why = "it was attached already";
        result.changed = false;
        // It may have joined a VRF meanwhile.
        if (auto done = provide(session, programs_of(device, result.mode), warnings); !done)
            return std::unexpected(done.error());
        if (auto done = follow_vrf(session.paths, session.pins, device, result.mode, tcx); !done)
            return std::unexpected(done.error());
        return result;
    }
    if (wish == Mode::automatic) {
        result.mode = place->mode;
        result.why = place->why;
    }
    if (auto done = provide(session, programs_of(device, result.mode), warnings); !done)
        return std::unexpected(done.error());
    // A filter leaves no pin behind; with the path on record, repair knows where to look.
    if (!before.path) {
        if (auto done = session.path_table().put(default_path(device.ifindex, device.name)); !done)
            return std::unexpected(done.error());
    }
    if (result.mode != Mode::tc) {
        if (auto done = clear_foreign_xdp(session, before, force, warnings); !done)
            return std::unexpected(done.error());
        auto done = switch_to_xdp(session, before, result.mode, tcx);
        if (!done) {
            if (wish != Mode::automatic || !done.error().driver_refused)
                return std::unexpected(done.error().error);
            result.mode = Mode::tc;
            result.why = fmt::format("the driver refuses native XDP: {}", errno_text(done.error().err));
        }
    }
    if (result.mode == Mode::tc) {
        // After a driver's refusal these are others.
        auto done = provide(session, programs_of(device, Mode::tc), warnings);
        if (done)
            done = switch_to_tc(session, before, tcx);
        if (!done)
            return std::unexpected(done.error());
    }
    if (auto done = follow_vrf(session.paths, session.pins, device, result.mode, tcx); !done)
        return std::unexpected(done.error());
    if (!tcx)
        warn_of_clsact(session, device, warnings);
    if (auto done = mark_attached(session, before, wish); !done)
        return std::unexpected(done.error());
    return result;
}

// As well as it goes: the error that made us undo is the one to report.
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
        (void)remove_xdp(session.paths, ifindex);
        (void)remove_tc(session.paths, session.pins, ifindex);
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

// Looked at when all of them are attached.
void warn_of_unseen(const Session &session, const std::vector<NetDevice> &devices,
                    std::vector<std::string> &warnings) {
    const auto entries = session.path_table().entries();
    const auto all = net_devices();
    if (!entries || !all)
        return;
    std::set<std::uint32_t> attached;
    for (const PathEntry &entry : *entries) {
        if (entry.path.flags & MPS_PATH_ATTACHED)
            attached.insert(entry.path.ifindex);
    }
    for (const NetDevice &device : devices) {
        if (std::string unseen = unseen_above(device, attached, *all); !unseen.empty())
            warnings.push_back(std::move(unseen));
    }
}

// Programs would load and find no connection for ever. A kernel without MPTCP is told by the load itself.
Result<void> require_mptcp_enabled() {
    // Of the network namespace of whoever opens it.
    std::ifstream file("/proc/sys/net/mptcp/enabled");
    int enabled = 1;
    if (file >> enabled && !enabled)
        return fail(ErrorCode::unsupported, "MPTCP is switched off in this network namespace",
                    "'sysctl -w net.mptcp.enabled=1' switches it on");
    return {};
}

// Nothing is attached and no policy was chosen.
Result<bool> is_first(const Session &session) {
    const auto config = session.config.read();
    if (!config)
        return std::unexpected(config.error());
    if (default_slot(*config) != MPS_SLOT_NONE)
        return false;
    const auto entries = session.path_table().entries();
    if (!entries)
        return std::unexpected(entries.error());
    return std::none_of(entries->begin(), entries->end(),
                        [](const PathEntry &e) { return e.has(MPS_PATH_ATTACHED | MPS_PATH_WANTED); });
}

// Chooses the policy and notes it in the result.
Result<void> choose_policy(Session &session, const AttachRequest &request, bool first, AttachResult &result) {
    // An empty slot passes everything through as well.
    if (first && request.policy == pass_through) {
        result.policy = request.policy;
        return {};
    }
    const auto used = use_policy(session, {.policy = request.policy});
    if (used) {
        result.policy = used->policy;
        result.warnings.insert(result.warnings.end(), used->warnings.begin(), used->warnings.end());
        return {};
    }
    if (!request.policy_only_if_first || used.error().code == ErrorCode::usage)
        return std::unexpected(used.error());
    result.warnings.push_back(fmt::format("the kernel schedules as always, since '{}' cannot be had here: {}",
                                          request.policy, used.error().what));
    return {};
}

// Names that are not there go to `absent`, where that is allowed.
Result<std::vector<NetDevice>> resolve(const std::vector<std::string> &names, std::set<std::string> *absent) {
    std::vector<NetDevice> devices;
    if (names.empty())
        return fail(ErrorCode::usage, "no interface is given",
                    fmt::format("there are: {}", fmt::join(interface_names(), ", ")));
    for (const std::string &name : names) {
        const auto device = net_device(name);
        if (!device && absent) {
            if (auto good = check_interface_name(name); !good)
                return std::unexpected(good.error());
            absent->insert(name);
            continue;
        }
        if (!device) {
            return fail(ErrorCode::usage, fmt::format("there is no interface '{}'", name),
                        fmt::format("there are: {}", fmt::join(interface_names(), ", ")));
        }
        if (device->foreign_framing()) {
            return fail(
                ErrorCode::unsupported,
                fmt::format("{} has a link layer that is not understood ({})", name, device->type_text()),
                "Ethernet and layer 3 interfaces are supported");
        }
        const bool twice = std::any_of(devices.begin(), devices.end(),
                                       [&](const NetDevice &d) { return d.ifindex == device->ifindex; });
        if (!twice)
            devices.push_back(*device);
    }
    return devices;
}

// nullopt: as many as there are or as usual.
Result<std::optional<std::uint32_t>> parse_room(const std::string &text) {
    if (text.empty())
        return std::nullopt;
    const auto amount = parse_amount(text, Unit{});
    if (amount && *amount >= MPS_LEAST_CONNS && *amount <= MPS_MOST_CONNS)
        return static_cast<std::uint32_t>(*amount);
    return fail(ErrorCode::usage,
                fmt::format("--max-connections={}: {}", text, amount ? "out of range" : amount.error()),
                fmt::format("from {} to {}", MPS_LEAST_CONNS, MPS_MOST_CONNS));
}

Result<void> wait_for(Session &session, const std::string &name, Mode wish) {
    const auto entry = session.path_table().find(name);
    if (!entry)
        return std::unexpected(entry.error());
    mps_path path = *entry ? (*entry)->path : default_path(0, name);
    path.flags |= MPS_PATH_WANTED;
    path.mode = path_mode(wish);
    return session.path_table().put(path);
}

} // namespace

Mode mode_of(std::uint32_t path_mode) {
    switch (path_mode) {
    case MPS_MODE_NATIVE:
        return Mode::native;
    case MPS_MODE_GENERIC:
        return Mode::generic;
    case MPS_MODE_TC:
        return Mode::tc;
    default:
        return Mode::automatic;
    }
}

Result<void> check_interface_name(const std::string &name) {
    // As the kernel does: dev_valid_name(), net/core/dev.c.
    const bool good = !name.empty() && name.size() < MPS_IFNAME_LEN && name != "." && name != ".." &&
                      name.find_first_of("/: \t\n\v\f\r") == name.npos;
    if (good)
        return {};
    return fail(ErrorCode::usage, fmt::format("no interface can have the name '{}'", name),
                fmt::format("there are: {}", fmt::join(interface_names(), ", ")));
}

Result<bool> lacks_programs(const InstallationPaths &paths, const Pins &pins, const PathEntry &entry) {
    if (entry.absent() || !entry.has(MPS_PATH_WANTED))
        return false;
    const auto device = net_device(entry.path.ifindex);
    if (!device)
        return false;
    if (!entry.has(MPS_PATH_ATTACHED))
        return true;
    const auto hooks = read_hooks(paths, pins, entry.path.ifindex);
    if (!hooks)
        return std::unexpected(hooks.error());
    const TcRole role = hooks->has_xdp() ? TcRole::wakes : TcRole::whole;
    return pins.program_name(hooks->tc_prog_id()) != tc_program_name(device->layer3(), role);
}

Result<AttachedInterface> attach_again(Session &session, const NetDevice &device, bool tcx) {
    auto before = look(session, device);
    if (!before)
        return std::unexpected(before.error());
    std::vector<std::string> warnings;
    const Mode wish = before->path ? mode_of(before->path->mode) : Mode::automatic;
    auto attached = attach_one(session, *before, wish, false, tcx, warnings);
    if (!attached)
        undo(session, *before, tcx);
    return attached;
}

Result<AttachResult> Instance::attach(const AttachRequest &request) {
    const auto room = parse_room(request.max_connections);
    if (!room)
        return std::unexpected(room.error());
    std::set<std::string> absent;
    const auto devices = resolve(request.interfaces, request.absent_too ? &absent : nullptr);
    if (!devices)
        return std::unexpected(devices.error());
    if (auto enabled = require_mptcp_enabled(); !enabled)
        return std::unexpected(enabled.error());
    // Before anything is loaded.
    std::set<std::string> programs;
    for (const NetDevice &device : *devices) {
        std::vector<std::string> later;
        const auto place = judge(device, request.mode, later);
        if (!place)
            return std::unexpected(place.error());
        programs.merge(programs_of(device, request.mode == Mode::automatic ? place->mode : request.mode));
    }
    const auto tell = [&](const std::string &what) {
        if (request.progress)
            request.progress(what);
    };
    tell(impl_->installed() ? "reading what is installed" : "the kernel verifies the data path");
    bool created = false;
    auto session = impl_->open_or_create(created, programs, room->value_or(MPS_DEFAULT_CONNS));
    if (!session)
        return std::unexpected(session.error());
    if (const auto has = room_of(session->pins); *room && *room != has) {
        return fail(
            ErrorCode::usage,
            fmt::format("the table was made for {} connections, which cannot be changed while it is there",
                        has),
            "'mpsched detach --all' comes first; it forgets policies, rules and path attributes");
    }

    AttachResult result;
    const std::set<std::string> programs_before = provided(*session);
    std::vector<Before> done;
    std::optional<Error> failure;
    // Before the first interface is attached, so that no connection is without it and a killed command leaves no
    // interfaces without a policy. Later on the interfaces come first, as they can be undone.
    const auto first = is_first(*session);
    if (!first) {
        failure = first.error();
    } else if (*first && !request.policy.empty()) {
        tell(fmt::format("the kernel verifies the policy '{}'", request.policy));
        // First the programs, so that the policy is loaded for these at once: `path` may have made an installation without.
        auto chosen = provide(*session, programs, result.warnings);
        if (chosen)
            chosen = choose_policy(*session, request, *first, result);
        if (!chosen)
            failure = chosen.error();
    }
    for (const NetDevice &device : *devices) {
        if (failure)
            break;
        tell(fmt::format("attaching {}", device.name));
        auto before = look(*session, device);
        if (!before) {
            failure = before.error();
            break;
        }
        done.push_back(std::move(*before));
        auto attached =
            attach_one(*session, done.back(), request.mode, request.force, impl_->has_tcx(), result.warnings);
        if (!attached) {
            failure = attached.error();
            break;
        }
        result.interfaces.push_back(std::move(*attached));
    }
    if (!failure && !*first && !request.policy.empty() && !request.policy_only_if_first) {
        if (auto chosen = choose_policy(*session, request, *first, result); !chosen)
            failure = chosen.error();
    }
    for (const std::string &name : absent) {
        if (failure)
            break;
        if (auto noted = wait_for(*session, name, request.mode); !noted)
            failure = noted.error();
        result.absent.push_back(name);
    }
    if (!failure) {
        warn_of_unseen(*session, *devices, result.warnings);
        return result;
    }

    std::set<std::uint32_t> undone;
    while (!done.empty()) {
        if (!done.back().mode)
            undone.insert(done.back().device.ifindex);
        undo(*session, done.back(), impl_->has_tcx());
        done.pop_back();
    }
    restore_undone(session->pins, undone);
    withdraw_others(*session, programs_before);
    if (created) {
        if (const auto bpffs = find_bpffs(impl_->options))
            (void)impl_->remove_all(*bpffs);
    }
    return std::unexpected(*failure);
}

} // namespace mps
