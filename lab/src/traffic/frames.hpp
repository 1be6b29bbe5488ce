// SPDX-License-Identifier: MIT
// How the two ends of a Transfer talk. Private to lab/src.
//
// A connection starts with a Hello from the client. After that each direction carries frames: a 32-bit length
// and that many bytes of contents. A frame of length 0 ends the direction and is followed by a Trailer. The
// receiver of an upload answers the trailer with a Verdict. Byte order is the machine's: both ends are one
// process.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>

#include <mpsched/lab/error.hpp>

#include "contents.hpp"
#include "stream.hpp"

namespace mps::lab::traffic {

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

} // namespace mps::lab::traffic
