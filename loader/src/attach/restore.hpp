// SPDX-License-Identifier: MIT
//
// Giving subflows the backup bit back that their peers asked for.
#pragma once

#include <chrono>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "observe/dump.hpp"

namespace mps {

struct Restored {
    std::set<std::uint64_t> touched; // sockets whose bit was wrong when first seen
    std::vector<std::string> unrestored;
};

// Subflows of these interfaces whose bit is not what their peers asked for.
[[nodiscard]] Result<std::vector<KnownSubflow>> wrong_subflows(const Pins &pins,
                                                               const std::set<std::uint32_t> &leaving);

// Until the kernel's bits were what the peers asked for in as many looks as `looks`, one behind the other, or `patience`
// is over.
[[nodiscard]] Result<void> restore(const Pins &pins, const std::set<std::uint32_t> &leaving, int looks,
                                   std::chrono::milliseconds patience, Restored &result);

} // namespace mps
