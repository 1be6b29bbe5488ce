// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstdint>
#include <expected>
#include <string>
#include <string_view>

namespace mps {

// The addresses that begin with these bits. IPv4 is written as IPv4-mapped IPv6 (RFC 4291 2.5.5.2) and counts its own bits.
struct Prefix {
    std::array<std::uint8_t, 16> address{}; // the bits behind the prefix are 0
    std::uint8_t family = 4;                // or 6
    std::uint8_t bits = 0;                  // 0 to 32 or 128

    [[nodiscard]] std::array<std::uint8_t, 16> mask() const;
    // "192.0.2.0/24"; a whole address has no length.
    [[nodiscard]] std::string text() const;
    [[nodiscard]] bool covers(const Prefix &other) const;
};

// What is wrong with a text, and what is right.
struct WrongText {
    std::string what;
    std::string hint;
};

// ADDRESS or ADDRESS/LENGTH.
[[nodiscard]] std::expected<Prefix, WrongText> read_prefix(std::string_view text);

} // namespace mps
