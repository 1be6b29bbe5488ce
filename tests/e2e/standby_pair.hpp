// SPDX-License-Identifier: MIT
//
// Two paths, of which active-standby parks the second, and small requests one after the other.
#pragma once

#include "traffic.hpp"

namespace mps::e2e {

struct StandbyPair {
    lab::Network network;
    lab::Server server;
    Attachment attachment;
    Cli mpsched;

    explicit StandbyPair(lab::Family family = lab::Family::ipv4,
                         std::chrono::milliseconds queue = std::chrono::milliseconds(50))
        : network(must(
              lab::Network::create({.paths = {{.name = "dsl", .rate_mbit = path_rate(50), .queue = queue},
                                              {.name = "lte", .rate_mbit = path_rate(50), .queue = queue}},
                                    .family = family,
                                    .congestion_control = "cubic"}))),
          server(serve(network)),
          attachment(network.a(), network.devices(), "tc"),
          mpsched(network.a()) {
        mpsched("path lte priority=1");
        mpsched("use active-standby");
    }

    [[nodiscard]] lab::Transfer requests() const {
        lab::TransferSpec spec = light_traffic();
        spec.think_time = 10ms;
        return upload(network, server, spec);
    }
};

} // namespace mps::e2e
