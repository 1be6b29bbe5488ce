// SPDX-License-Identifier: MIT
//
// mps_config and the two path maps, as running programs see them.
#pragma once

#include <mps/abi.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kernel/kernel_objects.hpp"
#include "mpsched/error.hpp"
#include "pins/contract.hpp"

namespace mps {

[[nodiscard]] constexpr std::uint32_t rule_epoch(const mps_config &config) {
    return static_cast<std::uint32_t>(config.choice >> 32);
}
[[nodiscard]] constexpr std::uint32_t default_slot(const mps_config &config) {
    return static_cast<std::uint32_t>(config.choice);
}

class LiveConfig {
  public:
    [[nodiscard]] static Result<LiveConfig> open(const Pins &pins);

    [[nodiscard]] Result<mps_config> read() const;
    // Stores the members that `change` changed, one at a time and `choice` last: what it refers to is there
    // by then. Reads back and fails if the kernel holds something else.
    [[nodiscard]] Result<void> update(const std::function<void(mps_config &)> &change);

    // Which paths are down, as bits by their index; whoever follows the interfaces writes it, without the lock.
    [[nodiscard]] Result<void> set_paths_down(std::uint64_t paths, std::uint64_t now_ns);

  private:
    MappedValue mapped_;
    int fd_ = -1;
};

[[nodiscard]] Result<mps_config> read_config(const Pins &pins);

struct PathEntry {
    std::uint32_t index = 0;
    mps_path path{};

    [[nodiscard]] bool has(std::uint32_t flag) const { return (path.flags & flag) != 0; }
    // There is no interface of this name.
    [[nodiscard]] bool absent() const { return path.ifindex == 0; }
};

// It has lost its carrier or its address, as who follows tells.
[[nodiscard]] constexpr bool is_down(const PathEntry &entry, const mps_config &config) {
    return entry.index < 64 && (config.paths_down >> entry.index & 1) != 0;
}

// What it carries costs: it is not to be kept awake.
[[nodiscard]] constexpr bool is_metered(const PathEntry &entry) {
    return entry.path.cost || entry.path.quota_bytes;
}

// The maps mps_paths and mps_path_index. After changes the caller bumps path_epoch.
class PathTable {
  public:
    explicit PathTable(const Pins &pins) : pins_(pins) {}

    // Every entry in use, by index.
    [[nodiscard]] Result<std::vector<PathEntry>> entries() const;
    [[nodiscard]] Result<std::optional<PathEntry>> find(std::uint32_t ifindex) const;
    // Of an interface that is there or not. Names are those of the last look, see presence.hpp.
    [[nodiscard]] Result<std::optional<PathEntry>> find(std::string_view name) const;
    // Writes the entry of path.ifindex, else that of an absent interface of its name, else a new one. Where all are in use,
    // one that says no more than that an absent interface is waited for makes room.
    [[nodiscard]] Result<void> put(const mps_path &path);
    [[nodiscard]] Result<void> put(const PathEntry &entry);
    [[nodiscard]] Result<void> remove(std::uint32_t ifindex);
    [[nodiscard]] Result<void> remove(const PathEntry &entry);

    // What the path has carried of its quota in the present period; 0 where it has none.
    [[nodiscard]] Result<std::uint64_t> used_bytes(const PathEntry &entry) const;
    [[nodiscard]] Result<void> set_used_bytes(const PathEntry &entry, std::uint64_t bytes);

  private:
    const Pins &pins_;
};

// CLOCK_BOOTTIME, by which the periods of quotas are counted.
[[nodiscard]] std::uint64_t boottime_ns();

[[nodiscard]] mps_path default_path(std::uint32_t ifindex, std::string_view name);
// Of a name that need not be terminated in the kernel's map.
[[nodiscard]] std::string path_name(const mps_path &path);
void set_path_name(mps_path &path, std::string_view name);
// No attribute that somebody gave it.
[[nodiscard]] bool has_default_attributes(const mps_path &path);
// Nothing in it that could not be made anew: neither attributes nor programs, nor the wish for them.
[[nodiscard]] bool is_plain(const mps_path &path);

} // namespace mps
