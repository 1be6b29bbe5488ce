// SPDX-License-Identifier: MIT
//
// What `mpsched proxy start` was asked for.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "http/address.hpp"

namespace mps::proxy {

struct Spec {
    // The near end, on a gateway: TCP of hosts behind these interfaces goes on as MPTCP.
    std::vector<std::string> lan{};
    std::vector<std::uint16_t> ports{};      // none: all
    std::optional<http::Address> via{};      // a far end; else the server itself
    std::vector<std::string> keep_address{}; // the client's, whose answers come over these interfaces

    // The far end: MPTCP goes on as TCP.
    std::optional<http::Address> listen{}; // host empty: every address
    std::optional<http::Address> to{};     // a server; else where the near end says
    std::vector<std::string> from{};       // near ends, which tell of the client by PROXY protocol
    bool send_proxy = false;               // tell the server of the client so

    std::string relay{}; // the program

    [[nodiscard]] bool near() const { return !lan.empty(); }
    // "near", "far-443": one of them in each network namespace.
    [[nodiscard]] std::string name() const;
};

} // namespace mps::proxy
