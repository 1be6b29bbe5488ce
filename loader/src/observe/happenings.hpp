// SPDX-License-Identifier: MIT
//
// What was seen at one look, and what has happened between two: pure, for events.cpp.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "mpsched/events.hpp"
#include "mpsched/instance.hpp"

namespace mps {

struct SeenLink {
    std::string name{};
    bool up = false; // administratively, and with carrier
    std::set<std::string> addresses{};
};

// What an installation says; `installed` false: all else is empty.
struct SeenInstallation {
    bool installed = false;
    bool followed = false; // somebody does: silent subflows and lost paths are told
    std::string policy{}, rx_policy{};
    std::vector<RuleStatus> rules{};
    std::map<std::string, PathStatus> paths{};
    std::vector<ConnectionStatus> connections{};
};

struct Seen {
    std::map<std::uint32_t, SeenLink> links{}; // by index
    SeenInstallation installation{};
};

[[nodiscard]] std::vector<Event> events_between(const Seen &before, const Seen &now);

} // namespace mps
