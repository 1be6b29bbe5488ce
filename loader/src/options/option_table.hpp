// SPDX-License-Identifier: MIT
//
// Rules as the kernel has them, and back. What is in force is read from there.
#pragma once

#include <mps/option_rules_abi.h>

#include <map>
#include <string>
#include <vector>

#include "mpsched/error.hpp"
#include "mpsched/option_rules.hpp"

namespace mps {

// A rule with its place among the counters.
struct PlacedRule {
    OptionRule rule{};
    std::uint32_t hits = 0;
};

// Interfaces that are not in `ifindexes` get none: the rule waits for them.
[[nodiscard]] Result<mps_option_table> table_of(const std::vector<PlacedRule> &rules,
                                                const std::map<std::string, std::uint32_t> &ifindexes);
[[nodiscard]] std::vector<PlacedRule> rules_of(const mps_option_table &table);

// Places among the counters: a rule that was there keeps its own, a new one gets a free one. `fresh` are those to be zeroed.
[[nodiscard]] std::vector<PlacedRule> place_rules(const std::vector<OptionRule> &rules,
                                                  const std::vector<PlacedRule> &before,
                                                  std::vector<std::uint32_t> &fresh);

} // namespace mps
