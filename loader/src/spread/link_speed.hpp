// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <optional>

#include "kernel/netlink.hpp"

namespace mps {

// What an interface can carry, in bit/s: the rate of a token bucket (tbf) that is its qdisc, else the speed of its link. nullopt: nobody
// knows, as for virtual devices, whose drivers name a speed that means nothing.
[[nodiscard]] std::optional<std::uint64_t> link_speed(const NetDevice &device);

} // namespace mps
