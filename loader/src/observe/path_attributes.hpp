// SPDX-License-Identifier: MIT
//
// The attributes of a path: from what people write to typed values, and from these to the entry of the data path's table.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "mpsched/instance.hpp"
#include "pins/live_config.hpp"

namespace mps {

// weight=3, quota=5GB, energy=lte …; every mistake is a usage error.
[[nodiscard]] Result<PathChange> parse_path_change(const std::vector<Setting> &settings);

// Sets what the change holds, but for quota_used_bytes, which is no attribute. Values out of range are usage errors.
[[nodiscard]] Result<void> change_path(mps_path &path, const PathChange &change);

[[nodiscard]] PathStatus path_status(const mps_path &path, std::uint64_t used_bytes = 0);
[[nodiscard]] Result<PathStatus> path_status(const PathTable &table, const PathEntry &entry);

} // namespace mps
