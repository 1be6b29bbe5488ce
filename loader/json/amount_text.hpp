// SPDX-License-Identifier: MIT
//
// Amounts as people read them.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include <fmt/format.h>

namespace mps {

// One digit after the point below 100, with the largest unit that leaves at least 1 before it.
inline std::string scaled(double value, std::span<const std::string_view> units, double step) {
    std::size_t unit = 0;
    while (unit + 1 < units.size() && value >= step * 0.9995) {
        value /= step;
        unit++;
    }
    if (unit == 0)
        return fmt::format("{:.0f} {}", value, units[0]);
    return fmt::format("{:.{}f} {}", value, value < 99.95 ? 1 : 0, units[unit]);
}

inline std::string duration_text(std::uint64_t us) {
    constexpr std::array<std::string_view, 3> units{"µs", "ms", "s"};
    return scaled(static_cast<double>(us), units, 1000);
}

inline std::string bytes_text(std::uint64_t count) {
    constexpr std::array<std::string_view, 6> units{"B", "kB", "MB", "GB", "TB", "PB"};
    return scaled(static_cast<double>(count), units, 1000);
}

} // namespace mps
