// SPDX-License-Identifier: MIT
//
// The seccomp filter under which a command runs: whoever holds the listener is asked (seccomp_unotify(2)) before options are set that
// only TCP has, and where nobody else sees to it before each stream socket of IPv4 or IPv6 is made.
#pragma once

#include "base/fd.hpp"
#include "mpsched/error.hpp"
#include "run/ledger.hpp"

namespace mps::run {

/// Puts the calling process and what it will start under the filter, for good. Without CAP_SYS_ADMIN that takes
/// no_new_privs: programs with the setuid bit do not gain rights any more.
[[nodiscard]] Result<Fd> install_filter(Way way);

} // namespace mps::run
