// SPDX-License-Identifier: MIT
#pragma once

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <string>

#include <fmt/format.h>

namespace mps {

inline constexpr std::array<std::uint8_t, 12> ipv4_mapped_prefix{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

// "192.0.2.1" or "2001:db8::1", of 4 or 16 octets in network order; family is AF_INET or AF_INET6.
[[nodiscard]] inline std::string address_text(int family, const void *octets) {
    std::array<char, INET6_ADDRSTRLEN> text{};
    ::inet_ntop(family, octets, text.data(), text.size());
    return text.data();
}

// RFC 4291 2.5.5.2: how every IPv4 address of the ABI is written.
[[nodiscard]] inline bool is_ipv4_mapped(std::span<const std::uint8_t, 16> address) {
    return std::equal(ipv4_mapped_prefix.begin(), ipv4_mapped_prefix.end(), address.begin());
}

// "192.0.2.1" or "2001:db8::1", without brackets.
[[nodiscard]] inline std::string address_text(std::span<const std::uint8_t, 16> address) {
    return is_ipv4_mapped(address) ? address_text(AF_INET, address.data() + 12)
                                   : address_text(AF_INET6, address.data());
}

// "192.0.2.1:443", "[2001:db8::1]:443".
[[nodiscard]] inline std::string endpoint_text(std::span<const std::uint8_t, 16> address,
                                               std::uint16_t port) {
    const std::string text = address_text(address);
    return is_ipv4_mapped(address) ? fmt::format("{}:{}", text, port) : fmt::format("[{}]:{}", text, port);
}

} // namespace mps
