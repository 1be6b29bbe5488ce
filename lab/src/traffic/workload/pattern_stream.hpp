// SPDX-License-Identifier: MIT
// A connection whose contents come from one fixed block and are compared with it: nothing is hashed, so that in a VM the
// emulated processor is not what is measured. Private to lab/src.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <span>

#include "../stream.hpp"
#include "orders.hpp"

namespace mps::lab::traffic {

/// Counts how long a receiver gets nothing while it is owed something.
struct GapMeter {
    std::int64_t last_ns = 0;
    std::int64_t longest_ns = 0;

    void owed_since(std::int64_t when_ns) { last_ns = when_ns; }
    void arrived() {
        const auto now = now_ns();
        longest_ns = std::max(longest_ns, now - last_ns);
        last_ns = now;
    }
};

class PatternStream : public Stream {
  public:
    /// `fd` and `abort` must outlive it.
    PatternStream(int fd, const std::atomic<bool> &abort);

    /// `head`, then `bytes` of contents.
    Result<void> send_pattern(std::span<const std::uint8_t> head, std::uint64_t bytes);
    /// Contents, compared. Ends early, with what came, only if `bytes` is without_end.
    Result<std::uint64_t> receive_pattern(std::uint64_t bytes, GapMeter &gaps,
                                          std::atomic<std::uint64_t> *delivered = nullptr);

  private:
    static constexpr std::size_t piece_bytes = 64 * 1024;
    std::array<std::uint8_t, piece_bytes> buffer_{};
};

} // namespace mps::lab::traffic
