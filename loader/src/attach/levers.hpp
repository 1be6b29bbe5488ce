// SPDX-License-Identifier: MIT
//
// The levers of verdicts (bpf/src/levers.bpf.h): who moves them, and that they are moved when something has changed.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "instance_impl.hpp"
#include "mpsched/error.hpp"

namespace mps {

// What is there: the flag that lets levers move, and the program that moves those of new subflows.
struct LeverState {
    bool on = false;
    bool attached = false;
};
[[nodiscard]] Result<LeverState> lever_state(const InstallationPaths &paths, const Pins &pins);

// Before a switch to the policy in `slot`: if that has levers, who moves them is made ready. Where the kernel does not allow
// that, a warning says so: then only subflows that are there at a command have theirs moved.
[[nodiscard]] Result<void> prepare_levers(Session &session, std::uint32_t slot,
                                          std::vector<std::string> &warnings);

// After a change: moves the levers of all subflows there are to where the policies in use wish them, waiting a tenth of a
// second at most for connections to be decided on. When no policy in use has levers, all are as they were before, and
// nobody is left to move them.
[[nodiscard]] Result<void> settle_levers(Session &session);

// Puts back what a killed command has left; settles if `disturbed`.
[[nodiscard]] Result<void> repair_levers(Session &session, bool disturbed);

// While MPS_CONFIG_LEAVING is set: all levers are as they were before.
[[nodiscard]] Result<void> release_levers(const Pins &pins);

} // namespace mps
