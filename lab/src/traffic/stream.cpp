// SPDX-License-Identifier: MIT
#include "stream.hpp"

#include "base/try.hpp"

#include <algorithm>
#include <cerrno>
#include <thread>

#include <poll.h>
#include <sys/socket.h>

namespace mps::lab::traffic {
namespace {

// Upper bound for noticing an abort.
constexpr auto abort_check = std::chrono::milliseconds(50);

} // namespace

std::unexpected<Error> aborted() { return fail("the transfer was aborted", "", ECANCELED); }

Result<void> wait_for_event(int fd, short events, std::chrono::steady_clock::time_point deadline,
                            const std::atomic<bool> &abort) {
    for (;;) {
        if (abort) {
            return aborted();
        }
        pollfd ready{fd, events, 0};
        const int n = ::poll(&ready, 1, static_cast<int>(abort_check.count()));
        if (n > 0) {
            return {};
        }
        if (n < 0 && errno != EINTR) {
            return os_error("wait for", "a connection", errno);
        }
        if (std::chrono::steady_clock::now() >= deadline) {
            return os_error("make progress on", "a connection", ETIMEDOUT);
        }
    }
}

Result<void> Stream::wait_for(short events) {
    return wait_for_event(fd_, events, Clock::now() + stall_timeout_, abort_);
}

Result<void> Stream::wait_readable() { return wait_for_event(fd_, POLLIN, Clock::time_point::max(), abort_); }

bool Stream::wait_until(Clock::time_point when) const {
    while (!abort_ && Clock::now() < when) {
        std::this_thread::sleep_for(std::min<Clock::duration>(when - Clock::now(), abort_check));
    }
    return !abort_;
}

Result<std::size_t> Stream::send_some(std::span<iovec> pieces) {
    msghdr message{};
    message.msg_iov = pieces.data();
    message.msg_iovlen = pieces.size();
    for (;;) {
        if (abort_) {
            return aborted();
        }
        const auto n = ::sendmsg(fd_, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0) {
            return static_cast<std::size_t>(n);
        }
        if (n < 0 && errno != EAGAIN && errno != EINTR) {
            return os_error("send on", "a connection", errno);
        }
        if (auto ready = wait_for(POLLOUT); !ready) {
            return std::unexpected(ready.error());
        }
    }
}

Result<void> Stream::send(std::span<const std::uint8_t> data) {
    while (!data.empty()) {
        iovec piece{const_cast<std::uint8_t *>(data.data()), data.size()};
        const auto sent = send_some({&piece, 1});
        MPS_TRY(sent);
        data = data.subspan(*sent);
    }
    return {};
}

Result<std::size_t> Stream::receive_some(std::span<std::uint8_t> into) {
    for (;;) {
        if (abort_) {
            return aborted();
        }
        const auto n = ::recv(fd_, into.data(), into.size(), MSG_DONTWAIT);
        if (n >= 0) {
            return static_cast<std::size_t>(n);
        }
        if (errno != EAGAIN && errno != EINTR) {
            return os_error("receive on", "a connection", errno);
        }
        if (auto ready = wait_for(POLLIN); !ready) {
            return std::unexpected(ready.error());
        }
    }
}

Result<void> Stream::receive(std::span<std::uint8_t> into) {
    while (!into.empty()) {
        const auto got = receive_some(into);
        MPS_TRY(got);
        if (*got == 0) {
            return fail("the peer closed a connection before its end", "", ECONNABORTED);
        }
        into = into.subspan(*got);
    }
    return {};
}

bool Stream::peer_finished() const {
    std::uint8_t byte = 0;
    return ::recv(fd_, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

} // namespace mps::lab::traffic
