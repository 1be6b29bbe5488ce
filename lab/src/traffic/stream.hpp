// SPDX-License-Identifier: MIT
// Sending and receiving on a connection. Private to lab/src.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

#include <mpsched/lab/error.hpp>

#include <sys/uio.h>

namespace mps::lab::traffic {

/// Waits until poll() tells one of `events`. ETIMEDOUT at the deadline, and ECANCELED soon after `abort`.
Result<void> wait_for_event(int fd, short events, std::chrono::steady_clock::time_point deadline,
                            const std::atomic<bool> &abort);

/// What whoever was told to abort returns.
std::unexpected<Error> aborted();

/// Blocking-style I/O on a non-blocking socket that gives up after a stall and at once when told to.
class Stream {
  public:
    using Clock = std::chrono::steady_clock;

    /// `fd` and `abort` must outlive it.
    Stream(int fd, std::chrono::milliseconds stall_timeout, const std::atomic<bool> &abort)
        : fd_(fd), stall_timeout_(stall_timeout), abort_(abort) {}

    /// As much as the kernel takes in one call, at least one byte.
    Result<std::size_t> send_some(std::span<iovec> pieces);
    Result<void> send(std::span<const std::uint8_t> data);
    /// What is there, at least one byte; 0 at the end of the peer's direction.
    Result<std::size_t> receive_some(std::span<std::uint8_t> into);
    /// All of it, or an error.
    Result<void> receive(std::span<std::uint8_t> into);
    /// True when the peer closed its direction (nothing of it is consumed otherwise).
    bool peer_finished() const;
    /// No time limit until the first byte arrives: a long-lived connection may idle.
    Result<void> wait_readable();
    /// Sleeps. False if told to abort.
    bool wait_until(Clock::time_point when) const;
    int fd() const { return fd_; }

    template <class T>
    Result<void> send_value(const T &value) {
        return send(bytes_of(value));
    }
    template <class T>
    Result<T> receive_value() {
        static_assert(std::is_trivially_copyable_v<T>);
        T value{};
        auto got = receive({reinterpret_cast<std::uint8_t *>(&value), sizeof(value)});
        return got ? Result<T>(value) : Result<T>(std::unexpected(got.error()));
    }
    template <class T>
    static std::span<const std::uint8_t> bytes_of(const T &value) {
        static_assert(std::is_trivially_copyable_v<T>);
        return {reinterpret_cast<const std::uint8_t *>(&value), sizeof(value)};
    }

  private:
    Result<void> wait_for(short events);

    int fd_;
    std::chrono::milliseconds stall_timeout_;
    const std::atomic<bool> &abort_;
};

} // namespace mps::lab::traffic
