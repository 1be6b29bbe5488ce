// SPDX-License-Identifier: MIT
//
// Interfaces come and go, and come back under another index; what is known of a path belongs to its name.
//
//   the interface is gone               the entry stays, with ifindex 0: attributes, quota, its count, the wish to be attached
//   one of its name is there again      the entry is that interface's
//   it was renamed                      the entry goes with it, unless the attributes of an absent interface wait for the new
//                                       name: then it gets those, and its own wait for the old name
//   nothing in it that is worth it      the entry goes
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernel/netlink.hpp"
#include "mpsched/error.hpp"
#include "pins/live_config.hpp"

namespace mps {

struct PresenceChange {
    enum class Kind { gone, back, renamed };
    Kind kind = Kind::gone;
    std::string name{};            // that it has now
    std::string before{};          // the name before, if renamed
    std::uint32_t ifindex = 0;     // 0 if gone
    std::uint32_t old_ifindex = 0; // under which it was known before; 0 if it was never there
};

struct Presence {
    std::vector<PathEntry> entries{};  // as they are to be
    std::vector<PathEntry> changed{};  // of these, what is not in the map yet; absent ones first
    std::vector<PathEntry> dropped{};  // as they are in the map
    std::vector<std::uint32_t> left{}; // indices of interfaces that lead to no entry any more
    std::vector<PresenceChange> changes{};

    [[nodiscard]] bool same() const { return changed.empty() && dropped.empty(); }
};

[[nodiscard]] Presence compare(const std::vector<PathEntry> &entries, const std::vector<NetDevice> &devices);

// What became of the interfaces between two readings of the table, whoever wrote the changes into it.
[[nodiscard]] std::vector<PresenceChange> changes_between(const std::vector<PathEntry> &before,
                                                          const std::vector<PathEntry> &after);

// The table of paths beside the interfaces there are now; changes nothing.
[[nodiscard]] Result<Presence> look_at_interfaces(const PathTable &table);

// Writes what compare() found. The caller bumps path_epoch, and the epoch of rules where true comes back: rules that name
// an interface were changed.
[[nodiscard]] Result<bool> settle(PathTable table, const Pins &pins, const Presence &presence);

} // namespace mps
