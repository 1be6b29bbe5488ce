// SPDX-License-Identifier: MIT
//
// The seccomp filter under which a command runs: whoever holds the listener is asked before each stream socket of IPv4 or IPv6
// is made (seccomp_unotify(2)), and before options are set that only TCP has.
#pragma once

#include "base/fd.hpp"
#include "mpsched/error.hpp"

namespace mps::run {

/// Puts the calling process and what it will start under the filter, for good. Without CAP_SYS_ADMIN that takes
/// no_new_privs: programs with the setuid bit do not gain rights any more.
[[nodiscard]] Result<Fd> install_filter();

} // namespace mps::run
