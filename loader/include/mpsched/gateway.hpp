// SPDX-License-Identifier: MIT
//
// What a gateway knows of the connections that pass through it, from their packets alone.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace mps {

// What one end of a subflow sends.
struct ForwardedWay {
    std::uint64_t bytes = 0;       // contents, each octet once
    std::uint64_t again_bytes = 0; // contents that passed more than once
    // Of the connection's contents: those that came after later ones, over whichever subflow, so that the receiver has to keep these until then
    // (RFC 4737 section 4.1), and by how many octets at most. Counted from the second subflow on.
    std::uint64_t late_bytes = 0;
    std::uint32_t late_most = 0;
    std::optional<std::uint64_t> bytes_s{}; // by how much `bytes` grew while the connections were sampled
    std::uint32_t srtt_us = 0;              // from the gateway to the receiver and back; 0: no sample yet
    std::uint32_t rttvar_us = 0, min_rtt_us = 0;
    bool backup = false;          // the sender asked for the subflow to be a backup
    bool allowed = true;          // by the last verdict about what this end sends
    std::string told = "nothing"; // to this end, in the other's name: "nothing", "active", "backup"
    bool ignored = false;         // it uses the subflow although it was told not to, again and again
};

struct ForwardedSubflow {
    std::uint32_t id = 0;
    std::uint32_t ifindex = 0;
    std::string ifname{};                 // of the attached interface where it passes
    std::string initiator{}, responder{}; // ends of this subflow, by the connection's roles: "192.0.2.1:443"
    std::uint32_t idle_ms = 0;            // since anything passed
    ForwardedWay up{};                    // what the initiator sends
    ForwardedWay down{};                  // what the responder sends
};

struct ForwardedConnection {
    std::uint32_t initiator_token = 0; // of the host that began the connection (RFC 8684 section 3.2)
    std::uint32_t responder_token = 0;
    std::string up_policy = "default";   // which decides about what the initiator sends …
    std::string down_policy = "default"; // … and the responder
    std::vector<ForwardedSubflow> subflows{};
};

} // namespace mps
