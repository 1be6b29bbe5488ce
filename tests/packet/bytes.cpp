// SPDX-License-Identifier: MIT
#include "bytes.hpp"

#include <arpa/inet.h>
#include <cctype>
#include <cstdio>
#include <fmt/format.h>
#include <stdexcept>

namespace mps::packet {

Ipv4Address::Ipv4Address(const char *text) {
    if (inet_pton(AF_INET, text, octets_.data()) != 1)
        throw std::invalid_argument(fmt::format("not an IPv4 address: {}", text));
}

Ipv6Address::Ipv6Address(const char *text) {
    if (inet_pton(AF_INET6, text, octets_.data()) != 1)
        throw std::invalid_argument(fmt::format("not an IPv6 address: {}", text));
}

MacAddress::MacAddress(const char *text) {
    std::array<unsigned, 6> part{};

    if (std::sscanf(text, "%x:%x:%x:%x:%x:%x", &part[0], &part[1], &part[2], &part[3], &part[4], &part[5]) !=
        6)
        throw std::invalid_argument(fmt::format("not a MAC address: {}", text));
    for (std::size_t i = 0; i < part.size(); i++)
        octets_[i] = static_cast<std::uint8_t>(part[i]);
}

Bytes from_hex(const std::string &text) {
    Bytes out;
    int high = -1;

    for (char c : text) {
        if (!std::isxdigit(static_cast<unsigned char>(c)))
            continue;
        int digit = std::isdigit(static_cast<unsigned char>(c)) ? c - '0' : std::tolower(c) - 'a' + 10;

        if (high < 0) {
            high = digit;
        } else {
            out.push_back(static_cast<std::uint8_t>(high * 16 + digit));
            high = -1;
        }
    }
    if (high >= 0)
        throw std::invalid_argument("odd number of hex digits");
    return out;
}

std::string hex_dump(ByteView data) {
    std::string out;

    for (std::size_t at = 0; at < data.size(); at += 16) {
        out += fmt::format("{:04x}:", at);
        for (std::size_t i = at; i < at + 16 && i < data.size(); i++)
            out += fmt::format("{}{:02x}", i % 16 == 8 ? "  " : " ", data[i]);
        out += '\n';
    }
    return out;
}

} // namespace mps::packet
