// SPDX-License-Identifier: MIT
//
// How `mpsched proxy` reaches the process that keeps a proxy: a socket whose name belongs to the network namespace and is gone with the process.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include <sys/types.h>

#include "base/fd.hpp"
#include "mpsched/error.hpp"
#include "json/documents.hpp"

namespace mps::proxy {

/// Fails if there is a keeper of this name already.
[[nodiscard]] Result<Fd> listen_for_commands(const std::string &name);

/// The next caller with its word, empty if nobody calls any more or who calls is neither root nor this user.
struct Call {
    Fd caller{};
    std::string word{};
};
[[nodiscard]] Call take_call(int listener);
void reply(const Call &call, const Json &answer);

/// Of this network namespace.
[[nodiscard]] Result<std::vector<std::string>> keepers();
/// "status" or "stop"; returns when that is done.
[[nodiscard]] Result<Json> ask_keeper(const std::string &name, std::string_view word);

/// The relay of a proxy, and a socket at which it takes one command; empty if it does not answer.
struct RelayDoor {
    pid_t pid = -1;
    Fd socket{};
};
[[nodiscard]] Result<RelayDoor> ask_for_relay(const std::string &name);

} // namespace mps::proxy
