// SPDX-License-Identifier: MIT
//
// The packet that this library makes (see also carrier.hpp): a pure ACK with MP_PRIO, as if the peer had sent it, handed to this
// host's own stack (it never touches a wire). It sets a subflow's backup bit when the subflow has no packets
// that could carry the option.
#pragma once

#include <mps/abi.h>

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "mpsched/error.hpp"
#include "observe/dump.hpp"
#include "pins/contract.hpp"

namespace mps {

// An Ethernet frame: VLAN tags as `known` has them if `with_vlans`, IPv4 or IPv6, TCP with timestamps if the
// connection has them. All checksums are right.
[[nodiscard]] std::vector<std::uint8_t> forged_ack(const KnownSubflow &subflow, bool backup,
                                                   const std::array<std::uint8_t, 6> &mac, bool with_vlans);

// Hands it to the stack on the interface that the subflow's packets come from.
[[nodiscard]] Result<void> inject_backup(const Pins &pins, const KnownSubflow &subflow, bool backup);

// Hands a frame to the stack as if it had arrived at the interface. `what` names it in errors.
[[nodiscard]] Result<void> inject(const Pins &pins, std::span<const std::uint8_t> frame,
                                  std::uint32_t ifindex, std::string_view what);

} // namespace mps
