// SPDX-License-Identifier: MIT
#pragma once

#include <expected>
#include <utility>

// Hands the error of a Result on to the caller of the function it stands in; what follows is reached without one.
//   const auto pins = open_pins(paths);
//   MPS_TRY(pins);
//   MPS_TRY(table.put(path));
#define MPS_TRY(...)                                                                                         \
    do {                                                                                                     \
        if (auto &&mps_result = (__VA_ARGS__); !mps_result)                                                  \
            return std::unexpected(std::forward<decltype(mps_result)>(mps_result).error());                  \
    } while (false)
