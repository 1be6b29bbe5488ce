// SPDX-License-Identifier: MIT
//
// Answers one call of a process under the filter.
#pragma once

#include <linux/seccomp.h>

#include "run/ledger.hpp"

namespace mps::run {

/// Gives the process an MPTCP socket of its network namespace and its user, or lets the call go on as it stands. Never fails it but as
/// the kernel would. Only arguments in registers are looked at, so nobody can change them behind our back.
void answer(int listener, const seccomp_notif &call, Ledger &ledger);

/// Lets a call go on as it stands. False if nobody waits for it (any more).
bool let_go_on(int listener, std::uint64_t id);

} // namespace mps::run
