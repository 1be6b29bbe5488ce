// SPDX-License-Identifier: MIT
#pragma once

#include <charconv>
#include <concepts>
#include <cstdint>
#include <optional>
#include <string_view>

namespace mps {

// A whole text as a number of this type, in its range: no sign but '-' for a signed one, no space, nothing behind it.
template <std::integral Number>
[[nodiscard]] std::optional<Number> parse_number(std::string_view text, int base = 10) {
    Number value{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
    return error == std::errc{} && end == text.data() + text.size() ? std::optional(value) : std::nullopt;
}

// A whole text as an unsigned number, decimal or 0x hexadecimal. No sign, no space.
[[nodiscard]] inline std::optional<std::uint64_t> parse_unsigned(std::string_view text) {
    const bool hexadecimal = text.starts_with("0x") || text.starts_with("0X");
    return parse_number<std::uint64_t>(text.substr(hexadecimal ? 2 : 0), hexadecimal ? 16 : 10);
}

// A whole text as a decimal number with optional '-'.
[[nodiscard]] inline std::optional<std::int64_t> parse_signed(std::string_view text) {
    return parse_number<std::int64_t>(text);
}

} // namespace mps
