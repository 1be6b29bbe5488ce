// SPDX-License-Identifier: MIT
#include "messages.hpp"

#include "base/try.hpp"

#include <algorithm>

namespace mps::lab::traffic {

using Clock = State::Clock;

Result<void> send_messages(PatternStream &stream, std::uint64_t bytes, std::int64_t first_ns,
                           std::int64_t interval_ns, std::uint64_t count) {
    for (std::uint64_t i = 0; i < count; ++i) {
        const Message message{first_ns + static_cast<std::int64_t>(i) * interval_ns, bytes};
        if (!stream.wait_until(Clock::time_point(std::chrono::nanoseconds(message.due_ns)))) {
            return aborted();
        }
        if (auto sent = stream.send_pattern(Stream::bytes_of(message), bytes); !sent) {
            return sent;
        }
    }
    return stream.send_value(Message{});
}

Result<void> take_messages(State &state, PatternStream &stream, GapMeter &gaps) {
    std::vector<Exchange> taken;
    for (;;) {
        const auto message = stream.receive_value<Message>();
        MPS_TRY(message);
        if (message->bytes == 0) {
            state.took(taken);
            return {};
        }
        gaps.owed_since(std::max(gaps.last_ns, message->due_ns));
        if (auto received = stream.receive_pattern(message->bytes, gaps, &state.delivered); !received) {
            return std::unexpected(received.error());
        }
        Exchange exchange;
        const auto now = Clock::now();
        exchange.start_s = state.since_began(Clock::time_point(std::chrono::nanoseconds(message->due_ns)));
        exchange.seconds = state.since_began(now) - exchange.start_s;
        (state.upload() ? exchange.up_bytes : exchange.down_bytes) = message->bytes;
        taken.push_back(exchange);
    }
}

} // namespace mps::lab::traffic
