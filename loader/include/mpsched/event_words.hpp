// SPDX-License-Identifier: MIT
//
// What `mpsched events` tells: its kinds, and the groups by which people choose among them. For the library, the command line and the
// documentation alike.
#pragma once

#include <array>
#include <string_view>

namespace mps {

struct EventGroupWord {
    std::string_view word;
    bool usual; // told unless groups are chosen
    std::string_view text;
};

inline constexpr std::array event_groups{
    EventGroupWord{"link", true, "interfaces come, go, get another name, go up or down"},
    EventGroupWord{"address", true, "addresses of interfaces come and go"},
    EventGroupWord{"attach", true, "mpsched is attached to an interface, or detached"},
    EventGroupWord{"path", true, "a path is down or up again, or gets other attributes"},
    EventGroupWord{"policy", true, "the default policy or a rule is another one"},
    EventGroupWord{"quota", true, "a quota is nearly or wholly used up, or begins anew"},
    EventGroupWord{"failover", true, "subflows that were in use are lost, and others carry on"},
    EventGroupWord{"connection", false, "connections and subflows begin, end, or get another policy"},
    EventGroupWord{"verdict", false, "a policy allows or parks a subflow"},
};

struct EventKindWord {
    std::string_view word;
    std::string_view group;
};

// In the order of Event::Kind.
inline constexpr std::array event_kinds{
    EventKindWord{"link-new", "link"},
    EventKindWord{"link-gone", "link"},
    EventKindWord{"link-renamed", "link"},
    EventKindWord{"link-up", "link"},
    EventKindWord{"link-down", "link"},
    EventKindWord{"address-new", "address"},
    EventKindWord{"address-gone", "address"},
    EventKindWord{"installed", "attach"},
    EventKindWord{"removed", "attach"},
    EventKindWord{"attached", "attach"},
    EventKindWord{"detached", "attach"},
    EventKindWord{"path-up", "path"},
    EventKindWord{"path-down", "path"},
    EventKindWord{"path-changed", "path"},
    EventKindWord{"policy", "policy"},
    EventKindWord{"rx-policy", "policy"},
    EventKindWord{"rule-new", "policy"},
    EventKindWord{"rule-gone", "policy"},
    EventKindWord{"rule-changed", "policy"},
    EventKindWord{"quota-near", "quota"},
    EventKindWord{"quota-used-up", "quota"},
    EventKindWord{"quota-anew", "quota"},
    EventKindWord{"failover", "failover"},
    EventKindWord{"connection-begun", "connection"},
    EventKindWord{"connection-ended", "connection"},
    EventKindWord{"connection-policy", "connection"},
    EventKindWord{"subflow-joined", "connection"},
    EventKindWord{"subflow-left", "connection"},
    EventKindWord{"verdict", "verdict"},
};

} // namespace mps
