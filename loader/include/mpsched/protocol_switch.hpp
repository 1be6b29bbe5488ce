// SPDX-License-Identifier: MIT
//
// TCP sockets that are MPTCP's, by a program in the kernel.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "mpsched/error.hpp"

namespace mps {

// Stream sockets of IPv4 and IPv6 that processes of a cgroup ask for as TCP's are made as MPTCP's (fmod_ret of update_socket_protocol(), Linux 6.6), as long as
// this object lives, or what it returns as fd() is open elsewhere.
class MPS_API ProtocolSwitch {
  public:
    struct Counts {
        std::uint64_t mptcp = 0;
        std::uint64_t refused = 0;   // net.mptcp.enabled is 0 in their network namespace
        std::uint64_t elsewhere = 0; // in another network namespace, of which it cannot be told
    };

    // `cgroup`: of version 2, as a directory. ErrorCode::unsupported where the kernel cannot, or MPS_WITHOUT has "fmod_ret".
    [[nodiscard]] static Result<ProtocolSwitch> attach(const std::string &cgroup);

    ProtocolSwitch(ProtocolSwitch &&) noexcept;
    ProtocolSwitch &operator=(ProtocolSwitch &&) noexcept;
    ~ProtocolSwitch();

    [[nodiscard]] int fd() const;
    // Also in a process that was forked from the one that attached it.
    [[nodiscard]] Counts counts() const;

    struct Impl;

  private:
    explicit ProtocolSwitch(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

} // namespace mps
