// SPDX-License-Identifier: MIT
//
// The other direction, written without the builder's code: what do these octets say, and are they right?
// Tests use it as an oracle, so it must take any octets at all.
#pragma once

#include "bytes.hpp"

#include <optional>
#include <string>
#include <vector>

namespace mps::packet {

enum class Link { ethernet, raw_ip };

// Where a TCP segment's parts begin. Only for packets whose headers are all there and agree with each other.
struct TcpLayout {
    bool ipv6 = false;
    std::size_t ip = 0;      // first octet of the IP header
    std::size_t tcp = 0;     // of the TCP header
    std::size_t options = 0; // tcp + 20
    std::size_t payload = 0; // end of the options
    std::size_t end = 0;     // as the IP header says; link-layer padding may follow
};
std::optional<TcpLayout> find_tcp(ByteView data, Link link);

// One line a field with its octets, then the hex dump.
std::string explain(ByteView data, Link link);

// Empty when both are equal; else the first difference and both packets explained.
std::string compare(ByteView expected, ByteView actual, Link link);

// Every checksum that is wrong, as "IPv4 header checksum is 1234, should be abcd". Empty when all are right.
std::vector<std::string> checksum_faults(ByteView data, Link link);

// What a data path did to a packet.
struct Change {
    enum class Kind {
        none,      // bit for bit the same
        prio,      // an MP_PRIO and a NOP inserted, lengths and checksums follow, nothing else differs
        rewritten, // the B bit of an MP_PRIO or MP_JOIN that was there, and the TCP checksum
        forbidden, // anything else
    };
    Kind kind = Kind::none;
    bool backup = false; // of the inserted or rewritten MP_PRIO
    std::string why;     // for `forbidden`
};

// A wrong checksum before must be wrong by the same amount afterwards: an edit neither repairs nor hides
// damage.
Change classify_change(ByteView before, ByteView after, Link link);

} // namespace mps::packet
