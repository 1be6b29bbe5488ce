// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace mps::codec {

using ByteView = std::span<const std::uint8_t>;

// A number in network order, of at most 8 octets.
[[nodiscard]] constexpr std::uint64_t number_of(ByteView octets) {
    std::uint64_t value = 0;
    for (const std::uint8_t octet : octets)
        value = value << 8 | octet;
    return value;
}

// The octets from `at` on, at most `size` of them: as many as there are.
[[nodiscard]] constexpr ByteView part_of(ByteView all, std::size_t at, std::size_t size = SIZE_MAX) {
    if (at >= all.size())
        return {};
    return all.subspan(at, size < all.size() - at ? size : all.size() - at);
}

} // namespace mps::codec
