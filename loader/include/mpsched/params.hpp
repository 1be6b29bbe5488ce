// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "mpsched/error.hpp"

namespace mps {

// One parameter of a policy, as described by the policy itself (BTF declaration tag, see
// bpf/include/mps/core.h). Unsigned 64-bit limits above INT64_MAX are shown as INT64_MAX.
struct Param {
    std::string name{};
    std::string type{}; // "u32", "s32" or "u64"
    std::int64_t value = 0;
    std::int64_t default_value = 0;
    std::int64_t min = 0;
    std::int64_t max = 0;
    std::string unit{}; // may be empty
    std::string text{}; // one line of what it does
};

// `key=value` from the command line.
struct Setting {
    std::string key{};
    std::string value{};
};

// Splits "key=value". A missing '=' or an empty key is a usage error.
[[nodiscard]] Result<Setting> parse_setting(std::string_view text);

// The engine's parameters, which exist whatever the policy; `set` and `use` accept them beside the policy's
// own. Today: dwell_us, the least time between two edits of one subflow's backup bit (0..10000000 µs, default
// 1000).
[[nodiscard]] std::vector<Param> engine_params();

} // namespace mps
