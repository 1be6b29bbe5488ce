// SPDX-License-Identifier: MIT
//
// Octets in network order as types: a be16 cannot be added to or compared with a host integer by mistake, and
// a plain number becomes one only where it is stored (`TCP{.dport = 80}`).
#pragma once

#include <array>
#include <compare>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace mps::packet {

using Bytes = std::vector<std::uint8_t>;
using ByteView = std::span<const std::uint8_t>;

template <std::unsigned_integral T>
class BigEndian {
  public:
    constexpr BigEndian() = default;
    // Implicit on purpose: this is the one place where host order turns into network order.
    constexpr BigEndian(T host) {
        for (std::size_t i = 0; i < sizeof(T); i++)
            octets_[i] = static_cast<std::uint8_t>(host >> (8 * (sizeof(T) - 1 - i)));
    }

    constexpr T host() const {
        T value = 0;

        for (std::uint8_t octet : octets_)
            value = static_cast<T>((static_cast<std::uint64_t>(value) << 8) | octet);
        return value;
    }

    constexpr const std::array<std::uint8_t, sizeof(T)> &octets() const { return octets_; }
    friend constexpr bool operator==(const BigEndian &, const BigEndian &) = default;

  private:
    std::array<std::uint8_t, sizeof(T)> octets_{};
};

using be16 = BigEndian<std::uint16_t>;
using be32 = BigEndian<std::uint32_t>;
using be64 = BigEndian<std::uint64_t>;

// Addresses take their text form; a text that is none throws std::invalid_argument.
class Ipv4Address {
  public:
    Ipv4Address(const char *text);
    Ipv4Address(const std::string &text) : Ipv4Address(text.c_str()) {}
    const std::array<std::uint8_t, 4> &octets() const { return octets_; }

  private:
    std::array<std::uint8_t, 4> octets_{};
};

class Ipv6Address {
  public:
    Ipv6Address(const char *text);
    Ipv6Address(const std::string &text) : Ipv6Address(text.c_str()) {}
    const std::array<std::uint8_t, 16> &octets() const { return octets_; }

  private:
    std::array<std::uint8_t, 16> octets_{};
};

class MacAddress {
  public:
    MacAddress(const char *text);
    MacAddress(const std::string &text) : MacAddress(text.c_str()) {}
    const std::array<std::uint8_t, 6> &octets() const { return octets_; }

  private:
    std::array<std::uint8_t, 6> octets_{};
};

// "45 00 00 28", separators are optional.
Bytes from_hex(const std::string &text);
// 16 octets a line with their offset.
std::string hex_dump(ByteView data);

} // namespace mps::packet
