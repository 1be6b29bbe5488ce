// SPDX-License-Identifier: MIT
#pragma once

#include <vector>

#include "mpsched/instance.hpp"
#include "pins/contract.hpp"

namespace mps {

// Sums over all CPUs, in the order of the table in datapath_abi.h.
[[nodiscard]] Result<std::vector<CounterValue>> read_counters(const Pins &pins);

} // namespace mps
