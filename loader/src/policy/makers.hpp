// SPDX-License-Identifier: MIT
//
// Which command made a socket is noted as long as some rule, of policies or of congestion controls, is for a command.
#pragma once

#include "instance_impl.hpp"
#include "mpsched/error.hpp"

namespace mps {

// Before a rule for a command is made: from here on sockets are noted, and those that there are.
[[nodiscard]] Result<void> prepare_makers(const Session &session);
// After rules have gone: without one for a command nothing is noted any more.
[[nodiscard]] Result<void> settle_makers(const Session &session);
// Either, as it is needed.
[[nodiscard]] Result<void> repair_makers(const Session &session);

} // namespace mps
