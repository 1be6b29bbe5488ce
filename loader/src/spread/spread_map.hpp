// SPDX-License-Identifier: MIT
//
// A map of a fabric between its file and the kernel's table.
#pragma once

#include <mps/spread_abi.h>

#include <utility>
#include <vector>

#include "mpsched/spread.hpp"

namespace mps {

using SpreadEntry = std::pair<mps_spread_key, mps_spread_route>;

// As the kernel's table has them. A route from the address that the kernel would choose stands twice: a first subflow has no address yet when
// its port is chosen.
[[nodiscard]] Result<std::vector<SpreadEntry>> spread_entries(const SpreadMap &map);
// Without those doubles.
[[nodiscard]] SpreadMap spread_map(const std::vector<SpreadEntry> &entries);

// The address that the kernel gives a socket which connects there; "" where there is no route.
[[nodiscard]] std::string source_address(const std::string &peer);

} // namespace mps
