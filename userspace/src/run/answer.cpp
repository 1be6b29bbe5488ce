// SPDX-License-Identifier: MIT
#include "run/answer.hpp"

#include <cerrno>
#include <cstdio>
#include <optional>

#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.hpp"

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

namespace mps::run {

namespace {

constexpr std::uint32_t known_type_bits = 0xf | SOCK_NONBLOCK | SOCK_CLOEXEC;

// The kernel looks at these 32 bits; what a program leaves in the others means nothing.
std::uint32_t argument(const seccomp_notif &call, int index) {
    return static_cast<std::uint32_t>(call.data.args[index]);
}

std::string in_proc(std::uint32_t pid, const char *name) { return fmt::format("/proc/{}/{}", pid, name); }

// Namespaces are equal where device and inode are.
struct Namespace {
    dev_t device = 0;
    ino_t inode = 0;
    friend bool operator==(const Namespace &, const Namespace &) = default;
};

std::optional<Namespace> namespace_of(const std::string &path) {
    struct stat found{};
    if (::stat(path.c_str(), &found) != 0)
        return {};
    return Namespace{found.st_dev, found.st_ino};
}

// The process of a thread, and whom it makes its files for: its file system user and group.
struct Task {
    pid_t process = 0;
    uid_t user = 0;
    gid_t group = 0;
};

std::optional<Task> task_of(std::uint32_t thread) {
    std::FILE *file = std::fopen(in_proc(thread, "status").c_str(), "re");
    if (file == nullptr)
        return {};
    Task task;
    int found = 0;
    for (char line[256]; found < 3 && std::fgets(line, sizeof(line), file) != nullptr;)
        found += std::sscanf(line, "Tgid: %d", &task.process) == 1 ||
                 std::sscanf(line, "Uid: %*u %*u %*u %u", &task.user) == 1 ||
                 std::sscanf(line, "Gid: %*u %*u %*u %u", &task.group) == 1;
    std::fclose(file);
    return found == 3 ? std::optional(task) : std::nullopt;
}

// Sockets belong to the network namespace of the thread that makes them. This enters another one for as long as it lives.
class Visit {
  public:
    explicit Visit(std::uint32_t pid) : home_(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)) {
        const Fd there(::open(in_proc(pid, "ns/net").c_str(), O_RDONLY | O_CLOEXEC));
        entered_ = home_ && there && ::setns(there.get(), CLONE_NEWNET) == 0;
    }
    ~Visit() {
        // Whoever cannot come back must not make sockets for anybody.
        if (entered_ && ::setns(home_.get(), CLONE_NEWNET) != 0)
            ::_exit(1);
    }
    Visit(const Visit &) = delete;
    Visit &operator=(const Visit &) = delete;
    [[nodiscard]] bool entered() const { return entered_; }

  private:
    Fd home_;
    bool entered_ = false;
};

struct Wanted {
    int domain, type, protocol;
};

// A socket as the process would have made it; errno says why there is none.
Fd make_socket(const seccomp_notif &call, const Wanted &wanted) {
    Fd made(::socket(wanted.domain, wanted.type | SOCK_CLOEXEC, wanted.protocol));
    if (made && ::geteuid() == 0) {
        const auto task = task_of(call.pid);
        // The socket's user is what rules of firewalls, and ours, go by (sockfs_setattr(), net/socket.c).
        if (task && (task->user != 0 || task->group != 0) &&
            ::fchown(made.get(), task->user, task->group) != 0)
            made.reset();
    }
    return made;
}

Fd make_in_namespace_of(const seccomp_notif &call, const Wanted &wanted, Plain &why_not) {
    static const auto home = namespace_of("/proc/self/ns/net");
    const auto there = namespace_of(in_proc(call.pid, "ns/net"));
    why_not = Plain::refused;
    if (home && there == home)
        return make_socket(call, wanted);
    const Visit visit(call.pid);
    if (visit.entered())
        return make_socket(call, wanted);
    why_not = Plain::netns;
    return {};
}

bool is_still_there(int listener, std::uint64_t id) {
    return ::ioctl(listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &id) == 0;
}

// The process gets `made` as what its call returns. False, with errno, if that cannot be.
bool hand_over(int listener, const seccomp_notif &call, const Fd &made) {
    seccomp_notif_addfd reply{};
    reply.id = call.id;
    reply.flags = SECCOMP_ADDFD_FLAG_SEND;
    reply.srcfd = static_cast<std::uint32_t>(made.get());
    reply.newfd_flags = (argument(call, 1) & SOCK_CLOEXEC) != 0 ? O_CLOEXEC : 0;
    return ::ioctl(listener, SECCOMP_IOCTL_NOTIF_ADDFD, &reply) >= 0;
}

void refuse(int listener, std::uint64_t id, int error) {
    seccomp_notif_resp reply{};
    reply.id = id;
    reply.error = -error;
    ::ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &reply);
}

