// SPDX-License-Identifier: MIT
//
// The map mps_grants: what the applications of which cgroup may choose.
#pragma once

#include <mps/abi.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "mpsched/error.hpp"
#include "pins/contract.hpp"

namespace mps {

struct Grant {
    std::uint32_t index = 0;
    mps_grant grant{};
};

// Those in use.
[[nodiscard]] Result<std::vector<Grant>> read_grants(const Pins &pins);
[[nodiscard]] Result<void> write_grant(const Pins &pins, const Grant &grant);

// Of policies that may be chosen, holes left out.
[[nodiscard]] std::vector<mps_grant_policy> policies_of(const mps_grant &grant);
[[nodiscard]] std::string name_of(const mps_grant_policy &policy);
// For people.
[[nodiscard]] std::string path_of(const mps_grant &grant);

// Who may choose the first shall get the second.
[[nodiscard]] Result<void> replace_in_grants(const Pins &pins,
                                             const std::map<std::uint32_t, std::uint32_t> &replaced);

} // namespace mps
