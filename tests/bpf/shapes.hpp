// SPDX-License-Identifier: MIT
//
// The packets that the data path's tests go over: every way to write a segment that may be edited, and
// every kind of packet that must not be.
#pragma once

#include "decode.hpp"
#include "packet.hpp"
#include "rig.hpp"

#include <map>
#include <mps/abi.h>
#include <string>
#include <vector>

namespace mps::test {

struct Shape {
    std::string name;
    packet::Link link;
    packet::Packet packet;
};

// TCP options with an MPTCP option among them that leave 4 octets of room.
std::vector<std::pair<std::string, packet::Packet>> roomy_options(const Flow &flow);

// Link and network headers, each with every option layout and several sizes of payload.
std::vector<Shape> editable(const Flow &flow);

// One of each pair of link and network header, with the usual options and a little payload.
std::vector<Shape> editable_headers(const Flow &flow);

// Packets that must pass untouched, with the counters that say why. Addressed to `flow` wherever they can be.
struct Untouched {
    Shape shape;
    std::map<mps_counter, std::uint64_t> counted;
};
std::vector<Untouched> untouched(const Flow &flow);

} // namespace mps::test
