// SPDX-License-Identifier: MIT
#pragma once

#include "instance_impl.hpp"

namespace mps {

// An installation that was made for rules alone, about options or congestion control, goes with the last of them.
[[nodiscard]] Result<void> remove_if_empty(const Instance::Impl &impl, const Session &session);

} // namespace mps
