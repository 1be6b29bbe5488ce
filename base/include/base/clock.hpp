// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <ctime>

namespace mps {

// The time that BPF programs know (bpf_ktime_get_ns()): CLOCK_MONOTONIC, in nanoseconds.
inline std::uint64_t monotonic_ns() {
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(now.tv_nsec);
}

} // namespace mps
