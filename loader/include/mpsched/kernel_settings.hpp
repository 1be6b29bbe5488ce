// SPDX-License-Identifier: MIT
//
// Settings of a network namespace below /proc/sys, as sysctl(8) names them: "net.mptcp.stale_loss_cnt".
#pragma once

#include <string>

#include "mpsched/instance.hpp"

namespace mps {

// Of the network namespace of `instance`, without the end of the line.
[[nodiscard]] MPS_API Result<std::string> read_kernel_setting(const Instance &instance,
                                                              const std::string &name);
[[nodiscard]] MPS_API Result<void> write_kernel_setting(const Instance &instance, const std::string &name,
                                                        const std::string &value);

} // namespace mps
