// SPDX-License-Identifier: MIT
#pragma once

#include <vector>

#include "mpsched/instance.hpp"

namespace mps {

// What is different in the second look; both are sorted by token, as connections() gives them.
[[nodiscard]] std::vector<Change> changes_between(const std::vector<ConnectionStatus> &before,
                                                  const std::vector<ConnectionStatus> &now);

} // namespace mps
