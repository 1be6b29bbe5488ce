// SPDX-License-Identifier: MIT
#include "base/prefix.hpp"

#include <fmt/format.h>

#include "base/addresses.hpp"
#include "base/numbers.hpp"

namespace mps {

namespace {

unsigned width_of(std::uint8_t family) { return family == 4 ? 32 : 128; }

} // namespace

std::array<std::uint8_t, 16> Prefix::mask() const {
    std::array<std::uint8_t, 16> mask{};
    const unsigned set = 128 - width_of(family) + bits;
    for (unsigned bit = 0; bit < set; bit++)
        mask[bit / 8] = static_cast<std::uint8_t>(mask[bit / 8] | 0x80u >> bit % 8);
    return mask;
}

std::string Prefix::text() const {
    const std::string text =
        family == 4 ? address_text(AF_INET, address.data() + 12) : address_text(AF_INET6, address.data());
    return bits == width_of(family) ? text : fmt::format("{}/{}", text, bits);
}

bool Prefix::covers(const Prefix &other) const {
    if (family != other.family || bits > other.bits)
        return false;
    const auto mine = mask();
    for (std::size_t i = 0; i < address.size(); i++)
        if ((other.address[i] & mine[i]) != address[i])
            return false;
    return true;
}

std::expected<Prefix, WrongText> read_prefix(std::string_view text) {
    const std::size_t slash = std::min(text.find('/'), text.size());
    const std::string host(text.substr(0, slash));
    Prefix prefix;
    if (inet_pton(AF_INET, host.c_str(), prefix.address.data() + 12) == 1) {
        std::copy(ipv4_mapped_prefix.begin(), ipv4_mapped_prefix.end(), prefix.address.begin());
    } else if (inet_pton(AF_INET6, host.c_str(), prefix.address.data()) == 1) {
        prefix.family = 6;
    } else {
        return std::unexpected(
            WrongText{fmt::format("'{}' is no IP address", host),
                      "ADDRESS or ADDRESS/LENGTH: 192.0.2.0/24, 2001:db8::/32; names are not looked up"});
    }
    const unsigned width = width_of(prefix.family);
    prefix.bits = static_cast<std::uint8_t>(width);
    if (slash != text.size()) {
        const auto length = parse_unsigned(text.substr(slash + 1));
        if (!length || *length > width)
            return std::unexpected(WrongText{fmt::format("'{}' is no prefix length", text.substr(slash + 1)),
                                             fmt::format("0 to {}", width)});
        prefix.bits = static_cast<std::uint8_t>(*length);
    }
    const auto mask = prefix.mask();
    for (std::size_t i = 0; i < mask.size(); i++)
        prefix.address[i] = static_cast<std::uint8_t>(prefix.address[i] & mask[i]);
    return prefix;
}

} // namespace mps
