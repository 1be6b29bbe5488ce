// SPDX-License-Identifier: MIT
#include "attach/presence.hpp"
#include "base/try.hpp"

#include <algorithm>
#include <cstring>
#include <map>
#include <set>

namespace mps {

namespace {

using Entries = std::vector<PathEntry>;

// What was asked for by the interface's name.
constexpr std::uint32_t asked_for = MPS_PATH_WANTED | MPS_PATH_NEVER;

void make_absent(PathEntry &entry) {
    entry.path.last_ifindex = entry.path.ifindex;
    entry.path.ifindex = 0;
    entry.path.flags &= asked_for | (entry.path.flags & MPS_PATH_WANTED ? MPS_PATH_GATEWAY : 0);
}

void note_gone(Entries &entries, const std::map<std::uint32_t, const NetDevice *> &by_index,
               Presence &result) {
    for (PathEntry &entry : entries) {
        if (entry.absent() || by_index.contains(entry.path.ifindex))
            continue;
        make_absent(entry);
        result.changes.push_back({.kind = PresenceChange::Kind::gone,
                                  .name = path_name(entry.path),
                                  .before = {},
                                  .ifindex = 0,
                                  .old_ifindex = entry.path.last_ifindex});
    }
}

// The programs are on the interface, whatever its name: they go with it.
void take_over(PathEntry &waiting, PathEntry &renamed) {
    waiting.path.ifindex = renamed.path.ifindex;
    waiting.path.flags =
        (renamed.path.flags & ~static_cast<std::uint32_t>(MPS_PATH_NEVER)) | (waiting.path.flags & asked_for);
    waiting.path.mode = renamed.path.mode;
    make_absent(renamed);
}

void note_renamed(Entries &entries, const std::map<std::uint32_t, const NetDevice *> &by_index,
                  Presence &result) {
    for (PathEntry &entry : entries) {
        if (entry.absent())
            continue;
        const NetDevice &device = *by_index.at(entry.path.ifindex);
        const std::string before = path_name(entry.path);
        if (before == device.name)
            continue;
        const auto waiting = std::find_if(entries.begin(), entries.end(), [&](const PathEntry &e) {
            return e.absent() && path_name(e.path) == device.name;
        });
        const std::uint32_t old = waiting == entries.end() ? device.ifindex : waiting->path.last_ifindex;
        if (waiting != entries.end())
            take_over(*waiting, entry);
        else
            set_path_name(entry.path, device.name);
        result.changes.push_back({.kind = PresenceChange::Kind::renamed,
                                  .name = device.name,
                                  .before = before,
                                  .ifindex = device.ifindex,
                                  .old_ifindex = old});
    }
}

void note_back(Entries &entries, const std::vector<NetDevice> &devices, Presence &result) {
    for (PathEntry &entry : entries) {
        if (!entry.absent())
            continue;
        const auto device = std::find_if(devices.begin(), devices.end(),
                                         [&](const NetDevice &d) { return d.name == path_name(entry.path); });
        const bool taken = device != devices.end() &&
                           std::any_of(entries.begin(), entries.end(),
                                       [&](const PathEntry &e) { return e.path.ifindex == device->ifindex; });
        if (device == devices.end() || taken)
            continue;
        entry.path.ifindex = device->ifindex;
        result.changes.push_back({.kind = PresenceChange::Kind::back,
                                  .name = device->name,
                                  .before = {},
                                  .ifindex = device->ifindex,
                                  .old_ifindex = entry.path.last_ifindex});
    }
}

// A rule names the index that the interface had.
Result<bool> settle_rules(const Pins &pins, const std::vector<PresenceChange> &changes) {
    bool changed = false;
    for (std::uint32_t index = 0; index < MPS_MAX_RULES; index++) {
        const auto rule = read_value<mps_rule>(pins.map(MPS_MAP_RULES), index);
        MPS_TRY(rule);
        if (!*rule || !((*rule)->fields & MPS_RULE_IFINDEX))
            continue;
        const auto change = std::find_if(changes.begin(), changes.end(), [&](const PresenceChange &c) {
            return c.ifindex && c.old_ifindex == (*rule)->ifindex;
        });
        if (change == changes.end() || change->ifindex == change->old_ifindex)
            continue;
        mps_rule wanted = **rule;
        wanted.ifindex = change->ifindex;
        MPS_TRY(write_value(pins.map(MPS_MAP_RULES), index, wanted, MPS_MAP_RULES));
        changed = true;
    }
    return changed;
}

} // namespace

Presence compare(const std::vector<PathEntry> &entries, const std::vector<NetDevice> &devices) {
    std::map<std::uint32_t, const NetDevice *> by_index;
    for (const NetDevice &device : devices)
        by_index[device.ifindex] = &device;
    Presence result;
    Entries now = entries;
    note_gone(now, by_index, result);
    note_renamed(now, by_index, result);
    note_back(now, devices, result);

    std::set<std::uint32_t> indices;
    for (std::size_t i = 0; i < now.size(); i++) {
        if (now[i].absent() && is_plain(now[i].path)) {
            result.dropped.push_back(entries[i]);
            continue;
        }
        indices.insert(now[i].path.ifindex);
        result.entries.push_back(now[i]);
        if (std::memcmp(&now[i].path, &entries[i].path, sizeof now[i].path) != 0)
            result.changed.push_back(now[i]);
    }
    // Killed in between, one interface without an entry is better than two entries of one.
    std::stable_partition(result.changed.begin(), result.changed.end(),
                          [](const PathEntry &e) { return e.absent(); });
    for (const PathEntry &entry : entries) {
        if (!entry.absent() && !indices.contains(entry.path.ifindex))
            result.left.push_back(entry.path.ifindex);
    }
    return result;
}

std::vector<PresenceChange> changes_between(const Entries &before, const Entries &after) {
    const auto find = [](const Entries &entries, const auto &is) {
        const auto found = std::find_if(entries.begin(), entries.end(), is);
        return found == entries.end() ? nullptr : &*found;
    };
    const auto of = [](std::uint32_t ifindex) {
        return [ifindex](const PathEntry &e) { return e.path.ifindex == ifindex; };
    };
    std::vector<PresenceChange> changes;
    for (const PathEntry &entry : after) {
        const std::string name = path_name(entry.path);
        const std::uint32_t index = entry.path.ifindex;
        const PathEntry *of_name =
            find(before, [&](const PathEntry &e) { return path_name(e.path) == name; });
        const std::uint32_t had = of_name ? of_name->path.ifindex : 0;
        if (had == index)
            continue;
        // One that was renamed is not gone.
        if (had && !find(after, of(had)))
            changes.push_back({.kind = PresenceChange::Kind::gone, .name = name, .old_ifindex = had});
        if (!index)
            continue;
        PresenceChange change{
            .kind = PresenceChange::Kind::back, .name = name, .ifindex = index, .old_ifindex = had};
        if (const PathEntry *of_index = find(before, of(index))) {
            change.kind = PresenceChange::Kind::renamed;
            change.before = path_name(of_index->path);
        }
        // What was not in the table before is a path that somebody added, nothing that came back.
        if (of_name || change.kind == PresenceChange::Kind::renamed)
            changes.push_back(change);
    }
    return changes;
}

Result<Presence> look_at_interfaces(const PathTable &table) {
    const auto entries = table.entries();
    MPS_TRY(entries);
    if (entries->empty())
        return Presence{};
    const auto devices = net_links();
    MPS_TRY(devices);
    return compare(*entries, *devices);
}

Result<bool> settle(PathTable table, const Pins &pins, const Presence &presence) {
    for (const PathEntry &entry : presence.dropped) {
        MPS_TRY(table.remove(entry));
    }
    for (const std::uint32_t ifindex : presence.left) {
        MPS_TRY(delete_key(pins.map(MPS_MAP_PATH_INDEX), ifindex, MPS_MAP_PATH_INDEX));
    }
    for (const PathEntry &entry : presence.changed) {
        MPS_TRY(table.put(entry));
    }
    return settle_rules(pins, presence.changes);
}

} // namespace mps
