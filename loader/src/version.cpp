// SPDX-License-Identifier: MIT
#include "mpsched/version.hpp"

namespace mps {

std::string_view version() { return MPS_VERSION; }

} // namespace mps
