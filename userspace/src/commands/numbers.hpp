// SPDX-License-Identifier: MIT
//
// Numbers among the words of a command line; what is none is a usage error.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "mpsched/error.hpp"

namespace mps::cli {

// From 0 to a billion; nullopt: not given.
[[nodiscard]] Result<std::optional<std::uint64_t>> number_of_word(const std::optional<std::string> &word,
                                                                  std::string_view option);

// "2", "0.5": seconds, from `least` to a day.
[[nodiscard]] Result<std::chrono::milliseconds>
seconds_of_word(const std::string &word, std::string_view option, std::chrono::milliseconds least);

} // namespace mps::cli
