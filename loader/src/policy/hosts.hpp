// SPDX-License-Identifier: MIT
//
// The addresses of hosts that rules name. They lie in mps_hosts, where the data path finds them; a name is looked up when its
// rule is made, and again and again while somebody follows.
#pragma once

#include <mps/abi.h>

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "kernel/resolver.hpp"
#include "mpsched/error.hpp"
#include "pins/contract.hpp"

namespace mps {

struct Session;

// What is known of a host.
struct KnownHost {
    std::vector<HostAddress> addresses{};
    std::uint32_t seen_s = 0; // when one of them was last seen to be so, CLOCK_BOOTTIME
};
[[nodiscard]] KnownHost known_host(const Pins &pins, std::uint64_t digest);

// That the host with this digest has these addresses. True if one is new or one has gone: an address stays for an hour after it
// was last among the answers, since names of large services have others each time.
[[nodiscard]] Result<bool> remember_host(const Pins &pins, std::uint64_t digest,
                                         const std::vector<HostAddress> &addresses);

// Hosts that none of these rules names.
void forget_other_hosts(const Pins &pins, const std::vector<mps_rule> &rules);

// Looks up what the rules name, without ever waiting.
class HostFollower {
  public:
    // Are there answers to be written down, or names to be asked about? Starts looking up what is due.
    [[nodiscard]] bool has_news(const std::vector<mps_rule> &rules);
    // Writes the answers down, for connections that there are as well.
    [[nodiscard]] Result<void> write(Session &session);

  private:
    using Clock = std::chrono::steady_clock;

    std::map<std::string, Lookup> asked_{};
    std::map<std::string, Clock::time_point> due_{};
};

} // namespace mps
