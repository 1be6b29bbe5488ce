// SPDX-License-Identifier: MIT
#pragma once

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <expected>
#include <utility>

namespace mps {

// Owns a file descriptor. -1 means empty.
class Fd {
  public:
    Fd() = default;
    explicit Fd(int fd) : fd_(fd) {}
    Fd(Fd &&other) noexcept : fd_(other.release()) {}
    Fd &operator=(Fd &&other) noexcept {
        if (this != &other)
            reset(other.release());
        return *this;
    }
    Fd(const Fd &) = delete;
    Fd &operator=(const Fd &) = delete;
    ~Fd() { reset(); }

    void reset(int fd = -1) {
        if (fd_ >= 0)
            ::close(fd_);
        fd_ = fd;
    }
    // Whoever takes it closes it.
    [[nodiscard]] int release() { return std::exchange(fd_, -1); }
    [[nodiscard]] int get() const { return fd_; }
    [[nodiscard]] explicit operator bool() const { return fd_ >= 0; }

    // A second descriptor for what `fd` (owned by someone else) refers to.
    [[nodiscard]] static Fd duplicate(int fd) { return Fd(::fcntl(fd, F_DUPFD_CLOEXEC, 0)); }

  private:
    int fd_ = -1;
};

struct Pipe {
    Fd read{};
    Fd write{};
};

// Both ends are closed by exec. The error is an errno.
[[nodiscard]] inline std::expected<Pipe, int> make_pipe() {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0)
        return std::unexpected(errno);
    return Pipe{Fd(ends[0]), Fd(ends[1])};
}

// Two Unix sockets that are connected with each other; `type` is SOCK_STREAM or the like.
[[nodiscard]] inline std::expected<std::pair<Fd, Fd>, int> make_socket_pair(int type) {
    std::array<int, 2> ends{};
    if (::socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends.data()) != 0)
        return std::unexpected(errno);
    return std::pair(Fd(ends[0]), Fd(ends[1]));
}

} // namespace mps
