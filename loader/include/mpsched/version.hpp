// SPDX-License-Identifier: MIT
#pragma once

#include <string_view>

#include "mpsched/export.h"

namespace mps {

// Of the library that is loaded, "0.1.0".
[[nodiscard]] MPS_API std::string_view version();

} // namespace mps
