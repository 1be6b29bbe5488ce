// SPDX-License-Identifier: MIT
//
// What other commands tell of congestion controls.
#pragma once

#include <string>
#include <vector>

#include "cli/command.hpp"
#include "mpsched/congestion.hpp"

namespace mps::cli {

[[nodiscard]] Json congestion_rules_json(const std::vector<CongestionRule> &rules);
// One line for each, indented; nothing for none.
[[nodiscard]] std::string congestion_rule_lines(const std::vector<CongestionRule> &rules,
                                                const output::Style &style);

} // namespace mps::cli
