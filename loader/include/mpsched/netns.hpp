// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "mpsched/error.hpp"

namespace mps {

// Moves the calling thread into a network namespace and nothing else: mounts stay as they are, so
// /sys/class/net goes on showing the old namespace's interfaces. `spec` is a name below /run/netns (as of `ip
// netns add`), a path to a namespace file, or a process id. Needs CAP_SYS_ADMIN. An unknown name is a usage
// error listing the valid ones.
[[nodiscard]] Result<void> enter_netns(const std::string &spec);

// SO_NETNS_COOKIE (5.14): a number that no other network namespace has had since boot.
[[nodiscard]] Result<std::uint64_t> netns_cookie();

// Names of the interfaces of the current network namespace, for messages and completion, in order of their
// index.
[[nodiscard]] std::vector<std::string> interface_names();

} // namespace mps
