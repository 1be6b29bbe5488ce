// SPDX-License-Identifier: MIT
#pragma once

#include <string>

#include "mpsched/instance.hpp"

namespace mps::watch {

// What became of an interface, for people: `attach --follow`, `repair` and the log of mpschedd.
[[nodiscard]] std::string event_text(const PathEvent &event);

} // namespace mps::watch
