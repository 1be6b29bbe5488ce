// SPDX-License-Identifier: MIT
//
// What nl80211 tells of wireless interfaces.
#pragma once

#include <cstdint>
#include <map>

#include "mpsched/links.hpp"

struct nlmsghdr;

namespace mps {

// By the index of the interface; empty where the kernel has no such family.
[[nodiscard]] std::map<std::uint32_t, Wireless> wireless_links();

// One answer to NL80211_CMD_GET_INTERFACE.
void take_interface(const nlmsghdr *answer, std::map<std::uint32_t, Wireless> &found);
// One answer to NL80211_CMD_GET_STATION, of the access point that a station has.
void take_station(const nlmsghdr *answer, Wireless &link);

} // namespace mps
