// SPDX-License-Identifier: MIT
// How the laboratory's client and server talk. Private to lab/src.
//
// A connection starts with a Hello from the client. After that each direction carries frames: a 32-bit length
// and that many bytes of contents. A frame of length 0 ends the direction and is followed by a Trailer. The
// receiver of an upload answers the trailer with a Verdict. Byte order is the machine's: both ends are one
// process.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <type_traits>
#include <vector>

#include <mpsched/lab/error.hpp>

struct evp_md_ctx_st;

namespace mps::lab::wire {

inline constexpr std::uint32_t hello_magic = 0x6d70734c;   // "mpsL"
inline constexpr std::uint32_t verdict_magic = 0x6d707356; // "mpsV"
inline constexpr std::uint32_t piece_bytes = 64 * 1024;
inline constexpr std::uint32_t max_frame_bytes = 64 * 1024 * 1024;

enum class Mode : std::uint8_t { upload = 1, download = 2, requests = 3 };

struct Hello {
    std::uint32_t magic;
    Mode mode;
    std::uint8_t verify;
    std::uint8_t pad[2];
    std::uint64_t seed;
    std::uint64_t bytes; // of a download; 0 has no limit
    std::uint32_t response_bytes;
    std::uint32_t pad2;
};
static_assert(sizeof(Hello) == 32);

using Digest = std::array<std::uint8_t, 32>;

struct Trailer {
    std::uint64_t bytes;
    Digest sha256; // zero without verification
};
static_assert(sizeof(Trailer) == 40);

struct Verdict {
    std::uint32_t magic; // a damaged verdict is no verdict on the contents
    std::uint32_t same;  // 1: number of bytes and digest are what the trailer says
    std::uint64_t bytes;
    std::uint64_t wrong_bytes; // that are not what the seed in the greeting gives
    std::uint64_t first_wrong; // offset of the first of them
};
static_assert(sizeof(Verdict) == 32);

/// SHA-256 by libcrypto.
class Sha256 {
  public:
    Sha256();
    void update(std::span<const std::uint8_t> data);
    Digest finish();

  private:
    std::unique_ptr<evp_md_ctx_st, void (*)(evp_md_ctx_st *)> context_;
};

/// Reproducible contents (splitmix64).
class Contents {
  public:
    explicit Contents(std::uint64_t seed) : state_(seed) {}
    void fill(std::span<std::uint8_t> into);

  private:
    std::uint64_t state_;
};

/// Blocking-style I/O on a non-blocking socket that gives up after a stall and at once when told to.
class Stream {
  public:
    /// `fd` and `abort` must outlive it.
    Stream(int fd, std::chrono::milliseconds stall_timeout, const std::atomic<bool> &abort)
        : fd_(fd), stall_timeout_(stall_timeout), abort_(abort) {}

    Result<void> send(std::span<const std::uint8_t> data);
    Result<void> receive(std::span<std::uint8_t> into);
    /// True when the peer closed its direction (nothing of it is consumed otherwise).
    bool peer_finished() const;
    /// No time limit until the first byte arrives: a long-lived connection may idle.
    Result<void> wait_readable();

    template <class T>
    Result<void> send_value(const T &value) {
        static_assert(std::is_trivially_copyable_v<T>);
        return send({reinterpret_cast<const std::uint8_t *>(&value), sizeof(value)});
    }
    template <class T>
    Result<T> receive_value() {
        static_assert(std::is_trivially_copyable_v<T>);
        T value{};
        auto got = receive({reinterpret_cast<std::uint8_t *>(&value), sizeof(value)});
        return got ? Result<T>(value) : Result<T>(std::unexpected(got.error()));
    }

  private:
    Result<void> wait_for(short events, std::chrono::steady_clock::time_point deadline);

    int fd_;
    std::chrono::milliseconds stall_timeout_;
    const std::atomic<bool> &abort_;
};

/// Sends contents in frames until `limit` bytes (0: no limit) or until `stop()` says so between two frames,
/// then the trailer. `progress` counts bytes handed to the kernel.
Result<std::uint64_t> send_contents(Stream &stream, std::uint64_t seed, bool verify, std::uint64_t limit,
                                    const std::function<bool()> &stop, std::atomic<std::uint64_t> &progress);

struct Received {
    std::uint64_t bytes = 0;
    bool complete = false; // as many bytes as the trailer says
    bool verified = false; // and the same digest
    std::uint64_t wrong_bytes = 0;
    std::uint64_t first_wrong = 0;
};

/// Receives frames until the trailer. With `verify` it also tells where contents differ from what `seed` gives.
Result<Received> receive_contents(Stream &stream, std::uint64_t seed, bool verify,
                                  std::atomic<std::uint64_t> &progress);

} // namespace mps::lab::wire
