// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/fd.hpp"
#include "mpsched/error.hpp"

namespace mps {

// The id BPF programs see, of a cgroup v2 given as a path below the mount point or as the full path.
[[nodiscard]] Result<std::uint64_t> cgroup_id(std::string_view path);

// A path as cgroup_id() takes it, below the mount point and starting with '/'.
[[nodiscard]] std::string cgroup_below_mount(std::string_view path);
// Its directory's name, whether there is such a cgroup or not.
[[nodiscard]] Result<std::string> directory_of_cgroup(std::string_view path);
// As a directory, to attach programs to.
[[nodiscard]] Result<Fd> open_cgroup(std::string_view path);

// The path below the mount point, starting with '/'; nullopt if no such cgroup exists.
[[nodiscard]] std::optional<std::string> cgroup_path(std::uint64_t id);

// The root of cgroup v2 as a directory, whether it is mounted here or not (`ip netns exec` hides what is mounted below
// /sys). Fails where the kernel has none or the caller may not.
[[nodiscard]] Result<Fd> open_root_cgroup();

} // namespace mps
