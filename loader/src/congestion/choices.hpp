// SPDX-License-Identifier: MIT
//
// The rules of `cc use` in the kernel: maps of an installation, and a program at the root of cgroup v2 that reads them.
#pragma once

#include <mps/abi.h>
#include <mps/congestion_abi.h>

#include <vector>

#include "mpsched/congestion.hpp"
#include "mpsched/error.hpp"
#include "pins/pins.hpp"

namespace mps {

struct CongestionChoice {
    mps_rule rule{}; // no fields: every other socket
    mps_cc_choice choice{};
};

// In the order in which they count. None where there are no pins.
[[nodiscard]] Result<std::vector<CongestionChoice>> congestion_choices(const InstallationPaths &paths);
// Puts these in place of those that there are, and moves the sockets of this network namespace to what they say. Without any,
// nothing of them stays.
[[nodiscard]] Result<void> replace_congestion_choices(const InstallationPaths &paths,
                                                      const std::vector<CongestionChoice> &choices);
// What a killed command has left: the program is put where it belongs, or what there is goes if it says nothing.
[[nodiscard]] Result<void> repair_congestion(const InstallationPaths &paths);

[[nodiscard]] CongestionRule congestion_rule(const CongestionChoice &choice);

} // namespace mps
