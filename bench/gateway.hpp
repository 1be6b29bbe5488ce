// SPDX-License-Identifier: MIT
//
// What a packet costs that passes an interface of the role gateway.
#pragma once

#include "measure.hpp"

#include <vector>

namespace mps::bench {

// Over `empty_tc`, a TC program that does nothing.
std::vector<Row> measure_gateway(int empty_tc, Rounds rounds);

} // namespace mps::bench
