// SPDX-License-Identifier: MIT
// Private to lab/src/network.
#pragma once

#include <mpsched/lab/error.hpp>
#include <mpsched/lab/network.hpp>

namespace mps::lab {

/// Whether such a network can be built.
Result<void> check(const NetworkSpec &spec);

} // namespace mps::lab
