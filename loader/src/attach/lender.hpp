// SPDX-License-Identifier: MIT
//
// A packet that lends its body to what a gateway's programs send in the name of hosts, where none passes that could.
#pragma once

#include <cstdint>

#include "mpsched/error.hpp"

namespace mps {

// Runs one of MPS_PROG_GW_BACK and MPS_PROG_GW_LOOK with it; what the program returned.
[[nodiscard]] Result<std::uint32_t> lend(int program, bool ipv6, std::uint32_t token,
                                         std::uint32_t subflows = 0);

} // namespace mps
