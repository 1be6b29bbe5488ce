// SPDX-License-Identifier: MIT
//
// One event of `mpsched events`, for people and for programs.
#pragma once

#include <string>

#include "mpsched/events.hpp"
#include "json/documents.hpp"

namespace mps::watch {

// Without its time.
[[nodiscard]] std::string event_text(const Event &event);
[[nodiscard]] Json event_json(const Event &event);

} // namespace mps::watch
