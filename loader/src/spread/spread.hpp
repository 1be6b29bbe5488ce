// SPDX-License-Identifier: MIT
#pragma once

#include "mpsched/error.hpp"
#include "pins/pins.hpp"

namespace mps {

// Off on all interfaces; nothing of it stays.
[[nodiscard]] Result<void> remove_spread(const InstallationPaths &paths);
// What a killed command, or an interface that went, has left.
[[nodiscard]] Result<void> repair_spread(const InstallationPaths &paths);

} // namespace mps
