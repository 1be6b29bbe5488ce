// SPDX-License-Identifier: MIT
//
// The data path opens a parked subflow by time as well, but needs a packet to do it with (bpf/src/watch.bpf.h). Where none
// arrives, a process lends one.
#pragma once

#include "mpsched/error.hpp"
#include "pins/contract.hpp"

namespace mps {

// Is there a wake that waits, and no packet comes?
[[nodiscard]] Result<bool> is_wake_stuck(const Pins &pins);

// Hands the stack a packet that it drops without a word, for each interface to which a wake is to go.
[[nodiscard]] Result<void> carry_wakes(const Pins &pins);

} // namespace mps
