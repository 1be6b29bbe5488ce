// SPDX-License-Identifier: MIT
#include "pins/live_config.hpp"

#include "base/try.hpp"

#include <algorithm>
#include <cstring>
#include <ctime>

#include <fmt/format.h>

namespace mps {

namespace {

template <class T>
void store_if_changed(T &live, T wanted) {
    if (__atomic_load_n(&live, __ATOMIC_RELAXED) != wanted)
        __atomic_store_n(&live, wanted, __ATOMIC_RELEASE);
}

} // namespace

Result<LiveConfig> LiveConfig::open(const Pins &pins) {
    const auto info = pins.map_infos.find(MPS_MAP_CONFIG);
    // sizeof is asserted by the contract: open_pins() compared value_size with the object's.
    if (info == pins.map_infos.end() || info->second.value_size < sizeof(mps_config)) {
        return fail(ErrorCode::failed, "the configuration map is missing or too small",
                    "'mpsched detach --all' removes what is there");
    }
    LiveConfig config;
    config.fd_ = pins.map(MPS_MAP_CONFIG);
    config.mapped_ = MappedValue::open(config.fd_, info->second);
    return config;
}

Result<mps_config> LiveConfig::read() const {
    auto value = read_value<mps_config>(fd_, 0);
    MPS_TRY(value);
    return value->value_or(mps_config{});
}

Result<void> LiveConfig::update(const std::function<void(mps_config &)> &change) {
    auto wanted = read();
    MPS_TRY(wanted);
    change(*wanted);
    if (mapped_) {
        auto *live = static_cast<mps_config *>(mapped_.data());
        for (unsigned i = 0; i < MPS_MAX_SLOTS; i++) {
            store_if_changed(live->slot_wants[i], wanted->slot_wants[i]);
            store_if_changed(live->slot_serial[i], wanted->slot_serial[i]);
        }
        store_if_changed(live->dwell_us, wanted->dwell_us);
        store_if_changed(live->nr_rules, wanted->nr_rules);
        store_if_changed(live->flags, wanted->flags);
        store_if_changed(live->path_epoch, wanted->path_epoch);
        store_if_changed(live->changed_ns, wanted->changed_ns);
        store_if_changed(live->rx_slot, wanted->rx_slot);
        store_if_changed(live->choice, wanted->choice);
    } else if (auto done = write_value(fd_, 0, *wanted, MPS_MAP_CONFIG); !done) {
        return done;
    }
    auto now = read();
    MPS_TRY(now);
    // Not ours to change.
    now->paths_down = wanted->paths_down;
    now->down_ns = wanted->down_ns;
    if (std::memcmp(&*now, &*wanted, sizeof *wanted) != 0) {
        return fail(ErrorCode::failed, "the configuration does not read back as written",
                    "something else writes to our maps: try again");
    }
    return {};
}

Result<void> LiveConfig::set_paths_down(std::uint64_t paths, std::uint64_t now_ns) {
    if (mapped_) {
        auto *live = static_cast<mps_config *>(mapped_.data());
        store_if_changed(live->down_ns, __u64{now_ns});
        store_if_changed(live->paths_down, __u64{paths});
        return {};
    }
    auto wanted = read();
    MPS_TRY(wanted);
    wanted->paths_down = paths;
    wanted->down_ns = now_ns;
    return write_value(fd_, 0, *wanted, MPS_MAP_CONFIG);
}

Result<mps_config> read_config(const Pins &pins) {
    const auto live = LiveConfig::open(pins);
    MPS_TRY(live);
    return live->read();
}

mps_path default_path(std::uint32_t ifindex, std::string_view name) {
    mps_path path{};
    path.ifindex = ifindex;
    path.weight = 1;
    set_path_name(path, name);
    return path;
}

std::string path_name(const mps_path &path) { return {path.name, strnlen(path.name, sizeof path.name)}; }

void set_path_name(mps_path &path, std::string_view name) {
    std::memset(path.name, 0, sizeof path.name);
    name.copy(path.name, sizeof path.name - 1);
}

std::uint64_t boottime_ns() {
    timespec now{};
    ::clock_gettime(CLOCK_BOOTTIME, &now);
    return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(now.tv_nsec);
}

bool has_default_attributes(const mps_path &path) {
    const mps_path plain = default_path(path.ifindex, "");
    return path.weight == plain.weight && path.priority == plain.priority && path.cost == plain.cost &&
           path.energy_class == plain.energy_class && path.quota_bytes == plain.quota_bytes &&
           path.quota_period_s == plain.quota_period_s && path.then_bytes_s == plain.then_bytes_s &&
           !(path.flags & MPS_PATH_NEVER);
}

bool is_plain(const mps_path &path) {
    return !(path.flags & ~static_cast<std::uint32_t>(MPS_PATH_L3)) && has_default_attributes(path);
}

Result<std::vector<PathEntry>> PathTable::entries() const {
    std::vector<PathEntry> result;
    for (std::uint32_t index = 1; index < MPS_MAX_PATHS; index++) {
        const auto path = read_value<mps_path>(pins_.map(MPS_MAP_PATHS), index);
        MPS_TRY(path);
        if (*path && ((*path)->ifindex || (*path)->name[0]))
            result.push_back({index, **path});
    }
    return result;
}

namespace {

template <class Is>
Result<std::optional<PathEntry>> first_that(const PathTable &table, Is is) {
    const auto all = table.entries();
    MPS_TRY(all);
    const auto it = std::find_if(all->begin(), all->end(), is);
    return it == all->end() ? std::optional<PathEntry>{} : std::optional(*it);
}

} // namespace

Result<std::optional<PathEntry>> PathTable::find(std::uint32_t ifindex) const {
    return first_that(*this, [&](const PathEntry &e) { return !e.absent() && e.path.ifindex == ifindex; });
}

Result<std::optional<PathEntry>> PathTable::find(std::string_view name) const {
    return first_that(*this, [&](const PathEntry &e) { return path_name(e.path) == name; });
}

Result<void> PathTable::put(const mps_path &path) {
    const auto all = entries();
    MPS_TRY(all);
    const std::string name = path_name(path);
    const auto known = [&](const PathEntry &e) { return !e.absent() && e.path.ifindex == path.ifindex; };
    const auto awaited = [&](const PathEntry &e) {
        return path_name(e.path) == name && (e.absent() || !path.ifindex);
    };
    auto there = std::find_if(all->begin(), all->end(), known);
    if (there == all->end())
        there = std::find_if(all->begin(), all->end(), awaited);
    if (there != all->end())
        return put(PathEntry{there->index, path});
    for (std::uint32_t index = 1; index < MPS_MAX_PATHS; index++) {
        if (std::none_of(all->begin(), all->end(), [&](const PathEntry &e) { return e.index == index; }))
            return put(PathEntry{index, path});
    }
    for (const PathEntry &entry : *all) {
        if (entry.absent() && has_default_attributes(entry.path))
            return put(PathEntry{entry.index, path});
    }
    return fail(ErrorKind::full,
                fmt::format("there is no room for another interface: {} are in use", MPS_MAX_PATHS - 1),
                "'mpsched path' shows them; 'mpsched path IFACE --forget' makes room");
}

Result<void> PathTable::put(const PathEntry &entry) {
    if (auto done = write_value(pins_.map(MPS_MAP_PATHS), entry.index, entry.path, MPS_MAP_PATHS); !done)
        return done;
    if (entry.absent())
        return {};
    return write_value(pins_.map(MPS_MAP_PATH_INDEX), entry.path.ifindex, entry.index, MPS_MAP_PATH_INDEX);
}

Result<void> PathTable::remove(std::uint32_t ifindex) {
    const auto entry = find(ifindex);
    MPS_TRY(entry);
    if (!*entry)
        return delete_key(pins_.map(MPS_MAP_PATH_INDEX), ifindex, MPS_MAP_PATH_INDEX);
    return remove(**entry);
}

Result<void> PathTable::remove(const PathEntry &entry) {
    if (!entry.absent()) {
        if (auto done = delete_key(pins_.map(MPS_MAP_PATH_INDEX), entry.path.ifindex, MPS_MAP_PATH_INDEX);
            !done)
            return done;
    }
    return write_value(pins_.map(MPS_MAP_PATHS), entry.index, mps_path{}, MPS_MAP_PATHS);
}

namespace {

// The period we are in, as the data path numbers them.
std::uint64_t period_of(const mps_path &path) {
    const std::uint64_t now = boottime_ns();
    if (!path.quota_period_s || now < path.quota_since_ns)
        return 0;
    return (now - path.quota_since_ns) / (std::uint64_t{path.quota_period_s} * 1'000'000'000);
}

} // namespace

Result<std::uint64_t> PathTable::used_bytes(const PathEntry &entry) const {
    if (!entry.path.quota_bytes)
        return 0;
    const auto usage = read_value<mps_usage>(pins_.map(MPS_MAP_USAGE), entry.index);
    MPS_TRY(usage);
    // The data path starts over at the first packet of a period.
    if (!*usage || (*usage)->period != period_of(entry.path))
        return 0;
    return (*usage)->used_bytes;
}

Result<void> PathTable::set_used_bytes(const PathEntry &entry, std::uint64_t bytes) {
    const mps_usage usage{.used_bytes = bytes, .period = period_of(entry.path)};
    return write_value(pins_.map(MPS_MAP_USAGE), entry.index, usage, MPS_MAP_USAGE);
}

} // namespace mps
