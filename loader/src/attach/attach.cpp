// SPDX-License-Identifier: MIT
#include <algorithm>
#include <fstream>
#include <optional>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "attach/interface.hpp"
#include "base/try.hpp"
#include "instance_impl.hpp"
#include "kernel/device_place.hpp"
#include "kernel/netns.hpp"
#include "mpsched/check.hpp"
#include "mpsched/policy_names.hpp"
#include "pins/bpffs.hpp"

namespace mps {

namespace {

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
    MPS_TRY(config);
    if (default_slot(*config) != MPS_SLOT_NONE)
        return false;
    const auto entries = session.path_table().entries();
    MPS_TRY(entries);
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
            MPS_TRY(check_interface_name(name));
            absent->insert(name);
            continue;
        }
        if (!device) {
            return no_such_interface(name);
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
    const auto room = parse_max_connections(text);
    MPS_TRY(room);
    return *room;
}

Result<void> wait_for(Session &session, const std::string &name, const AttachRequest &request) {
    const auto entry = session.path_table().find(name);
    MPS_TRY(entry);
    mps_path path = *entry ? (*entry)->path : default_path(0, name);
    path.flags |= MPS_PATH_WANTED;
    path.flags &= ~static_cast<std::uint32_t>(MPS_PATH_GATEWAY);
    if (request.role == Role::gateway)
        path.flags |= MPS_PATH_GATEWAY;
    path.mode = path_mode(request.mode);
    return session.path_table().put(path);
}

// One call of attach: what is to be undone if something fails.
class Attaching {
  public:
    Attaching(const Instance::Impl &impl, const AttachRequest &request, Session &session)
        : impl_(impl), request_(request), session_(session), programs_before_(provided(session)) {}

    [[nodiscard]] Result<void> run(const std::vector<NetDevice> &devices, const std::set<std::string> &absent,
                                   const std::set<std::string> &programs);
    void undo_all();
    AttachResult result{};

  private:
    [[nodiscard]] Result<void> choose_first(bool first, const std::set<std::string> &programs);
    [[nodiscard]] Result<void> attach_device(const NetDevice &device);
    void tell(const std::string &what) const {
        if (request_.progress)
            request_.progress(what);
    }

    const Instance::Impl &impl_;
    const AttachRequest &request_;
    Session &session_;
    std::set<std::string> programs_before_;
    std::vector<Before> done_{};
};

// Before the first interface is attached, so that no connection is without it and a killed command leaves no
// interfaces without a policy. Later on the interfaces come first, as they can be undone.
Result<void> Attaching::choose_first(bool first, const std::set<std::string> &programs) {
    if (!first || request_.policy.empty())
        return {};
    tell(fmt::format("the kernel verifies the policy '{}'", request_.policy));
    // First the programs, so that the policy is loaded for these at once: `path` may have made an installation without.
    MPS_TRY(provide(session_, programs, result.warnings));
    return choose_policy(session_, request_, first, result);
}

Result<void> Attaching::attach_device(const NetDevice &device) {
    tell(fmt::format("attaching {}", device.name));
    auto before = look(session_, device);
    MPS_TRY(before);
    done_.push_back(std::move(*before));
    auto attached = attach_one(session_, done_.back(),
                               {.mode = request_.mode, .force = request_.force, .role = request_.role},
                               impl_.has_tcx(), result.warnings);
    MPS_TRY(attached);
    result.interfaces.push_back(std::move(*attached));
    return {};
}

Result<void> Attaching::run(const std::vector<NetDevice> &devices, const std::set<std::string> &absent,
                            const std::set<std::string> &programs) {
    const auto first = is_first(session_);
    MPS_TRY(first);
    MPS_TRY(choose_first(*first, programs));
    for (const NetDevice &device : devices)
        MPS_TRY(attach_device(device));
    if (!*first && !request_.policy.empty() && !request_.policy_only_if_first)
        MPS_TRY(choose_policy(session_, request_, *first, result));
    for (const std::string &name : absent) {
        MPS_TRY(wait_for(session_, name, request_));
        result.absent.push_back(name);
    }
    if (request_.role == Role::host)
        warn_of_unseen(session_, devices, result.warnings);
    return {};
}

void Attaching::undo_all() {
    std::set<std::uint32_t> undone;
    while (!done_.empty()) {
        if (!done_.back().mode)
            undone.insert(done_.back().device.ifindex);
        undo(session_, done_.back(), impl_.has_tcx());
        done_.pop_back();
    }
    restore_undone(session_.pins, undone);
    withdraw_others(session_, programs_before_);
}

// Before anything is loaded: what these interfaces need, or why nothing would be steered there.
Result<std::set<std::string>> needed_programs(const std::vector<NetDevice> &devices, Mode wish, Role role) {
    std::set<std::string> programs;
    for (const NetDevice &device : devices) {
        if (role == Role::gateway) {
            programs.merge(needed_programs(device, Mode::tc, role));
            continue;
        }
        std::vector<std::string> later;
        const auto place = judge(device, wish, later);
        MPS_TRY(place);
        programs.merge(needed_programs(device, wish == Mode::automatic ? place->mode : wish, role));
    }
    return programs;
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
    MPS_TRY(hooks);
    const HookProgram *wanted = wanted_at(HookId::in, *device, mode_seen(*hooks), role_of(entry.path));
    return wanted && pins.program_name(hooks->in.prog_id()) != program_name(*wanted, *device);
}

Result<AttachedInterface> attach_again(Session &session, const NetDevice &device, bool tcx) {
    auto before = look(session, device);
    MPS_TRY(before);
    std::vector<std::string> warnings;
    const Mode wish = before->path ? mode_of(before->path->mode) : Mode::automatic;
    const Role role = before->path ? role_of(*before->path) : Role::host;
    auto attached = attach_one(session, *before, {.mode = wish, .role = role}, tcx, warnings);
    if (!attached)
        undo(session, *before, tcx);
    return attached;
}

Result<AttachResult> Instance::attach(const AttachRequest &request) {
    const auto call = impl_->enter();
    MPS_TRY(call);
    const auto room = parse_room(request.max_connections);
    MPS_TRY(room);
    std::set<std::string> absent;
    const auto devices = resolve(request.interfaces, request.absent_too ? &absent : nullptr);
    MPS_TRY(devices);
    if (request.role == Role::host)
        MPS_TRY(require_mptcp_enabled());
    const auto programs = needed_programs(*devices, request.mode, request.role);
    MPS_TRY(programs);
    if (request.progress)
        request.progress(impl_->installed() ? "reading what is installed"
                                            : "the kernel verifies the data path");
    bool created = false;
    auto session = impl_->open_or_create(created, *programs, room->value_or(MPS_DEFAULT_CONNS));
    MPS_TRY(session);
    if (const auto has = room_of(session->pins); *room && *room != has) {
        return fail(
            ErrorCode::usage,
            fmt::format("the table was made for {} connections, which cannot be changed while it is there",
                        has),
            "'mpsched detach --all' comes first; it forgets policies, rules and path attributes");
    }
    Attaching attaching(*impl_, request, *session);
    const auto done = attaching.run(*devices, absent, *programs);
    if (done)
        return std::move(attaching.result);
    attaching.undo_all();
    if (created) {
        if (const auto bpffs = find_bpffs(impl_->options))
            (void)impl_->remove_all(*bpffs);
    }
    return std::unexpected(done.error());
}

} // namespace mps