void answer_socket(int listener, const seccomp_notif &call, Ledger &ledger) {
    // The kernel refuses unknown bits, and one that knows more than we do shall decide about them.
    if ((argument(call, 1) & ~known_type_bits) != 0) {
        let_go_on(listener, call.id);
        return;
    }
    Plain why_not = Plain::refused;
    const Wanted wanted{static_cast<int>(argument(call, 0)), static_cast<int>(argument(call, 1)),
                        IPPROTO_MPTCP};
    const Fd made = make_in_namespace_of(call, wanted, why_not);
    // What was read of /proc was of this process, and not of one that got its number meanwhile.
    if (!is_still_there(listener, call.id))
        return;
    if (!made) {
        ledger.count(why_not);
        let_go_on(listener, call.id);
        return;
    }
    if (hand_over(listener, call, made))
        ledger.mptcp++;
    else if (errno == EMFILE)
        refuse(listener, call.id, EMFILE);
    else if (let_go_on(listener, call.id))
        ledger.count(Plain::unhandled);
}

int option_of(int fd, int level, int option) {
    int value = 0;
    socklen_t size = sizeof(value);
    return ::getsockopt(fd, level, option, &value, &size) == 0 ? value : -1;
}

// What a program may have set before it comes to the option that MPTCP lacks.
void make_alike(int from, int to) {
    for (const int option : {SO_REUSEADDR, SO_REUSEPORT, SO_KEEPALIVE, SO_MARK, SO_PRIORITY})
        if (const int value = option_of(from, SOL_SOCKET, option); value > 0)
            ::setsockopt(to, SOL_SOCKET, option, &value, sizeof(value));
    if (const int value = option_of(from, IPPROTO_IPV6, IPV6_V6ONLY); value >= 0)
        ::setsockopt(to, IPPROTO_IPV6, IPV6_V6ONLY, &value, sizeof(value));
    if (const int flags = ::fcntl(from, F_GETFL); flags >= 0)
        ::fcntl(to, F_SETFL, flags);
}

// An address, with a port if the socket is bound.
struct Bound {
    sockaddr_storage address{};
    socklen_t length = sizeof(address);
    bool listening = false;

    explicit Bound(int fd) : listening(option_of(fd, SOL_SOCKET, SO_ACCEPTCONN) == 1) {
        ::getsockname(fd, reinterpret_cast<sockaddr *>(&address), &length);
    }
    // The port of both families stands in the same place.
    [[nodiscard]] bool has_port() const {
        return reinterpret_cast<const sockaddr_in *>(&address)->sin_port != 0;
    }
    void give(int fd) const {
        if (has_port() && ::bind(fd, reinterpret_cast<const sockaddr *>(&address), length) == 0 && listening)
            ::listen(fd, SOMAXCONN);
    }
};

bool is_connected(int fd) {
    sockaddr_storage peer{};
    socklen_t length = sizeof(peer);
    return ::getpeername(fd, reinterpret_cast<sockaddr *>(&peer), &length) == 0;
}

// The process's descriptor becomes a TCP socket, bound and listening like the one before, and its call goes on with that.
bool put_tcp_in_place(int listener, const seccomp_notif &call) {
    const int target = static_cast<int>(argument(call, 0));
    const auto task = task_of(call.pid);
    const Fd process(task ? static_cast<int>(::syscall(SYS_pidfd_open, task->process, 0)) : -1);
    Fd old(process ? static_cast<int>(::syscall(SYS_pidfd_getfd, process.get(), target, 0)) : -1);
    if (!old || !is_still_there(listener, call.id) || is_connected(old.get()) ||
        option_of(old.get(), SOL_SOCKET, SO_PROTOCOL) != IPPROTO_MPTCP)
        return false;
    Plain why_not = Plain::refused;
    const Fd made = make_in_namespace_of(
        call, {option_of(old.get(), SOL_SOCKET, SO_DOMAIN), SOCK_STREAM, IPPROTO_TCP}, why_not);
    if (!made)
        return false;
    make_alike(old.get(), made.get());
    const Bound bound(old.get());
    seccomp_notif_addfd reply{};
    reply.id = call.id;
    reply.flags = SECCOMP_ADDFD_FLAG_SETFD;
    reply.srcfd = static_cast<std::uint32_t>(made.get());
    reply.newfd = static_cast<std::uint32_t>(target);
    reply.newfd_flags = O_CLOEXEC; // which nobody can read of another process
    if (::ioctl(listener, SECCOMP_IOCTL_NOTIF_ADDFD, &reply) < 0)
        return false;
    old.reset(); // only now its address is free
    bound.give(made.get());
    return true;
}

} // namespace

bool let_go_on(int listener, std::uint64_t id) {
    seccomp_notif_resp reply{};
    reply.id = id;
    reply.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
    return ::ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &reply) == 0;
}

void answer(int listener, const seccomp_notif &call, Ledger &ledger) {
    // The filter asks about two calls, and a stream socket's type is never 6.
    if (argument(call, 1) != IPPROTO_TCP) {
        answer_socket(listener, call, ledger);
        return;
    }
    if (put_tcp_in_place(listener, call))
        ledger.count(Plain::option);
    let_go_on(listener, call.id);
}

} // namespace mps::run
