// SPDX-License-Identifier: MIT
#include "frames.hpp"

#include "base/try.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <span>
#include <vector>

#include <fmt/format.h>

namespace mps::lab::traffic {
namespace {

// Notes where a piece that starts behind `received.bytes` differs.
void compare(std::span<const std::uint8_t> got, std::span<const std::uint8_t> right, Received &received) {
    if (std::ranges::equal(got, right)) {
        return;
    }
    for (std::size_t i = 0; i < got.size(); ++i) {
        if (got[i] != right[i] && received.wrong_bytes++ == 0) {
            received.first_wrong = received.bytes + i;
        }
    }
}

} // namespace

Result<std::uint64_t> send_contents(Stream &stream, std::uint64_t seed, bool verify, std::uint64_t limit,
                                    const std::function<bool()> &stop, std::atomic<std::uint64_t> &progress) {
    constexpr std::size_t header = sizeof(std::uint32_t);
    std::vector<std::uint8_t> frame(header + piece_bytes);
    Contents contents(seed);
    if (!verify) {
        contents.fill(std::span(frame).subspan(header));
    }
    Sha256 hash;
    std::uint64_t sent = 0;
    while ((limit == 0 || sent < limit) && !stop()) {
        const auto size = static_cast<std::uint32_t>(
            limit == 0 ? piece_bytes : std::min<std::uint64_t>(piece_bytes, limit - sent));
        const auto piece = std::span(frame).subspan(header, size);
        std::memcpy(frame.data(), &size, header);
        if (verify) {
            contents.fill(piece);
            hash.update(piece);
        }
        if (auto done = stream.send(std::span(frame).first(header + size)); !done) {
            return std::unexpected(done.error());
        }
        sent += size;
        progress += size;
    }
    const Trailer trailer{sent, verify ? hash.finish() : Digest{}};
    if (auto done = stream.send_value(std::uint32_t{0}); !done) {
        return std::unexpected(done.error());
    }
    if (auto done = stream.send_value(trailer); !done) {
        return std::unexpected(done.error());
    }
    return sent;
}

Result<Received> receive_contents(Stream &stream, std::uint64_t seed, bool verify,
                                  std::atomic<std::uint64_t> &progress) {
    std::vector<std::uint8_t> piece(piece_bytes);
    std::vector<std::uint8_t> expected(piece_bytes);
    Contents source(seed);
    Sha256 hash;
    Received received;
    for (;;) {
        auto length = stream.receive_value<std::uint32_t>();
        MPS_TRY(length);
        if (*length == 0) {
            break;
        }
        // Also how lost framing after corrupted contents shows.
        if (*length > piece_bytes) {
            return fail(
                fmt::format(
                    "a frame of {} bytes arrived, larger than any that is sent: the contents are damaged",
                    *length),
                "", EBADMSG);
        }
        const auto contents = std::span(piece).first(*length);
        if (auto done = stream.receive(contents); !done) {
            return std::unexpected(done.error());
        }
        if (verify) {
            hash.update(contents);
            const auto right = std::span(expected).first(*length);
            source.fill(right);
            compare(contents, right, received);
        }
        received.bytes += *length;
        progress += *length;
    }
    auto trailer = stream.receive_value<Trailer>();
    MPS_TRY(trailer);
    received.complete = trailer->bytes == received.bytes;
    received.verified = verify && received.complete && trailer->sha256 == hash.finish();
    return received;
}

} // namespace mps::lab::traffic
