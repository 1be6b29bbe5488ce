// SPDX-License-Identifier: MIT
//
// Packets that find out which routers they pass: TCP with a hop limit, as traceroute(8) does it, with chosen labels and ports.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/fd.hpp"
#include "kernel/resolver.hpp"
#include "mpsched/error.hpp"

namespace mps {

struct ProbePacket {
    std::uint32_t label = 0; // IPv6 only
    std::uint16_t local_port = 0;
    std::uint8_t hops = 1;
};

// Between two addresses of one family.
class PathProbe {
  public:
    [[nodiscard]] static Result<PathProbe> open(const HostAddress &local, const HostAddress &peer,
                                                std::uint16_t peer_port);
    // Who answered each of them: an address, the peer's own if it came that far, or "". Asks again where nobody did.
    [[nodiscard]] Result<std::vector<std::string>> ask(const std::vector<ProbePacket> &packets,
                                                       const std::function<bool()> &give_up);

  private:
    PathProbe() = default;
    [[nodiscard]] Result<void> send(const ProbePacket &packet, std::uint32_t id) const;
    void receive(std::chrono::milliseconds patience, std::map<std::uint32_t, std::string> &answers) const;
    void take_error(std::map<std::uint32_t, std::string> &answers) const;
    void take_answer(std::map<std::uint32_t, std::string> &answers) const;

    HostAddress local_{}, peer_{};
    std::uint16_t peer_port_ = 0;
    bool ipv6_ = false;
    std::uint32_t next_id_ = 0;
    Fd out_{}, errors_{}, answers_{};
};

} // namespace mps
