// SPDX-License-Identifier: MIT
#pragma once

#include "cli/command.hpp"

namespace mps::cli {

// Says what becomes of interfaces, a line or a JSON document in a line each, until SIGINT, SIGTERM or SIGHUP. `first` is
// written before.
[[nodiscard]] Result<Reply> follow(const Context &context, Instance &instance, const Reply &first,
                                   const FollowOptions &options);

} // namespace mps::cli
