// SPDX-License-Identifier: MIT
#pragma once

#include "pins/pins.hpp"

namespace mps {

enum class NamespaceState {
    alive,   // with a process, a name, or held by a descriptor, a socket or a mount somewhere
    gone,    // the kernel has it no more
    unknown, // there is no program to ask, or it could not look
};

// Is the network namespace that this installation was made for still there? Its pinned program mps_netns_alive looks
// through the kernel's list of them.
[[nodiscard]] NamespaceState ask_namespace(const InstallationPaths &paths);

} // namespace mps
