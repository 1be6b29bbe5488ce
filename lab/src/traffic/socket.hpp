// SPDX-License-Identifier: MIT
// Sockets of the laboratory's traffic. Private to lab/src.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "base/fd.hpp"
#include <mpsched/lab/error.hpp>
#include <mpsched/lab/network.hpp>
#include <mpsched/lab/transfer.hpp>

#include <sys/socket.h>

namespace mps::lab::traffic {

struct SocketAddress {
    sockaddr_storage storage{};
    socklen_t size = 0;

    const sockaddr *get() const { return reinterpret_cast<const sockaddr *>(&storage); }
    sockaddr *get() { return reinterpret_cast<sockaddr *>(&storage); }
    int family() const { return storage.ss_family; }
    std::uint16_t port() const;
    std::string text() const; ///< "198.51.100.1:40000", "[2001:db8::a]:40000"
};

Result<SocketAddress> make_address(const std::string &text, std::uint16_t port);

struct SocketSpec {
    Protocol protocol = Protocol::mptcp;
    std::string congestion_control =
        {}; ///< subflows and accepted sockets inherit it; empty leaves the kernel's
    std::optional<int> send_buffer = {}; ///< bytes
    std::optional<int> receive_buffer = {};
    bool beyond_limits = false; ///< buffers larger than net.core.rmem_max and wmem_max
};

int set_int(const Fd &fd, int level, int option, int value);

/// A socket that does not block.
Result<Fd> open_socket(int family, const SocketSpec &spec);

/// Listens on every address of this thread's namespace; `port` 0 takes a free one.
Result<Fd> listen_on(Family family, std::uint16_t port, const SocketSpec &spec);

/// Returns with a connection, or with what kept it from that. `abort` ends it with ECANCELED. `object` is for the error:
/// "to 198.51.100.2".
Result<void> connect_to(const Fd &fd, const SocketAddress &address, std::chrono::milliseconds timeout,
                        const std::atomic<bool> &abort, const std::string &object);

/// The port of one end of a socket, as getsockname() or getpeername() tells it; 0 if it does not.
std::uint16_t port_of(int fd, int (*ask)(int, sockaddr *, socklen_t *));

} // namespace mps::lab::traffic
