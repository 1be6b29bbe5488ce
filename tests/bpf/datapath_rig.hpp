// SPDX-License-Identifier: MIT
//
// One packet at a time through the real programs, beside a real MPTCP connection: what tests of the data path share.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "catch.hpp"
#include "decode.hpp"
#include "packet.hpp"
#include "rig.hpp"
#include "shapes.hpp"

namespace mps::test {

constexpr int xdp_pass = 2;
constexpr int tc_unspec = -1;

inline const std::array<const char *, MPS_C_MAX> counter_names = {
#define MPS_TEST_NAME(id, name, text) name,
    MPS_COUNTERS(MPS_TEST_NAME)
#undef MPS_TEST_NAME
};

/// Counters that changed between two readings, by name. Wakes have tests of their own: whether a packet that
/// could not be edited also queues one depends on what the kernel has in flight.
std::map<std::string, std::uint64_t> changes(const std::vector<std::uint64_t> &before,
                                             const std::vector<std::uint64_t> &after);

/// Rigs take a second to build, so tests share them. Each test starts from the same state.
Rig &shared_rig(lab::Family family, Reading reading, Idle idle = Idle::decided_on);
/// Every family, with both ways of reading the kernel.
Rig &every_rig(Idle idle = Idle::decided_on);
Rig &rig_of_each_family();

enum class Hook { xdp, tc };

struct Outcome {
    Ran ran;
    std::map<std::string, std::uint64_t> counted;
    int passed_as = 0; // the verdict that means "on to the stack" for this hook
};

Outcome send(Rig &rig, Hook hook, packet::ByteView data, packet::Link link, std::uint32_t ifindex);

/// TC programs get an Ethernet frame in a test run, whatever the program expects; the kernel takes the VLAN
/// tag out before TC ingress, a test run does not. So TC shows its edits on plain Ethernet here, and in
/// tests/e2e elsewhere.
bool tc_can_edit(const Shape &shape);
/// Linux refuses test runs of TC programs with a frame shorter than its EtherType's IP header (6.18).
bool tc_can_run(packet::ByteView data);

packet::Packet usual_ack(const Flow &flow);
/// The set that allows every subflow but this one.
std::uint32_t without(const Rig &rig, const Flow &flow);
void check_edit(Rig &rig, Hook hook, const Shape &shape, const Flow &flow, bool backup);

} // namespace mps::test
