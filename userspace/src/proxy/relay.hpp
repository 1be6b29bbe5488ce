// SPDX-License-Identifier: MIT
//
// The program that moves the data: haproxy, which knows nothing of MPTCP. At the near end it runs as under `mpsched run`, so what it connects with is
// MPTCP; at the far end it is given a listening MPTCP socket. It runs as a user without rights.
#pragma once

#include <string>
#include <vector>

#include <sys/types.h>

#include "base/fd.hpp"
#include "mpsched/error.hpp"
#include "proxy/spec.hpp"

namespace mps::proxy {

/// Listening sockets that outlive each relay: what arrives while one takes another's place waits in them.
struct Sockets {
    std::vector<int> listeners{}; ///< of connections to be relayed
    int alive = -1;               ///< answers as long as the relay does
};

/// As haproxy reads it; descriptors are numbered from first_descriptor on: `alive`, the listeners, then the door.
[[nodiscard]] std::string relay_config(const Spec &spec, std::size_t listeners, std::size_t max_connections);

inline constexpr int first_descriptor = 3;

struct Relay {
    pid_t pid = -1;
    Fd process{}; ///< readable when it has ended
    Fd words{};   ///< what it says on standard error
    Fd door{};    ///< takes one end of a socket pair, on whose other end it answers a command

    /// A socket that it answers one command at.
    [[nodiscard]] Fd open_door() const;
};

/// The program by its name, in PATH and where Debian has it; as given if it has a slash.
[[nodiscard]] Result<std::string> find_relay(const std::string &name);

[[nodiscard]] Result<Relay> start_relay(const Spec &spec, const Sockets &sockets);

} // namespace mps::proxy
