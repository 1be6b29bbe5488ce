// SPDX-License-Identifier: MIT
//
// The option rules of an installation, as a whole: what is in force, and what has to be on which interface for it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "instance_impl.hpp"
#include "mpsched/option_rules.hpp"
#include "options/option_programs.hpp"
#include "options/option_table.hpp"

namespace mps {

[[nodiscard]] Result<std::vector<PlacedRule>> placed_rules(const InstallationPaths &paths);

// These rules in place of those that there are, for all packets at once. All or nothing.
[[nodiscard]] Result<void> replace_option_rules(const InstallationPaths &paths,
                                                const std::vector<OptionRule> &rules, bool tcx);

// What interfaces have come, gone or changed their number or name since, and what killed commands have left. `again`: interfaces
// whose programs are to be put in front again, since the data path's has come.
[[nodiscard]] Result<void> settle_option_rules(const InstallationPaths &paths, bool tcx,
                                               const std::vector<std::uint32_t> &again = {});

} // namespace mps
