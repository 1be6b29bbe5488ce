// SPDX-License-Identifier: MIT
//
// `mpsched path`: what is known of an interface's name, and changing it.
#include <algorithm>

#include <fmt/format.h>

#include "attach/peers.hpp"
#include "attach/presence.hpp"
#include "base/try.hpp"
#include "instance_impl.hpp"
#include "kernel/netns.hpp"
#include "observe/path_attributes.hpp"

namespace mps {

namespace {

// What is known of an interface, or the defaults. A name that nothing is known of is `unknown`.
struct Described {
    PathEntry entry{}; // index 0: in no table yet
    bool unknown = false;
};
Result<Described> describe(const PathTable &table, const std::string &interface) {
    const auto presence = look_at_interfaces(table);
    MPS_TRY(presence);
    for (const PathEntry &entry : presence->entries) {
        if (path_name(entry.path) == interface)
            return Described{.entry = entry};
    }
    const auto device = net_device(interface);
    return Described{.entry = {.path = default_path(device ? device->ifindex : 0, interface)},
                     .unknown = !device};
}

// Paths have changed: the data path looks anew, and counts where there is a quota.
Result<void> announce_paths(Session &session) {
    const auto all = session.path_table().entries();
    MPS_TRY(all);
    const bool metered =
        std::any_of(all->begin(), all->end(), [](const PathEntry &e) { return e.path.quota_bytes != 0; });
    const bool never =
        std::any_of(all->begin(), all->end(), [](const PathEntry &e) { return e.has(MPS_PATH_NEVER); });
    bool was_never = false;
    MPS_TRY(session.config.update([&](mps_config &c) {
        was_never = c.flags & MPS_CONFIG_NEVER;
        c.path_epoch++;
        c.flags &= ~static_cast<std::uint32_t>(MPS_CONFIG_METERED | MPS_CONFIG_NEVER);
        if (metered)
            c.flags |= MPS_CONFIG_METERED;
        if (never)
            c.flags |= MPS_CONFIG_NEVER;
    }));
    // Peers that were told to avoid a path which may be used now.
    return was_never && !never ? settle_peers(session) : Result<void>{};
}

// What is to be counted as used from now on; nullopt: the count goes on.
Result<std::optional<std::uint64_t>> used_from_now(const Session &session, const PathEntry &before,
                                                   const mps_path &wanted, const PathChange &change) {
    if (change.quota_used_bytes || !wanted.quota_bytes)
        return change.quota_used_bytes;
    if (!before.path.quota_bytes)
        return 0;
    // A new period begins with what the present one had used.
    if (!before.index || wanted.quota_since_ns == before.path.quota_since_ns)
        return std::nullopt;
    const auto so_far = session.path_table().used_bytes(before);
    MPS_TRY(so_far);
    return *so_far;
}

Result<PathStatus> write_path(Session &session, const std::string &interface, const PathChange &change) {
    const auto before = describe(session.path_table(), interface);
    MPS_TRY(before);
    mps_path wanted = before->entry.path;
    MPS_TRY(change_path(wanted, change));
    if (change.quota_used_bytes && !wanted.quota_bytes)
        return fail(ErrorCode::usage, fmt::format("{} has no quota, so there is nothing to count", interface),
                    "give quota=BYTES, too");
    const auto used = used_from_now(session, before->entry, wanted, change);
    MPS_TRY(used);
    MPS_TRY(session.path_table().put(wanted));
    const auto placed = session.path_table().find(interface);
    MPS_TRY(placed);
    if (!*placed)
        return fail(ErrorCode::failed, "the path does not read back as written",
                    "something else writes to our maps: try again");
    if (*used)
        MPS_TRY(session.path_table().set_used_bytes(**placed, **used));
    MPS_TRY(announce_paths(session));
    return path_status(session.path_table(), **placed);
}

} // namespace

Result<PathStatus> Instance::path(const std::string &interface) const {
    const auto call = impl_->enter();
    MPS_TRY(call);
    MPS_TRY(check_interface_name(interface));
    const auto pins = impl_->open_for_reading();
    if (!pins) {
        if (pins.error().kind != ErrorKind::not_installed)
            return std::unexpected(pins.error());
        const auto device = net_device(interface);
        if (!device)
            return no_such_interface(interface);
        return path_status(default_path(device->ifindex, interface));
    }
    const auto described = describe(PathTable(*pins), interface);
    MPS_TRY(described);
    if (described->unknown)
        return no_such_interface(interface);
    return path_status(PathTable(*pins), described->entry);
}

Result<PathStatus> Instance::set_path(const std::string &interface, const PathChange &change) {
    const auto call = impl_->enter();
    MPS_TRY(call);
    MPS_TRY(check_interface_name(interface));
    // Before an installation is made for it.
    mps_path trial = default_path(0, interface);
    MPS_TRY(change_path(trial, change));
    bool created = false;
    auto session = impl_->open_or_create(created);
    MPS_TRY(session);
    return write_path(*session, interface, change);
}

Result<PathStatus> Instance::path(const std::string &interface, const std::vector<Setting> &settings) {
    if (settings.empty())
        return path(interface);
    MPS_TRY(check_interface_name(interface));
    const auto change = parse_path_change(settings);
    MPS_TRY(change);
    return set_path(interface, *change);
}

Result<bool> Instance::forget_path(const std::string &interface) {
    const auto call = impl_->enter();
    MPS_TRY(call);
    auto session = impl_->open_for_changing();
    if (!session && session.error().kind == ErrorKind::not_installed)
        return false;
    MPS_TRY(session);
    const auto entry = session->path_table().find(interface);
    MPS_TRY(entry);
    if (!*entry)
        return false;
    mps_path path = default_path((*entry)->path.ifindex, interface);
    if (!(*entry)->absent()) {
        path.flags = (*entry)->path.flags & ~static_cast<std::uint32_t>(MPS_PATH_NEVER);
        path.mode = (*entry)->path.mode;
    }
    MPS_TRY(session->path_table().set_used_bytes(**entry, 0));
    auto done = is_plain(path) ? session->path_table().remove(**entry)
                               : session->path_table().put(PathEntry{(*entry)->index, path});
    if (done)
        done = announce_paths(*session);
    MPS_TRY(done);
    return true;
}

} // namespace mps
