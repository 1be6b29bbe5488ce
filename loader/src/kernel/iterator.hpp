// SPDX-License-Identifier: MIT
#pragma once

#include <functional>
#include <span>

#include "mpsched/error.hpp"

namespace mps {

// Runs an iter/tcp program over all sockets of the current network namespace, once; `take` gets its output piece by piece,
// as it comes. `what` is the doing that an error names.
[[nodiscard]] Result<void> run_iterator(int program_fd, const char *what,
                                        const std::function<void(std::span<const char>)> &take);

} // namespace mps
