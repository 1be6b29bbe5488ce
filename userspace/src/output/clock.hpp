// SPDX-License-Identifier: MIT
//
// The time of day in front of lines.
#pragma once

#include <string>

namespace mps::output {

// "14:03:05.123", now and here.
[[nodiscard]] std::string clock_for_people();
// "2026-11-28T14:03:05.123Z"
[[nodiscard]] std::string clock_for_programs();

} // namespace mps::output
