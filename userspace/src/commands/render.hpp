// SPDX-License-Identifier: MIT
//
// What several commands show: parameters, policies, paths.
#pragma once

#include <string>
#include <vector>

#include "cli/command.hpp"
#include "json/documents.hpp"

namespace mps::cli {

// "10 ms"
[[nodiscard]] std::string with_unit(std::int64_t value, const std::string &unit);
// One line for each: name, value, default, range, text.
[[nodiscard]] std::string param_table(const std::vector<Param> &params, const output::Style &style,
                                      std::size_t indent);
// One line for each: name and value.
[[nodiscard]] std::string param_lines(const std::vector<Param> &params, const output::Style &style,
                                      std::size_t indent);

// "default, kept, 2 rules, 20 connections"
[[nodiscard]] std::string policy_use(const PolicyInfo &policy);

// "so do the rule rport=443: they used another object of that name", or nothing.
[[nodiscard]] std::string also_text(const std::vector<std::string> &also);

// Parses all; a key that occurs twice is a usage error, and so is a word without '='. What that may have been, `instead` tells.
[[nodiscard]] Result<std::vector<Setting>> parse_settings(const std::vector<std::string> &words,
                                                          std::string_view instead = {});

// What became of rules about MPTCP options.
[[nodiscard]] Reply option_rules_changed(const OptionRulesResult &result);

// A heading of the answer for people.
[[nodiscard]] std::string heading(const output::Style &style, std::string_view text);

// What mpschedd tells of itself, for `status` and `reload`.
[[nodiscard]] std::string service_text(const Json &service, const output::Style &style);

} // namespace mps::cli
