// SPDX-License-Identifier: MIT
#pragma once

#include <string>

namespace mps::lab::cli {

struct DemoOptions {
    bool plain = false;           ///< lines of text also in a terminal
    bool web = false;             ///< with the page of mpschedd, and after the phases until a signal
    double seconds_per_phase = 7; ///< all phases must end within 90 s
};

inline constexpr double min_seconds_per_phase = 2;
inline constexpr double max_seconds_per_phase = 10;

/// Steers a real MPTCP transfer over two emulated paths through all its phases. Returns the exit status: 0, 1
/// when anything failed, 3 without MPTCP, 4 without the rights, 130 when a signal ended it before its end. Leaves
/// nothing behind.
int run_demo(const DemoOptions &options);

} // namespace mps::lab::cli
