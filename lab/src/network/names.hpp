// SPDX-License-Identifier: MIT
// What addresses and devices of an emulated network are called. Private to lab/src/network.
#pragma once

#include <cstddef>
#include <string>

#include <mpsched/lab/network.hpp>

#include <fmt/format.h>

namespace mps::lab {

inline bool has_ipv4(Family family) { return family != Family::ipv6; }
inline bool has_ipv6(Family family) { return family != Family::ipv4; }

inline std::string address_v4(Side side, std::size_t path) {
    return fmt::format("198.51.100.{}", 16 * path + (side == Side::a ? 1 : 2));
}
/// As the kernel writes it, so that addresses compare as strings: 2001:db8:0:0::a is 2001:db8::a.
inline std::string address_v6(Side side, std::size_t path) {
    const auto *host = side == Side::a ? "a" : "b";
    return path == 0 ? fmt::format("2001:db8::{}", host) : fmt::format("2001:db8:0:{:x}::{}", path, host);
}

inline Side other(Side side) { return side == Side::a ? Side::b : Side::a; }

/// Devices of the middle namespace: toward host A and toward host B.
inline std::string middle_device(std::size_t path, Side toward) {
    return fmt::format("m{}{}", path, toward == Side::a ? "a" : "b");
}

} // namespace mps::lab
