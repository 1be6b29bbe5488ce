// SPDX-License-Identifier: MIT
//
// Hands TCP connections of hosts without MPTCP to a relay on this gateway, and takes that back without a trace: what `mpsched proxy`
// stands on. docs/proxy.md tells what becomes of which packets.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "mpsched/error.hpp"

namespace mps {

struct InterceptionSpec {
    std::vector<std::string> lan{}; // interfaces where such hosts are
    std::vector<std::string>
        back{}; // over which answers come to what the relay sends with a client's address
    std::vector<std::uint16_t> ports{}; // of the servers; none: all
};

// SYNs that came from such hosts.
struct InterceptionCounts {
    std::uint64_t taken = 0;    // went to the relay
    std::uint64_t mptcp = 0;    // passed: their host speaks MPTCP
    std::uint64_t no_relay = 0; // passed: there was no relay
    std::uint64_t failed = 0;   // passed: the kernel did not hand them over
};

// One per network namespace, that of the calling thread. It is over with its object, and its programs do nothing any more when its process
// has ended, however that did.
class MPS_API Interception {
  public:
    // Takes nothing until offer(true). What a killed one has left is replaced.
    [[nodiscard]] static Result<Interception> start(const InterceptionSpec &spec);
    Interception(Interception &&) noexcept;
    Interception &operator=(Interception &&) = delete;
    ~Interception();

    // Listening TCP sockets of IPv4 and IPv6, for the relay to accept from; -1 where there is none.
    [[nodiscard]] std::array<int, 2> listeners() const;
    // false: new connections pass as they would without us, those that were taken stay.
    [[nodiscard]] Result<void> offer(bool to_relay) const;
    [[nodiscard]] Result<InterceptionCounts> counts() const;

  private:
    struct Impl;
    explicit Interception(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

// Moves the calling thread for good, and what it starts: a name below /run/netns, a path or a process id; "" stays.
[[nodiscard]] MPS_API Result<void> move_to_netns(const std::string &netns);

// What one that was killed has left in this network namespace: on which interfaces there was something.
[[nodiscard]] MPS_API Result<std::vector<std::string>> remove_interception();

} // namespace mps
