// SPDX-License-Identifier: MIT
#pragma once

#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
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

// A value for a parameter: a number in the parameter's own unit, or text as people write it ("16Ki", "1.5s").
//   instance.use({.policy = "latency-budget", .params = {{"budget_ms", 80}}});
struct Setting {
    std::string key{};
    std::string value{};

    Setting() = default;
    Setting(std::string name, std::string text) : key(std::move(name)), value(std::move(text)) {}
    Setting(std::string name, std::integral auto number)
        : key(std::move(name)), value(std::to_string(number)) {}
};

// Splits "key=value". A missing '=' or an empty key is a usage error.
[[nodiscard]] MPS_API Result<Setting> parse_setting(std::string_view text);

// The engine's parameters, which exist whatever the policy; `set` and `use` accept them beside the policy's
// own. Today: dwell_us, the least time between two edits of one subflow's backup bit (0..10000000 µs, default
// 1000).
[[nodiscard]] MPS_API std::vector<Param> engine_params();

} // namespace mps
