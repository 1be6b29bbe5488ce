// SPDX-License-Identifier: MIT
#include "socket.hpp"

#include <algorithm>
#include <array>
#include <cerrno>

#include <mpsched/lab/mptcp_abi.hpp>

#include "base/addresses.hpp"
#include "stream.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>

#include <fmt/format.h>

namespace mps::lab::traffic {
namespace {

constexpr int backlog = 512;

} // namespace

std::uint16_t SocketAddress::port() const {
    // It has the same place in both families.
    return ntohs(reinterpret_cast<const sockaddr_in &>(storage).sin_port);
}

std::string SocketAddress::text() const {
    const auto *v4 = reinterpret_cast<const sockaddr_in *>(&storage);
    const auto *v6 = reinterpret_cast<const sockaddr_in6 *>(&storage);
    return storage.ss_family == AF_INET
               ? fmt::format("{}:{}", address_text(AF_INET, &v4->sin_addr), port())
               : fmt::format("[{}]:{}", address_text(AF_INET6, &v6->sin6_addr), port());
}

Result<SocketAddress> make_address(const std::string &text, std::uint16_t port) {
    SocketAddress address;
    auto *v4 = reinterpret_cast<sockaddr_in *>(&address.storage);
    auto *v6 = reinterpret_cast<sockaddr_in6 *>(&address.storage);
    if (::inet_pton(AF_INET, text.c_str(), &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        address.size = sizeof(*v4);
    } else if (::inet_pton(AF_INET6, text.c_str(), &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(port);
        address.size = sizeof(*v6);
    } else {
        return fail(fmt::format("\"{}\" is not an IPv4 or IPv6 address", text), "write it in numbers",
                    EINVAL);
    }
    return address;
}

int set_int(const Fd &fd, int level, int option, int value) {
    return ::setsockopt(fd.get(), level, option, &value, sizeof(value));
}

Result<Fd> open_socket(int family, const SocketSpec &spec) {
    const bool mptcp = spec.protocol == Protocol::mptcp;
    Fd fd(::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
                   mptcp ? abi::ipproto_mptcp : IPPROTO_TCP));
    if (!fd) {
        return os_error("open", mptcp ? "an MPTCP socket" : "a TCP socket", errno);
    }
    if (spec.send_buffer) {
        set_int(fd, SOL_SOCKET, spec.beyond_limits ? SO_SNDBUFFORCE : SO_SNDBUF, *spec.send_buffer);
    }
    if (spec.receive_buffer) {
        set_int(fd, SOL_SOCKET, spec.beyond_limits ? SO_RCVBUFFORCE : SO_RCVBUF, *spec.receive_buffer);
    }
    const auto &control = spec.congestion_control;
    if (!control.empty() && ::setsockopt(fd.get(), IPPROTO_TCP, TCP_CONGESTION, control.data(),
                                         static_cast<socklen_t>(control.size())) != 0) {
        return os_error("choose congestion control", control, errno);
    }
    return fd;
}

Result<Fd> listen_on(Family family, std::uint16_t port, const SocketSpec &spec) {
    const bool v4 = family == Family::ipv4;
    auto fd = open_socket(v4 ? AF_INET : AF_INET6, spec);
    if (!fd) {
        return fd;
    }
    set_int(*fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (!v4) {
        set_int(*fd, IPPROTO_IPV6, IPV6_V6ONLY, family == Family::dual ? 0 : 1);
    }
    const auto any = make_address(v4 ? "0.0.0.0" : "::", port);
    if (::bind(fd->get(), any->get(), any->size) != 0 || ::listen(fd->get(), backlog) != 0) {
        return os_error("listen on", fmt::format("port {}", port), errno);
    }
    return fd;
}

Result<void> connect_to(const Fd &fd, const SocketAddress &address, std::chrono::milliseconds timeout,
                        const std::atomic<bool> &abort, const std::string &object) {
    if (::connect(fd.get(), address.get(), address.size) == 0) {
        return {};
    }
    if (errno != EINPROGRESS) {
        return os_error("connect", object, errno);
    }
    auto ready = wait_for_event(fd.get(), POLLOUT, std::chrono::steady_clock::now() + timeout, abort);
    if (!ready) {
        return ready.error().err == ETIMEDOUT ? os_error("connect", object, ETIMEDOUT) : std::move(ready);
    }
    int err = 0;
    socklen_t size = sizeof(err);
    ::getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &err, &size);
    return err != 0 ? Result<void>(os_error("connect", object, err)) : Result<void>{};
}

std::uint16_t port_of(int fd, int (*ask)(int, sockaddr *, socklen_t *)) {
    SocketAddress address;
    address.size = sizeof(address.storage);
    return ask(fd, address.get(), &address.size) == 0 ? address.port() : std::uint16_t{0};
}

} // namespace mps::lab::traffic
