// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <vector>

namespace mps::cli {

// Everything the program does, from its words to its exit code. Writes to standard output and standard error.
[[nodiscard]] int run_session(const std::vector<std::string> &words);

} // namespace mps::cli
