// SPDX-License-Identifier: MIT
//
// What the attributes of a path may be. The one place: the loader checks by it, help and error texts are made from it.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace mps {

struct PathLimit {
    std::string_view name;
    std::uint32_t least;
    std::uint32_t most;
};

inline constexpr PathLimit path_weight{"weight", 1, 10'000};
inline constexpr PathLimit path_priority{"priority", 0, 255};
inline constexpr PathLimit path_cost{"cost", 0, 1'000'000};
inline constexpr std::uint64_t most_quota_bytes = 1'000'000'000'000'000;
inline constexpr std::uint64_t least_quota_then_bit_s = 8'000;
inline constexpr std::uint64_t most_quota_then_bit_s = 10'000'000'000;
inline constexpr std::uint64_t most_quota_period_s = 36'600ULL * 86'400;

// What `use` may be: as the policy likes, or only where a connection has nothing else.
inline constexpr std::array<std::string_view, 2> use_names{"policy", "never"};

// By the number of the class in the data path.
inline constexpr std::array<std::string_view, 5> energy_names{"none", "wifi", "3g", "lte", "5g"};

} // namespace mps
