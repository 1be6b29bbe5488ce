// SPDX-License-Identifier: MIT
//
// Why nothing, or less than was asked for, is steered: from what the kernel and the data path say to findings for people.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "kernel/netlink.hpp"
#include "kernel/path_manager.hpp"
#include "mpsched/error.hpp"
#include "mpsched/instance.hpp"
#include "pins/contract.hpp"

namespace mps {

// Packets of an attached interface that found no socket, and the last one of them.
struct Misses {
    std::uint32_t ifindex = 0;
    std::uint64_t packets = 0;
    std::uint64_t age_ms = 0;
    std::string remote_address{}, local_address{}; // without port
    std::string remote{}, local{};                 // with port
};

struct OwnAddress {
    std::string address{};
    std::string device{};
};

// What a gateway's findings are made of.
struct Forwarding {
    bool ipv4 = true, ipv6 = true; // the kernel forwards
    std::uint64_t connections = 0; // that were seen to begin
    std::uint64_t half_seen = 0;   // handshakes of which a part went elsewhere
    std::uint64_t no_room = 0;     // subflows that found no room in the table
};

struct Circumstances {
    bool enabled = true; // net.mptcp.enabled
    bool installed = false;
    bool network_manager = false; // it runs, and may have made the endpoints
    std::optional<PathManager> pm{};
    std::vector<Endpoint> removed_endpoints{}; // while their paths are silent
    std::vector<NetDevice> devices{};
    std::vector<InterfaceStatus> interfaces{};
    std::vector<ConnectionStatus> connections{};
    std::vector<Misses> misses{};
    std::vector<OwnAddress> own_addresses{};
    Forwarding forwarding{};
    std::uint64_t no_room = 0;      // connections that found no room in the table
    std::uint32_t max_subflows = 0; // that can be steered in one connection
    std::uint32_t plain_tcp = 0;    // established TCP connections that no MPTCP socket has
};

// Those that can be told without an installation.
[[nodiscard]] Circumstances look_around();
[[nodiscard]] std::uint32_t established_tcp();
[[nodiscard]] std::vector<OwnAddress> own_addresses();

[[nodiscard]] std::vector<Diagnosis> diagnose(const Circumstances &seen);
// Of interfaces in the role of a gateway (diagnose_gateway.cpp).
void judge_gateway(const Circumstances &seen, std::vector<Diagnosis> &found);

[[nodiscard]] Result<std::vector<Misses>> read_misses(const Pins &pins);

} // namespace mps
