// SPDX-License-Identifier: MIT
#include "wire.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <poll.h>
#include <sys/socket.h>

#include <fmt/format.h>
#include <openssl/evp.h>

namespace mps::lab::wire {
namespace {

// Upper bound for noticing an abort.
constexpr auto abort_check = std::chrono::milliseconds(50);

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

std::unexpected<Error> aborted() { return fail("the transfer was aborted", "", ECANCELED); }

} // namespace

Sha256::Sha256() : context_(EVP_MD_CTX_new(), EVP_MD_CTX_free) {
    EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr);
}

void Sha256::update(std::span<const std::uint8_t> data) {
    EVP_DigestUpdate(context_.get(), data.data(), data.size());
}

Digest Sha256::finish() {
    Digest digest{};
    EVP_DigestFinal_ex(context_.get(), digest.data(), nullptr);
    return digest;
}

void Contents::fill(std::span<std::uint8_t> into) {
    while (!into.empty()) {
        std::uint64_t z = (state_ += 0x9e3779b97f4a7c15);
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
        z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
        z ^= z >> 31;
        const auto n = std::min(into.size(), sizeof(z));
        std::memcpy(into.data(), &z, n);
        into = into.subspan(n);
    }
}

Result<void> Stream::wait_for(short events, std::chrono::steady_clock::time_point deadline) {
    for (;;) {
        if (abort_) {
            return aborted();
        }
        pollfd ready{fd_, events, 0};
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

Result<void> Stream::wait_readable() {
    return wait_for(POLLIN, std::chrono::steady_clock::time_point::max());
}

Result<void> Stream::send(std::span<const std::uint8_t> data) {
    while (!data.empty()) {
        const auto n = ::send(fd_, data.data(), data.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0) {
            data = data.subspan(static_cast<std::size_t>(n));
        } else if (n < 0 && errno == EAGAIN) {
            if (auto ready = wait_for(POLLOUT, std::chrono::steady_clock::now() + stall_timeout_); !ready) {
                return ready;
            }
        } else if (n < 0 && errno != EINTR) {
            return os_error("send on", "a connection", errno);
        }
        if (abort_) {
            return aborted();
        }
    }
    return {};
}

Result<void> Stream::receive(std::span<std::uint8_t> into) {
    while (!into.empty()) {
        const auto n = ::recv(fd_, into.data(), into.size(), MSG_DONTWAIT);
        if (n > 0) {
            into = into.subspan(static_cast<std::size_t>(n));
        } else if (n == 0) {
            return fail("the peer closed a connection before its end", "", ECONNABORTED);
        } else if (errno == EAGAIN) {
            if (auto ready = wait_for(POLLIN, std::chrono::steady_clock::now() + stall_timeout_); !ready) {
                return ready;
            }
        } else if (errno != EINTR) {
            return os_error("receive on", "a connection", errno);
        }
        if (abort_) {
            return aborted();
        }
    }
    return {};
}

bool Stream::peer_finished() const {
    std::uint8_t byte = 0;
    return ::recv(fd_, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

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
        if (!length) {
            return std::unexpected(length.error());
        }
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
    if (!trailer) {
        return std::unexpected(trailer.error());
    }
    received.complete = trailer->bytes == received.bytes;
    received.verified = verify && received.complete && trailer->sha256 == hash.finish();
    return received;
}

} // namespace mps::lab::wire
