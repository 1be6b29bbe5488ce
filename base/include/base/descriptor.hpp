// SPDX-License-Identifier: MIT
#pragma once

#include "base/fd.hpp"

namespace mps {

// A descriptor through a Unix socket, with one byte.
[[nodiscard]] bool send_descriptor(int channel, int fd);
// Empty if none came.
[[nodiscard]] Fd receive_descriptor(int channel);

} // namespace mps
