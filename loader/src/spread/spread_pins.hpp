// SPDX-License-Identifier: MIT
//
// Where the pins of `mpsched spread` are, below spread/ of an installation.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <fmt/format.h>

#include "pins/pins.hpp"

namespace mps {

[[nodiscard]] inline std::string spread_dir(const InstallationPaths &paths) { return paths.base + "/spread"; }
// Maps, and links of programs at cgroup v2.
[[nodiscard]] inline std::string spread_pin(const InstallationPaths &paths, std::string_view name) {
    return fmt::format("{}/spread/{}", paths.base, name);
}
// Of an interface: the link of its program, or the program of its filter; and that the clsact qdisc there was made by us.
[[nodiscard]] inline std::string spread_link(const InstallationPaths &paths, std::uint32_t ifindex) {
    return fmt::format("{}/spread/out-{}", paths.base, ifindex);
}
[[nodiscard]] inline std::string spread_program(const InstallationPaths &paths, std::uint32_t ifindex) {
    return fmt::format("{}/spread/out-{}-program", paths.base, ifindex);
}
[[nodiscard]] inline std::string spread_clsact_mark(const InstallationPaths &paths, std::uint32_t ifindex) {
    return fmt::format("{}/spread/out-{}-clsact", paths.base, ifindex);
}

} // namespace mps
