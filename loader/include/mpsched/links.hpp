// SPDX-License-Identifier: MIT
//
// What the kernel tells of the links of a network namespace: kind, carrier, speed, and of wireless ones how good they are.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "mpsched/instance.hpp"

namespace mps {

// As nl80211 has it.
struct Wireless {
    std::string mode{}; // "station", "ap", "ad hoc", "mesh", "monitor", "other"
    std::string
        standard{}; // "802.11be", "802.11ax", "802.11ac", "802.11n", by the last rate; "" if none of them, or not known
    std::optional<std::uint32_t> frequency_mhz{};
    // Of a station, to and from its access point; unset where it has none.
    std::optional<int> signal_dbm{}; // mean of what was received last
    std::optional<std::uint64_t> tx_bit_s{};
    std::optional<std::uint64_t> rx_bit_s{};
};

struct Link {
    std::string name{};
    std::uint32_t ifindex = 0;
    std::string type{}; // as NetworkInterface has it: "ethernet", "wifi", "wwan", …
    bool carrier = false;
    std::string address{}; // of the link layer, "02:00:00:00:00:01"; "" if it has none of that form
    // What it can carry: the rate of a token bucket that is its qdisc, else the speed of its link. Unset: nobody knows.
    std::optional<std::uint64_t> bit_s{};
    std::optional<Wireless> wireless{};
};

// In order of their index.
[[nodiscard]] MPS_API Result<std::vector<Link>> links(const Instance &instance);

} // namespace mps
