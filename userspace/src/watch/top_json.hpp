// SPDX-License-Identifier: MIT
#pragma once

#include <string>

#include "watch/top_model.hpp"
#include "json/documents.hpp"

namespace mps::watch {

// One look of `top` for programs.
[[nodiscard]] Json top_json(const TopModel &model, const std::string &time);

} // namespace mps::watch
