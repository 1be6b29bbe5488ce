// SPDX-License-Identifier: MIT
//
// What holds for any octets, for the fuzzers and for the unit test that runs 100,000 inputs. Each aborts where it does not hold, so that a fuzzer keeps
// the input.
#pragma once

#include <cstddef>
#include <cstdint>

namespace mps::fuzz {

// A capture file is read to an end, and what is in it is told.
void check_capture(const std::uint8_t *data, std::size_t size);
// The data path's parser and the decoder agree about a packet, and an edit of it is exactly what it should be, or none. The first octet chooses
// link layer, B bit and MTU. True if the packet was edited.
bool check_packet(const std::uint8_t *data, std::size_t size);

} // namespace mps::fuzz
