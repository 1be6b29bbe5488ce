// SPDX-License-Identifier: MIT
//
// mps::Interception with a relay that only says whom it stands for: which connections reach it, and which pass as they were.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>

#include <mpsched/proxy.hpp>

#include "proxy_network.hpp"

using namespace mps::e2e;
using mps::Fd;
using mps::Interception;

namespace {

struct Address {
    sockaddr_storage storage{};
    socklen_t size = 0;

    Address() = default;
    Address(const std::string &host, std::uint16_t port) {
        if (host.contains(':')) {
            auto &v6 = reinterpret_cast<sockaddr_in6 &>(storage);
            v6.sin6_family = AF_INET6;
            v6.sin6_port = htons(port);
            ::inet_pton(AF_INET6, host.c_str(), &v6.sin6_addr);
            size = sizeof v6;
        } else {
            auto &v4 = reinterpret_cast<sockaddr_in &>(storage);
            v4.sin_family = AF_INET;
            v4.sin_port = htons(port);
            ::inet_pton(AF_INET, host.c_str(), &v4.sin_addr);
            size = sizeof v4;
        }
    }
    const sockaddr *get() const { return reinterpret_cast<const sockaddr *>(&storage); }
    bool operator==(const Address &other) const {
        return size == other.size && std::memcmp(&storage, &other.storage, size) == 0;
    }
};

struct Client {
    Fd fd;
    int error = 0; // of connect()
};

struct Rig : ProxyNetwork {
    explicit Rig(Family family) : ProxyNetwork(0, family) {}

    Client connect(const std::string &host, std::uint16_t port, int protocol = IPPROTO_TCP) const {
        return must(network.client.run([&] {
            const Address to(host, port);
            Client client{Fd(::socket(to.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, protocol))};
            if (::connect(client.fd.get(), to.get(), to.size))
                client.error = errno;
            return client;
        }));
    }
    std::string origin() const { return network.server_address(0); }

    // One that the relay accepts, and for whom.
    Fd accept(const Interception &interception, Address &origin) const {
        Fd accepted(
            ::accept4(interception.listeners()[network.v6() ? 1 : 0], nullptr, nullptr, SOCK_CLOEXEC));
        origin.size = sizeof origin.storage;
        ::getsockname(accepted.get(), reinterpret_cast<sockaddr *>(&origin.storage), &origin.size);
        return accepted;
    }
};

bool carries(const Fd &from, const Fd &to) {
    char got = 0;
    return ::send(from.get(), "x", 1, MSG_NOSIGNAL) == 1 && ::recv(to.get(), &got, 1, 0) == 1 && got == 'x';
}

void check_interception(Family family) {
    const Rig rig(family);
    const std::string before = rig.network_state();
    const std::string origin = rig.origin();
    const auto checked = rig.network.gateway.run([&] {
        auto started = Interception::start({.lan = {"lan"}, .ports = {7000}});
        if (!started)
            FAIL(started.error().what << "\n" << started.error().detail);
        const Interception &interception = *started;
        const auto counts = [&] { return interception.counts().value(); };

        // Nothing before it is offered: the server, which has nobody at that port, answers itself.
        CHECK(rig.connect(origin, 7000).error == ECONNREFUSED);
        CHECK(counts().no_relay >= 1);
        REQUIRE(interception.offer(true));
        const Client client = rig.connect(origin, 7000);
        REQUIRE(client.error == 0);
        Address meant;
        const Fd accepted = rig.accept(interception, meant);
        CHECK(meant == Address(origin, 7000));
        CHECK(carries(client.fd, accepted));
        CHECK(carries(accepted, client.fd));
        CHECK(counts().taken == 1);

        // Another port, the gateway itself, and a host that speaks MPTCP.
        CHECK(rig.connect(origin, 7001).error == ECONNREFUSED);
        CHECK(rig.connect(rig.network.address(0, 1), 7000).error == ECONNREFUSED);
        CHECK(counts().taken == 1);
        CHECK(rig.connect(origin, 7000, IPPROTO_MPTCP).error == ECONNREFUSED);
        CHECK(counts().taken == 1);
        CHECK(counts().mptcp == 1);

        // The kernel forgets handshakes and knows them again by their cookies.
        must(rig.network.gateway.set_sysctl("ipv4/tcp_syncookies", "2"));
        const Client forgotten = rig.connect(origin, 7000);
        REQUIRE(forgotten.error == 0);
        const Fd known_again = rig.accept(interception, meant);
        CHECK(carries(forgotten.fd, known_again));
        CHECK(must(must(mps::lab::read_counters(rig.network.gateway)).get("TcpExtSyncookiesRecv")) == 1);

        // Taken back: those that were taken stay, new ones pass.
        REQUIRE(interception.offer(false));
        CHECK(rig.connect(origin, 7000).error == ECONNREFUSED);
        CHECK(carries(client.fd, accepted));
        CHECK(carries(known_again, forgotten.fd));
        CHECK(counts().taken == 2);
        CHECK(counts().failed == 0);
        CHECK(rig.network_state() != before);
    });
    must(checked);
    CHECK(rig.network_state() == before);
}

} // namespace

TEST_CASE("IPv4 connections of hosts without MPTCP reach the relay, and nothing else does", "[e2e][proxy]") {
    check_interception(Family::ipv4);
}

TEST_CASE("IPv6 connections of hosts without MPTCP reach the relay, and nothing else does", "[e2e][proxy]") {
    check_interception(Family::ipv6);
}

TEST_CASE("a process that is gone intercepts nothing, and what it left is replaced", "[e2e][proxy]") {
    const Rig rig(Family::ipv4);
    const std::string before = rig.network_state();
    must(rig.network.gateway.run([&] {
        std::array<int, 2> ready{};
        REQUIRE(::pipe(ready.data()) == 0);
        const pid_t child = ::fork();
        if (child == 0) {
            const auto started = Interception::start({.lan = {"lan"}, .back = {"up0"}});
            const char is_ready = started && started->offer(true);
            if (::write(ready[1], &is_ready, 1) == 1)
                ::pause();
            ::_exit(1);
        }
        const CleanupGuard guard([child] { ::kill(child, SIGKILL); });
        char is_ready = 0;
        REQUIRE(::read(ready[0], &is_ready, 1) == 1);
        REQUIRE(is_ready);
        CHECK(rig.connect(rig.origin(), 7000).error == 0);
        REQUIRE(::kill(child, SIGKILL) == 0);
        REQUIRE(::waitpid(child, nullptr, 0) == child);
        for (const int fd : ready)
            ::close(fd);
        CHECK(rig.connect(rig.origin(), 7000).error == ECONNREFUSED);
        CHECK(rig.network_state() != before);
        const auto started = Interception::start({.lan = {"lan"}});
        REQUIRE(started);
        REQUIRE(started->offer(true));
        CHECK(rig.connect(rig.origin(), 7000).error == 0);
    }));
    CHECK(rig.network_state() == before);
}
