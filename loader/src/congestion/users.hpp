// SPDX-License-Identifier: MIT
#pragma once

#include <map>
#include <string>
#include <vector>

#include "mpsched/congestion.hpp"

namespace mps {

// Sockets that have one of our congestion controls, by its name: those of all network namespaces that have a name or a process
// and that the caller may enter. Others stay unseen: a namespace that only a socket holds, for example.
[[nodiscard]] Result<std::map<std::string, std::vector<CongestionUser>>> congestion_users();

// "3 sockets: netns a 192.0.2.1:40000 → 192.0.2.2:443 …": the first few of them, and how many they are.
[[nodiscard]] std::string users_text(const CongestionControl &control);

} // namespace mps
