// SPDX-License-Identifier: MIT
//
// From the words of a command line to the command to run.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "cli/command.hpp"
#include "table/command_table.hpp"

namespace mps::cli {

struct Invocation {
    const table::Command *command = nullptr;
    Globals globals;
    // What was given, by the table's names ("IFACE", "--mode"); a flag that was given has one value.
    std::map<std::string, std::vector<std::string>> given{};
    Run run{};
};

// `words` without the program's name. Every error is a usage error.
[[nodiscard]] Result<Invocation> parse(const std::vector<std::string> &words);

// The form of JSON that the answer is to have, 0 for none; also for words that cannot be parsed.
[[nodiscard]] int wanted_json(const std::vector<std::string> &words);

} // namespace mps::cli
