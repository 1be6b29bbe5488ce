// SPDX-License-Identifier: MIT
//
// When the present period of a quota began, by the calendar.
#pragma once

#include <cstdint>
#include <ctime>

#include "config/desired.hpp"

namespace mps::service {

// A clock that says less was not set yet: 2026-01-01.
inline constexpr std::time_t earliest_time = 1'767'225'600;

// Months begin at local midnight of their day, or of their last day where they have no such day. Other periods follow one
// another from `anchor` on. Without a period everything counts from the beginning of time.
[[nodiscard]] std::time_t period_start(const config::Period &period, std::time_t anchor, std::time_t now);

} // namespace mps::service
