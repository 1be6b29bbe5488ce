// SPDX-License-Identifier: MIT
//
// What drivers say that they do for XDP programs.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "mpsched/error.hpp"

namespace mps {

// By the names of the kernel's netdev family: "basic" (a native program may be attached), "redirect", "hw-offload" (the card itself runs
// programs) …
using XdpFeatures = std::vector<std::string>;

// Of each interface of a network namespace ("": this one), by index. Empty where the kernel cannot tell, before 6.3.
[[nodiscard]] MPS_API Result<std::map<std::uint32_t, XdpFeatures>>
xdp_features(const std::string &netns = {});

} // namespace mps
