// SPDX-License-Identifier: MIT
#include "statistics.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include <mpsched/lab/run.hpp>

namespace mps::lab {

double mean(const std::vector<double> &values) {
    return values.empty()
               ? 0
               : std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

double geometric_mean(const std::vector<double> &values) {
    double logs = 0;
    for (const double value : values) {
        logs += std::log(value);
    }
    return values.empty() ? 0 : std::exp(logs / static_cast<double>(values.size()));
}

double seconds_to_mbit(std::uint64_t bytes, double seconds) {
    return seconds > 0 ? static_cast<double>(bytes) * 8 / 1e6 / seconds : 0;
}

std::optional<double> median(std::vector<double> values) {
    constexpr double half = 50;
    std::ranges::sort(values);
    return values.empty() ? std::nullopt : std::optional(percentile(values, half));
}

double percentile(const std::vector<double> &sorted, double percent) {
    const auto rank = std::ceil(percent / 100 * static_cast<double>(sorted.size()));
    return sorted[static_cast<std::size_t>(std::clamp(rank, 1.0, static_cast<double>(sorted.size()))) - 1];
}

std::vector<std::int64_t> out_of_order(const std::vector<std::int64_t> &ahead) {
    std::vector<std::int64_t> waiting(ahead.size());
    std::int64_t least_later = 0;
    for (std::size_t i = ahead.size(); i-- > 0;) {
        least_later = i + 1 == ahead.size() ? ahead[i] : std::min(least_later, ahead[i]);
        waiting[i] = ahead[i] - least_later;
    }
    return waiting;
}

} // namespace mps::lab
