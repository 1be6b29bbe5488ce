// SPDX-License-Identifier: MIT
//
// --help from the command table.
#pragma once

#include <string>
#include <string_view>

#include "output/table.hpp"
#include "table/command_table.hpp"

namespace mps::table {

// The whole program: verbs in groups, global options, examples, exit codes.
[[nodiscard]] std::string help_overview(const output::Style &style);
// One command.
[[nodiscard]] std::string help_command(const Command &command, const output::Style &style);
// A verb with sub-verbs: all of them.
[[nodiscard]] std::string help_verb(std::string_view verb, const output::Style &style);

// Terms that a command's arguments or options refer to, with a title: selectors for --for, attributes for
// `path`.
struct Glossary {
    std::string_view title;
    std::span<const Term> terms;
};
[[nodiscard]] std::vector<Glossary> glossaries(const Command &command);

} // namespace mps::table
