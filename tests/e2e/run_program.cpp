// SPDX-License-Identifier: MIT
//
// A program that knows nothing of MPTCP, linked statically: makes TCP sockets and tells what the kernel made of them.
#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string_view>
#include <thread>
#include <vector>

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace {

constexpr int mptcp = 262; // IPPROTO_MPTCP

int tcp_socket(int domain = AF_INET, int flags = 0) { return ::socket(domain, SOCK_STREAM | flags, 0); }

int option(int fd, int level, int name) {
    int value = -1;
    socklen_t size = sizeof(value);
    ::getsockopt(fd, level, name, &value, &size);
    return value;
}

int protocol_of(int fd) { return option(fd, SOL_SOCKET, SO_PROTOCOL); }

// "protocol user close-on-exec nonblocking"
int tell_one(int domain) {
    const int fd = tcp_socket(domain, SOCK_CLOEXEC | SOCK_NONBLOCK);
    struct stat found{};
    if (fd < 0 || ::fstat(fd, &found) != 0)
        return 1;
    std::printf("%d %u %d %d\n", protocol_of(fd), found.st_uid, (::fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0,
                (::fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
    return 0;
}

// "mptcp tcp failed", of `count` in four threads.
int tell_many(int count) {
    int made[4][3]{};
    std::vector<std::thread> threads;
    for (auto &mine : made)
        threads.emplace_back([&mine, count] {
            for (int i = 0; i < count / 4; i++) {
                const int fd = tcp_socket();
                mine[fd < 0 ? 2 : protocol_of(fd) == mptcp ? 0 : 1]++;
                if (fd >= 0)
                    ::close(fd);
            }
        });
    for (std::thread &thread : threads)
        thread.join();
    int sums[3]{};
    for (const auto &mine : made)
        for (int i = 0; i < 3; i++)
            sums[i] += mine[i];
    std::printf("%d %d %d\n", sums[0], sums[1], sums[2]);
    return 0;
}

// A listener that its options are set on when it listens already, as routing daemons do: "before after set port listening reuse"
int tell_signed() {
    const int fd = tcp_socket(), on = 1;
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(1790);
    ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (::bind(fd, reinterpret_cast<sockaddr *>(&address), sizeof(address)) != 0 || ::listen(fd, 4) != 0)
        return 1;
    const int before = protocol_of(fd);
    tcp_md5sig key{};
    std::memcpy(&key.tcpm_addr, &address, sizeof(address));
    key.tcpm_keylen = 3;
    std::memcpy(key.tcpm_key, "key", 3);
    const int set = ::setsockopt(fd, IPPROTO_TCP, TCP_MD5SIG, &key, sizeof(key));
    sockaddr_in now{};
    socklen_t length = sizeof(now);
    ::getsockname(fd, reinterpret_cast<sockaddr *>(&now), &length);
    std::printf("%d %d %d %d %d %d\n", before, protocol_of(fd), set == 0 ? 0 : errno, ntohs(now.sin_port),
                option(fd, SOL_SOCKET, SO_ACCEPTCONN), option(fd, SOL_SOCKET, SO_REUSEADDR));
    return 0;
}

// A connection to itself, which has to carry something after SIGUSR1: "protocol octets next", where next is the protocol of another
// socket, or -errno.
int tell_talk() {
    sigset_t wanted;
    ::sigemptyset(&wanted);
    ::sigaddset(&wanted, SIGUSR1);
    ::sigprocmask(SIG_BLOCK, &wanted, nullptr);
    const int listener = tcp_socket(), client = tcp_socket();
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof(address);
    if (::bind(listener, reinterpret_cast<sockaddr *>(&address), length) != 0 || ::listen(listener, 1) != 0 ||
        ::getsockname(listener, reinterpret_cast<sockaddr *>(&address), &length) != 0 ||
        ::connect(client, reinterpret_cast<sockaddr *>(&address), length) != 0)
        return 1;
    const int accepted = ::accept(listener, nullptr, nullptr);
    int signal = 0;
    ::sigwait(&wanted, &signal);
    constexpr std::size_t octets = 100'000;
    std::thread writer([client] {
        const std::vector<char> all(octets, 'm');
        for (std::size_t sent = 0; sent < octets;) {
            const ssize_t some = ::write(client, all.data() + sent, octets - sent);
            if (some <= 0)
                return;
            sent += static_cast<std::size_t>(some);
        }
    });
    std::vector<char> room(octets);
    std::size_t got = 0;
    for (ssize_t some = 1; some > 0 && got < octets; got += some > 0 ? static_cast<std::size_t>(some) : 0)
        some = ::read(accepted, room.data(), room.size());
    writer.join();
    const int next = tcp_socket();
    std::printf("%d %zu %d\n", protocol_of(accepted), got, next < 0 ? -errno : protocol_of(next));
    return 0;
}

// Nanoseconds of socket() and close() together, the least of several rounds: "nanoseconds protocol"
int tell_cost() {
    double least = 1e12;
    int protocol = 0;
    for (int round = 0; round < 6; round++) {
        constexpr int sockets = 300;
        timespec begun{}, ended{};
        ::clock_gettime(CLOCK_MONOTONIC, &begun);
        for (int i = 0; i < sockets; i++) {
            const int fd = tcp_socket();
            if (i == 0)
                protocol = protocol_of(fd);
            ::close(fd);
        }
        ::clock_gettime(CLOCK_MONOTONIC, &ended);
        const double took = 1e9 * static_cast<double>(ended.tv_sec - begun.tv_sec) +
                            static_cast<double>(ended.tv_nsec - begun.tv_nsec);
        least = std::min(least, took / sockets);
    }
    std::printf("%.0f %d\n", least, protocol);
    return 0;
}

// What the kernel refuses is refused: "errno errno errno"
int tell_refused() {
    const int unknown_flag = ::socket(AF_INET, SOCK_STREAM | 0x100000, 0) < 0 ? errno : 0;
    const int datagram = ::socket(AF_INET, SOCK_DGRAM, IPPROTO_TCP) < 0 ? errno : 0;
    ::close(0);
    int full = 0;
    while ((full = tcp_socket()) >= 0)
        ;
    std::printf("%d %d %d\n", unknown_flag, datagram, errno);
    return 0;
}

} // namespace

int main(int argc, char **argv) {
    const std::string_view what = argc > 1 ? argv[1] : "";
    if (what == "one")
        return tell_one(argc > 2 ? AF_INET6 : AF_INET);
    if (what == "many" && argc > 2)
        return tell_many(std::atoi(argv[2]));
    if (what == "signed")
        return tell_signed();
    if (what == "talk")
        return tell_talk();
    if (what == "cost")
        return tell_cost();
    if (what == "refused")
        return tell_refused();
    return 2;
}
