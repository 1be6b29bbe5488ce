// SPDX-License-Identifier: MIT
#include "app_sockets.hpp"

#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <mpsched/lab/mptcp.hpp>

namespace mps::e2e {

using namespace mps::lab;

namespace {

void set_timeouts(int fd) {
    const timeval moment{.tv_sec = 0, .tv_usec = 50'000};
    REQUIRE(::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &moment, sizeof moment) == 0);
    REQUIRE(::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &moment, sizeof moment) == 0);
}

std::size_t established(int fd) {
    const auto sample = sample_connection(fd);
    std::size_t count = 0;
    for (const auto &subflow : sample ? sample->subflows : std::vector<SubflowSample>{})
        count += subflow.tcp_state == 1;
    return count;
}

} // namespace

Fd make_socket(const Namespace &ns, int protocol) {
    return must(ns.run([&]() -> Result<Fd> {
        Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, protocol));
        if (!fd)
            return std::unexpected(Error{.what = "no socket"});
        return fd;
    }));
}

int set_option(int fd, int option, const void *value, std::size_t length) {
    return ::setsockopt(fd, MPSCHED_SOL_MPTCP, option, value, static_cast<socklen_t>(length)) ? errno : 0;
}

int set_policy(int fd, std::string_view name, unsigned direction) {
    mpsched_policy wish{};
    wish.direction = direction;
    name.copy(wish.name, sizeof wish.name - 1);
    return set_option(fd, MPSCHED_POLICY, &wish, sizeof wish);
}

int set_number(int fd, int option, unsigned long long value) {
    const mpsched_number wish{.value = value};
    return set_option(fd, option, &wish, sizeof wish);
}

int avoid(int fd, const std::vector<unsigned> &interfaces) {
    mpsched_avoid wish{};
    for (const unsigned ifindex : interfaces)
        wish.ifindex[wish.count++] = ifindex;
    return set_option(fd, MPSCHED_AVOID, &wish, sizeof wish);
}

mpsched_state state_of(int fd) {
    mpsched_state state{};
    socklen_t length = sizeof state;
    REQUIRE(::getsockopt(fd, MPSCHED_SOL_MPTCP, MPSCHED_STATE, &state, &length) == 0);
    REQUIRE(length == sizeof state);
    return state;
}

std::vector<mpsched_subflow> subflows_of(int fd) {
    mpsched_subflows all{};
    socklen_t length = sizeof all;
    REQUIRE(::getsockopt(fd, MPSCHED_SOL_MPTCP, MPSCHED_SUBFLOWS, &all, &length) == 0);
    REQUIRE(all.entry_bytes == sizeof(mpsched_subflow));
    REQUIRE(all.filled == all.count);
    REQUIRE(length == offsetof(mpsched_subflows, subflow) + all.filled * sizeof(mpsched_subflow));
    return {all.subflow, all.subflow + all.filled};
}

Listener::Listener(const Network &network, Side side)
    : fd_(make_socket(side == Side::b ? network.b() : network.a(), IPPROTO_MPTCP)) {
    address_ = endpoint(network.address(side, 0), 0);
    REQUIRE(::bind(fd_.get(), reinterpret_cast<sockaddr *>(&address_), sizeof address_) == 0);
    REQUIRE(::listen(fd_.get(), 16) == 0);
    socklen_t length = sizeof address_;
    REQUIRE(::getsockname(fd_.get(), reinterpret_cast<sockaddr *>(&address_), &length) == 0);
}

Pair::Pair(Fd socket, const Listener &listener, std::size_t subflows) : client(std::move(socket)) {
    const sockaddr_in address = listener.address();
    REQUIRE(::connect(client.get(), reinterpret_cast<const sockaddr *>(&address), sizeof address) == 0);
    accepted = Fd(::accept4(listener.fd(), nullptr, nullptr, SOCK_CLOEXEC));
    REQUIRE(accepted);
    // Joins follow the first data.
    char octet = 'x';
    for (const auto &[from, to] : {std::pair{client.get(), accepted.get()}, {accepted.get(), client.get()}}) {
        REQUIRE(::write(from, &octet, 1) == 1);
        REQUIRE(::read(to, &octet, 1) == 1);
    }
    const auto ready = [&] {
        return established(client.get()) >= subflows && established(accepted.get()) >= subflows;
    };
    REQUIRE(wait_until(ready, 10s) >= 0);
    std::this_thread::sleep_for(20ms); // see TransferSpec::settle
    set_timeouts(client.get());
    set_timeouts(accepted.get());
}

Flow::Flow(int from, int to)
    : writer_([this, from] {
          const std::vector<char> piece(65536, 'm');
          while (!stop_)
              std::ignore = ::send(from, piece.data(), piece.size(), MSG_NOSIGNAL);
      }),
      reader_([this, to] {
          std::vector<char> piece(1 << 18);
          while (!stop_)
              std::ignore = ::recv(to, piece.data(), piece.size(), 0);
          // What is under way yet would be in the way of the next.
          while (::recv(to, piece.data(), piece.size(), 0) > 0)
              ;
      }) {}

Flow::~Flow() { stop_ = true; }

} // namespace mps::e2e
