// SPDX-License-Identifier: MIT
//
// From a captured packet to its TCP header. Takes any octets, of any link type, cut anywhere.
#pragma once

#include <array>
#include <compare>
#include <string>
#include <string_view>
#include <vector>

#include "codec/octets.hpp"

namespace mps::codec {

// Numbers of https://www.tcpdump.org/linktypes.html
enum class LinkType : std::uint32_t {
    null = 0, // BSD loopback: an address family in the byte order of that machine
    ethernet = 1,
    raw = 101, // IPv4 or IPv6
    raw_bsd = 12,
    raw_openbsd = 14,
    loop = 108, // OpenBSD loopback: the same in network order
    linux_sll = 113,
    ipv4 = 228,
    ipv6 = 229,
    linux_sll2 = 276,
};

[[nodiscard]] bool is_known(LinkType link);

// One end of a flow. IPv4 addresses are in the first four octets.
struct Endpoint {
    bool ipv6 = false;
    std::array<std::uint8_t, 16> address{};
    std::uint16_t port = 0;

    friend auto operator<=>(const Endpoint &, const Endpoint &) = default;
};

enum class TcpFlag : std::uint8_t { fin = 1, syn = 2, rst = 4, psh = 8, ack = 16, urg = 32 };

struct Segment {
    std::vector<std::uint16_t> vlans; // their ids, the outermost first
    Endpoint source, destination;
    std::uint32_t seq = 0, ack = 0;
    std::uint8_t flags = 0;
    std::uint16_t window = 0;
    std::size_t payload = 0; // octets behind the header, also those that were not captured
    bool first_fragment = false;
    ByteView options;               // as many as were captured
    std::size_t options_length = 0; // as the header says

    [[nodiscard]] bool has(TcpFlag flag) const { return (flags & static_cast<std::uint8_t>(flag)) != 0; }
};

enum class Content {
    tcp,
    other,        // something else than TCP over IP
    fragment,     // a later part of an IP packet: its TCP header is in another one
    cut,          // the capture ends before the options begin
    malformed,    // lengths that contradict each other
    unknown_link, // of a link type that we do not know
};

struct Dissected {
    Content content = Content::other;
    Segment segment{}; // of `tcp`; its options point into the packet
};

// `wire_length`: octets that the packet had, of which `captured` are there.
[[nodiscard]] Dissected dissect(ByteView captured, std::size_t wire_length, LinkType link);

} // namespace mps::codec
