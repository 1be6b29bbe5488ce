// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

namespace mps {

// A congestion control whose compiled object travels inside the binary.
struct BuiltinCongestion {
    std::string_view name; // as the kernel knows it: "mps_lia"
    std::span<const std::byte> object;
};

// In the order of congestion/CMakeLists.txt. The data lives as long as the program.
std::span<const BuiltinCongestion> builtin_congestion();

} // namespace mps
