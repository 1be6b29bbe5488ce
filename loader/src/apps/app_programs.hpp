// SPDX-License-Identifier: MIT
//
// The programs of a grant at its cgroup, pinned below apps/ of an installation.
#pragma once

#include <cstdint>
#include <string>

#include "mpsched/error.hpp"
#include "pins/contract.hpp"
#include "pins/pins.hpp"

namespace mps {

// Loads and attaches both, in place of those that are there under this index.
[[nodiscard]] Result<void> attach_app_programs(const InstallationPaths &paths, const Pins &pins,
                                               std::uint32_t grant, const std::string &cgroup);
[[nodiscard]] Result<void> remove_app_programs(const InstallationPaths &paths, std::uint32_t grant);
// Do they stand at a cgroup that is there? The kernel takes links off a cgroup that is removed.
[[nodiscard]] Result<bool> has_app_programs(const InstallationPaths &paths, std::uint32_t grant);

} // namespace mps
