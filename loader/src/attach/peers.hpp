// SPDX-License-Identifier: MIT
//
// What peers were told to avoid (bpf/src/peer.bpf.h), and that they are told otherwise when nobody steers them any more.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "instance_impl.hpp"
#include "mpsched/error.hpp"
#include "observe/dump.hpp"

namespace mps {

// Tells peers what our endpoints say of the subflows of these interfaces, and waits until that has been sent; what could not be told
// in this time comes back in words. A packet that tells it may be lost, so it is sent twice. `spare_chosen`: not of connections
// whose application has chosen.
[[nodiscard]] Result<std::vector<std::string>> take_back(const Pins &pins,
                                                         const std::function<bool(std::uint32_t)> &concerned,
                                                         std::chrono::milliseconds patience,
                                                         bool spare_chosen = false);

// Subflows by their index in mps_peer, as bits, of connections by token.
using SubflowBits = std::map<std::uint32_t, std::uint32_t>;

// The same of these subflows, once, without waiting.
[[nodiscard]] Result<void> tell_endpoints(const Pins &pins, const SubflowBits &subflows);

// After a switch: where no policy decides about what peers send any more, all is taken back.
[[nodiscard]] Result<void> settle_peers(Session &session);

} // namespace mps
