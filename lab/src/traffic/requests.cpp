// SPDX-License-Identifier: MIT
#include "requests.hpp"

#include "base/try.hpp"

#include <cerrno>
#include <cstring>
#include <span>
#include <thread>
#include <vector>

#include <fmt/format.h>

namespace mps::lab::traffic {
namespace {

constexpr std::size_t header = sizeof(std::uint32_t);

/// A frame of so many bytes, and the place of its contents.
std::vector<std::uint8_t> make_frame(std::uint32_t bytes) {
    std::vector<std::uint8_t> frame(header + bytes);
    std::memcpy(frame.data(), &bytes, header);
    return frame;
}
std::span<std::uint8_t> contents_of(std::vector<std::uint8_t> &frame) {
    return std::span(frame).subspan(header);
}

/// The next request's contents. False at the end of the requests.
Result<bool> receive_request(Stream &stream, std::vector<std::uint8_t> &request) {
    if (auto readable = stream.wait_readable(); !readable) {
        return std::unexpected(readable.error());
    }
    const auto length = stream.receive_value<std::uint32_t>();
    MPS_TRY(length);
    if (*length == 0) {
        return false;
    }
    if (*length > max_frame_bytes) {
        return fail(
            fmt::format(
                "a request of {} bytes arrived, larger than any that is sent: the contents are damaged",
                *length),
            "", EBADMSG);
    }
    request.resize(*length);
    if (auto got = stream.receive(request); !got) {
        return std::unexpected(got.error());
    }
    return true;
}

Result<void> receive_answer(Stream &stream, std::vector<std::uint8_t> &answer) {
    const auto length = stream.receive_value<std::uint32_t>();
    MPS_TRY(length);
    if (*length != answer.size()) {
        return fail(fmt::format("an answer of {} bytes arrived instead of {}", *length, answer.size()), "",
                    EBADMSG);
    }
    return stream.receive(answer);
}

} // namespace

Result<void> serve_requests(Stream &stream, const Hello &hello, ServedConnection &served) {
    std::vector<std::uint8_t> request;
    auto answer = make_frame(hello.response_bytes);
    const auto contents = contents_of(answer);
    Contents source(~hello.seed);
    Sha256 received_hash;
    Sha256 sent_hash;
    std::uint64_t sent = 0;
    for (;;) {
        const auto more = receive_request(stream, request);
        MPS_TRY(more);
        if (!*more) {
            break;
        }
        received_hash.update(request);
        served.bytes += request.size();
        source.fill(contents);
        sent_hash.update(contents);
        sent += contents.size();
        if (auto done = stream.send(answer); !done) {
            return done;
        }
    }
    const auto trailer = stream.receive_value<Trailer>();
    MPS_TRY(trailer);
    served.verified = trailer->bytes == served.bytes && trailer->sha256 == received_hash.finish();
    if (auto done = stream.send_value(Verdict{.magic = verdict_magic,
                                              .same = served.verified ? 1U : 0U,
                                              .bytes = served.bytes,
                                              .wrong_bytes = 0,
                                              .first_wrong = 0});
        !done) {
        return done;
    }
    return stream.send_value(Trailer{sent, sent_hash.finish()});
}

Result<Asked> ask_requests(Stream &stream, const TransferSpec &spec, std::uint64_t seed,
                           const std::function<bool()> &stop,
                           const std::function<void(double seconds)> &answered) {
    auto request = make_frame(spec.request_bytes);
    const auto contents = contents_of(request);
    std::vector<std::uint8_t> answer(spec.response_bytes);
    Contents source(seed);
    Sha256 sent_hash;
    Sha256 received_hash;
    Asked asked;
    for (std::uint64_t n = 0; (spec.requests == 0 || n < spec.requests) && !stop(); ++n) {
        source.fill(contents);
        sent_hash.update(contents);
        const auto began = Stream::Clock::now();
        if (auto done = stream.send(request); !done) {
            return std::unexpected(done.error());
        }
        if (auto done = receive_answer(stream, answer); !done) {
            return std::unexpected(done.error());
        }
        const std::chrono::duration<double> took = Stream::Clock::now() - began;
        received_hash.update(answer);
        asked.sent += contents.size();
        asked.received += answer.size();
        answered(took.count());
        if (spec.think_time.count() > 0) {
            std::this_thread::sleep_for(spec.think_time);
        }
    }
    asked.received_sha256 = received_hash.finish();
    if (auto done = stream.send_value(std::uint32_t{0}); !done) {
        return std::unexpected(done.error());
    }
    if (auto done = stream.send_value(Trailer{asked.sent, sent_hash.finish()}); !done) {
        return std::unexpected(done.error());
    }
    return asked;
}

} // namespace mps::lab::traffic
