// SPDX-License-Identifier: MIT
#include "pattern_stream.hpp"

#include "base/try.hpp"

#include <cerrno>
#include <random>

#include <fmt/format.h>

namespace mps::lab::traffic {
namespace {

using namespace std::chrono_literals;

// A scenario may well leave both paths dead for a while; far longer than that is a hang.
constexpr auto stall_timeout = 120s;
constexpr std::size_t piece_bytes = 64 * 1024;
constexpr std::size_t max_pieces = 64;
constexpr std::size_t period = 65521; // prime, so that a shift by a whole buffer does not look right

const std::array<std::uint8_t, period + piece_bytes> &pattern() {
    static const auto block = [] {
        std::array<std::uint8_t, period + piece_bytes> bytes{};
        std::mt19937 random(1);
        for (std::size_t i = 0; i < bytes.size(); ++i) {
            bytes[i] = i < period ? static_cast<std::uint8_t>(random()) : bytes[i - period];
        }
        return bytes;
    }();
    return block;
}

std::span<const std::uint8_t> contents(std::uint64_t offset, std::uint64_t bytes) {
    return std::span(pattern()).subspan(offset % period, std::min<std::uint64_t>(bytes, piece_bytes));
}

} // namespace

PatternStream::PatternStream(int fd, const std::atomic<bool> &abort) : Stream(fd, stall_timeout, abort) {}

Result<void> PatternStream::send_pattern(std::span<const std::uint8_t> head, std::uint64_t bytes) {
    for (std::uint64_t offset = 0; !head.empty() || offset < bytes;) {
        // All of it in one call, as programs do: the kernel would push each piece, with a small segment at its
        // end, and Nagle's rule would then hold back the end of the next.
        std::array<iovec, 1 + max_pieces> pieces{};
        std::size_t count = 0;
        pieces[count++] = {const_cast<std::uint8_t *>(head.data()), head.size()};
        for (auto at = offset; at < bytes && count < pieces.size();) {
            const auto body = contents(at, bytes - at);
            pieces[count++] = {const_cast<std::uint8_t *>(body.data()), body.size()};
            at += body.size();
        }
        const auto sent = send_some(std::span(pieces).first(count));
        MPS_TRY(sent);
        const auto of_head = std::min(*sent, head.size());
        head = head.subspan(of_head);
        offset += *sent - of_head;
    }
    return {};
}

Result<std::uint64_t> PatternStream::receive_pattern(std::uint64_t bytes, GapMeter &gaps,
                                                     std::atomic<std::uint64_t> *delivered) {
    std::uint64_t offset = 0;
    while (offset < bytes) {
        const auto got =
            receive_some(std::span(buffer_).first(std::min<std::uint64_t>(buffer_.size(), bytes - offset)));
        MPS_TRY(got);
        if (*got == 0) {
            return bytes == without_end
                       ? Result<std::uint64_t>(offset)
                       : fail("the peer closed a connection before its end", "", ECONNABORTED);
        }
        gaps.arrived();
        const auto right = contents(offset, *got);
        if (!std::equal(right.begin(), right.end(), buffer_.begin())) {
            return fail(fmt::format("contents are damaged within bytes {} to {}", offset, offset + *got), "",
                        EBADMSG);
        }
        offset += *got;
        if (delivered != nullptr) {
            *delivered += *got;
        }
    }
    return offset;
}

} // namespace mps::lab::traffic
