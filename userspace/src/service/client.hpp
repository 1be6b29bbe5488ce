// SPDX-License-Identifier: MIT
//
// How commands talk to the mpschedd of a network namespace: one line of JSON there and one back, through a socket that only
// root can open.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "mpsched/error.hpp"
#include "json/documents.hpp"

namespace mps::service {

// "/run/mpsched", or $MPS_RUN_DIR.
[[nodiscard]] std::string run_folder();
// Of the mpschedd for the network namespace with this cookie.
[[nodiscard]] std::string socket_path(std::uint64_t netns_cookie);
[[nodiscard]] std::string lock_path(std::uint64_t netns_cookie);

// nullopt: none runs there. Requests: {"do": "status" | "reload" | "adopt" | "web"}.
[[nodiscard]] Result<std::optional<Json>> ask(std::uint64_t netns_cookie, const Json &request);

// The same where one has to run: its answer, or an error, also one that it answered with. `otherwise` is what to do instead of
// starting one, "" if there is nothing.
[[nodiscard]] Result<Json> demand(std::uint64_t netns_cookie, std::string_view what,
                                  std::string_view otherwise = {});

// An error that the service answered with, as JSON has it.
[[nodiscard]] std::optional<Error> error_in(const Json &answer);

} // namespace mps::service
