// SPDX-License-Identifier: MIT
//
// The programs of `mpsched spread` and their maps, pinned below spread/ of an installation while it is on.
#pragma once

#include <mps/spread_abi.h>

#include <optional>
#include <vector>

#include "base/fd.hpp"
#include "kernel/netlink.hpp"
#include "mpsched/error.hpp"
#include "pins/pins.hpp"
#include "spread/spread_map.hpp"

namespace mps {

struct SpreadMaps {
    Fd config{}, routes{}, flows{}, ports{}, links{};
};

// nullopt: there are none, or a command that was killed has made only some of them.
[[nodiscard]] Result<std::optional<SpreadMaps>> open_spread_maps(const InstallationPaths &paths);
// Those that there are, or new ones.
[[nodiscard]] Result<SpreadMaps> provide_spread_maps(const InstallationPaths &paths);

[[nodiscard]] Result<std::vector<SpreadEntry>> read_spread_entries(const SpreadMaps &maps);
// New ones first, then those that are to go: there is never less than one of both for an address.
[[nodiscard]] Result<void> write_spread_entries(const SpreadMaps &maps,
                                                const std::vector<SpreadEntry> &entries);

// At TC egress of the interface.
[[nodiscard]] Result<void> put_spread_program(const InstallationPaths &paths, const NetDevice &device,
                                              bool tcx);
[[nodiscard]] Result<void> remove_spread_program(const InstallationPaths &paths, std::uint32_t ifindex);
[[nodiscard]] Result<bool> has_spread_program(const InstallationPaths &paths, std::uint32_t ifindex);
// Interfaces that have one, or a pin of one; also such as are gone.
[[nodiscard]] Result<std::vector<std::uint32_t>> spread_interfaces(const InstallationPaths &paths);

// Those at the root of cgroup v2 that choose source ports.
[[nodiscard]] Result<void> settle_port_programs(const InstallationPaths &paths, bool wanted);

[[nodiscard]] Result<std::vector<mps_spread_row>> read_spread_rows(const InstallationPaths &paths);

} // namespace mps
