// SPDX-License-Identifier: MIT
//
// Starts a service of systemd under `mpsched run`: a drop-in beside its unit (systemd.unit(5)), nothing of the unit itself changes.
#pragma once

#include <string>
#include <vector>

#include "mpsched/error.hpp"

namespace mps::run {

/// What follows "ExecStart=" in a unit's file and its drop-ins, ours left out, as systemd.service(5) puts them together. `unit` ends in .service.
[[nodiscard]] Result<std::vector<std::string>> commands_of_unit(const std::string &unit);

/// The same command under mpsched. Error for what systemd starts under another name ('@'), which nobody can hand on.
[[nodiscard]] Result<std::string> command_under_run(const std::string &command, const std::string &mpsched);

/// Writes the drop-in; returns its path.
[[nodiscard]] Result<std::string> add_drop_in(const std::string &unit, const std::string &mpsched);

/// Removes it; returns its path, or an empty string if there was none.
[[nodiscard]] Result<std::string> remove_drop_in(const std::string &unit);

} // namespace mps::run
