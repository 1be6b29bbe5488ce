// SPDX-License-Identifier: MIT
//
// What was read, as a line for people.
#pragma once

#include <string>

#include "codec/options.hpp"
#include "codec/segment.hpp"

namespace mps::codec {

// "MP_JOIN SYN backup address_id=2 token=0x0a0b0c0d nonce=0x01020304"
[[nodiscard]] std::string option_text(const MptcpOption &option);
// The value of one field: "2", "0x0a0b0c0d", "192.0.2.1".
[[nodiscard]] std::string field_text(mptcp_field field, ByteView octets);
// "192.0.2.1:443", "[2001:db8::1]:443"
[[nodiscard]] std::string endpoint_text(const Endpoint &end);
[[nodiscard]] std::string address_text(const Endpoint &end);
// "SYN, ACK"
[[nodiscard]] std::string flags_text(const Segment &segment);
[[nodiscard]] std::string hex_text(ByteView octets);

} // namespace mps::codec
