// SPDX-License-Identifier: MIT
//
// Numbers with units as people write them, the same wherever a value is given: parameters, attributes of paths, the engine.
//
//   amounts   16384, 0x4000, 16k, 1.5M (powers of 1000), 16Ki, 1Mi (powers of 1024)
//   bytes     the same, with or without a B behind: 5GB = 5000000000, 5GiB = 5368709120
//   times     500us, 1ms, 1.5s, 5m, 24h, 30d, 1w
//
// Without a unit it is that of the value itself: hold_ms=20 are milliseconds.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>

namespace mps {

enum class Measure { number, bytes, time };

struct Unit {
    Measure measure = Measure::number;
    std::uint64_t base = 1; // µs in it, for times
    std::string name{};     // as the value's description has it
};

// From the unit that a parameter declares: "us", "ms", "s", "bytes", anything else.
[[nodiscard]] Unit unit_of(std::string_view name);

// The value in that unit, or what is wrong: "not a number", "out of range" (of 64 bits), "'x' is no unit of time",
// "not a whole number of ms".
[[nodiscard]] std::expected<std::int64_t, std::string> parse_amount(std::string_view text, const Unit &unit);

// What may stand behind the number, for hints; "" for what has no unit.
[[nodiscard]] std::string_view units_hint(Measure measure);

} // namespace mps
