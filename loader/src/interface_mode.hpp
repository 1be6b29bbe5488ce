// SPDX-License-Identifier: MIT
#pragma once

#include <string>

#include "mpsched/instance.hpp"
#include "netlink.hpp"

namespace mps {

struct ModeChoice {
    Mode mode = Mode::tc; // native or tc
    std::string why;
};

// What mode `auto` tries first on this interface. Native may still be refused by the driver.
[[nodiscard]] ModeChoice choose_mode(const NetDevice &device);

} // namespace mps
