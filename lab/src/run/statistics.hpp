// SPDX-License-Identifier: MIT
// Small sums over what was measured.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace mps::lab {

/// 0 if there are none.
double mean(const std::vector<double> &values);
/// 0 if there are none.
double geometric_mean(const std::vector<double> &values);
/// By rank, as percentile() in run.hpp; none if there are no values.
std::optional<double> median(std::vector<double> values);
/// 0 if no time passed.
double seconds_to_mbit(std::uint64_t bytes, double seconds);

} // namespace mps::lab
