// SPDX-License-Identifier: MIT
// Requests and their answers, both ends. Private to lab/src.
//
// A request is a frame, and so is an answer; a request of length 0 ends it. Then the client sends a Trailer about its requests,
// and the server a Verdict on them and a Trailer about its answers.
#pragma once

#include <cstdint>
#include <functional>

#include <mpsched/lab/transfer.hpp>

#include "frames.hpp"

namespace mps::lab::traffic {

/// The server's end, after the greeting.
Result<void> serve_requests(Stream &stream, const Hello &hello, ServedConnection &served);

/// What the client has sent and received, when its own trailer is on the way.
struct Asked {
    std::uint64_t sent = 0;
    std::uint64_t received = 0;
    Digest received_sha256{};
};

/// The client's end, up to its trailer. `answered` hears the time that each request took.
Result<Asked> ask_requests(Stream &stream, const TransferSpec &spec, std::uint64_t seed,
                           const std::function<bool()> &stop,
                           const std::function<void(double seconds)> &answered);

} // namespace mps::lab::traffic
