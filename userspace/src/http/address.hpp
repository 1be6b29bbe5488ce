// SPDX-License-Identifier: MIT
//
// Where the service's HTTP servers listen, and which of their callers' words for that they accept.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "mpsched/error.hpp"

namespace mps::http {

// A numeric address and a port: names would have to be looked up, and could mean another machine tomorrow.
struct Address {
    std::string host{}; // "127.0.0.1", "::1"
    std::uint16_t port = 0;
    bool ipv6 = false;
    bool loopback = false;

    [[nodiscard]] std::string text() const; // "127.0.0.1:9464", "[::1]:9464"
    bool operator==(const Address &) const = default;
};

// "127.0.0.1:9464", "[::1]:9464".
[[nodiscard]] Result<Address> parse_address(std::string_view text);

// Of the header Host: what it names is this machine's loopback, whatever a name server says. A page whose name was made to lead here
// (DNS rebinding) still says its own name.
[[nodiscard]] bool names_loopback(std::string_view host);

} // namespace mps::http
