// SPDX-License-Identifier: MIT
//
// What a client does in each kind of workload.
#include <algorithm>
#include <numeric>
#include <thread>

#include "base/try.hpp"
#include "client.hpp"
#include "messages.hpp"

namespace mps::lab::traffic {
namespace {

using Clock = State::Clock;
using namespace std::chrono_literals;

Clock::duration clock_seconds(double seconds) {
    return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
}

/// What the last chunks' rate allows.
double choose_rate(const std::vector<double> &ladder, const std::vector<double> &seconds_per_mbit) {
    constexpr double caution = 0.8;
    constexpr std::size_t remembered = 3;
    double rate = ladder.front();
    if (seconds_per_mbit.empty()) {
        return rate;
    }
    const auto n = std::min(remembered, seconds_per_mbit.size());
    const double mean = std::accumulate(seconds_per_mbit.end() - static_cast<std::ptrdiff_t>(n),
                                        seconds_per_mbit.end(), 0.0) /
                        static_cast<double>(n);
    for (const double step : ladder) {
        rate = step <= caution / mean ? step : rate;
    }
    return rate;
}

/// How much of a video is there and not yet shown.
class Playback {
  public:
    void start() { playing_ = true; }
    void add(double seconds) { ahead_s_ += seconds; }
    void go_on() {
        const auto now = Clock::now();
        const double passed = std::chrono::duration<double>(now - counted_until_).count();
        counted_until_ = now;
        if (playing_) {
            stalled_s_ += std::max(0.0, passed - ahead_s_);
            ahead_s_ = std::max(0.0, ahead_s_ - passed);
        }
    }
    double ahead_s() const { return ahead_s_; }
    double stalled_s() const { return stalled_s_; }

  private:
    Clock::time_point counted_until_ = Clock::now();
    double ahead_s_ = 0;
    double stalled_s_ = 0;
    bool playing_ = false;
};

} // namespace

Result<void> Client::run_kind() {
    switch (state_.workload.kind) {
    case Workload::Kind::bulk:
        return run_bulk();
    case Workload::Kind::requests:
        return run_requests();
    case Workload::Kind::stream:
        return run_stream();
    case Workload::Kind::video:
        break;
    }
    return run_video();
}

Result<void> Client::run_bulk() {
    const auto bytes = state_.workload.bytes == 0 ? without_end : state_.workload.bytes;
    const bool upload = state_.upload();
    auto done = exchange(upload ? bytes : 1, upload ? 1 : bytes, Clock::now());
    MPS_TRY(done);
    done_.push_back(std::move(*done));
    return {};
}

Result<void> Client::run_requests() {
    for (std::size_t group = 0; group < state_.workload.sizes_bytes.size(); ++group) {
        if (auto done = run_requests_of(group); !done) {
            return done;
        }
    }
    return {};
}

Result<void> Client::run_requests_of(std::size_t group) {
    const auto &workload = state_.workload;
    for (unsigned i = 0; (workload.counts.empty() || i < workload.counts[group]) && state_.in_time(); ++i) {
        if (auto done = run_request(group, i == 0); !done) {
            return done;
        }
        // Not always in step with timers and queues, and different for each seed.
        const double part = 0.95 + 0.1 * static_cast<double>(random_() >> 11) / 9007199254740992.0;
        if (!connection_->stream.wait_until(Clock::now() + clock_seconds(workload.gap_ms * part / 1e3))) {
            return aborted();
        }
    }
    return {};
}

Result<void> Client::run_request(std::size_t group, bool first_of_group) {
    using Connections = Workload::Connections;
    const auto &workload = state_.workload;
    const auto size = workload.sizes_bytes[group];
    auto start = Clock::now();
    // A new connection for each request is part of what the request takes.
    const bool connects = workload.reuse == Connections::per_request && !done_.empty();
    const bool fresh =
        connects || (workload.reuse == Connections::per_size && first_of_group && !done_.empty());
    if (fresh) {
        if (auto opened = open(); !opened) {
            return opened;
        }
        if (!connects) {
            if (auto settled = settle(); !settled) {
                return settled;
            }
        }
    }
    // Asking takes time of its own, which belongs to no request.
    auto known = connects ? std::vector<PathWindow>{} : windows();
    start = connects ? start : Clock::now();
    auto done = workload.range_bytes != 0 ? fetch_ranges(workload.other_bytes, size, start)
                                          : exchange(state_.upload() ? size : workload.other_bytes,
                                                     state_.upload() ? workload.other_bytes : size, start);
    MPS_TRY(done);
    done->group = group;
    done->connects = connects;
    done->windows = std::move(known);
    done_.push_back(std::move(*done));
    return {};
}

Result<void> Client::run_stream() {
    const auto &workload = state_.workload;
    auto &stream = connection_->stream;
    const double interval_s = static_cast<double>(workload.message_bytes) * 8 / (workload.stream_mbit * 1e6);
    Order order;
    order.mode = state_.upload() ? OrderMode::messages_up : OrderMode::messages_down;
    order.down_bytes = workload.message_bytes;
    order.sent_ns = now_ns();
    order.interval_ns = static_cast<std::int64_t>(interval_s * 1e9);
    order.count = static_cast<std::uint64_t>(workload.duration_s / interval_s);
    if (auto sent = stream.send_value(order); !sent) {
        return sent;
    }
    if (!state_.upload()) {
        gaps_.owed_since(order.sent_ns);
        return take_messages(state_, stream, gaps_);
    }
    auto sent = send_messages(stream, workload.message_bytes, order.sent_ns, order.interval_ns, order.count);
    if (!sent) {
        return sent;
    }
    // The server's side ends with the last message; the connection must live until then.
    while (!state_.abort && state_.messages_taken() < order.count * workload.connections) {
        std::this_thread::sleep_for(5ms);
    }
    return {};
}

// A player that takes what the last chunks' rate allows, and waits when enough is ahead.
Result<void> Client::run_video() {
    constexpr std::uint64_t ask_bytes = 200;
    const auto &workload = state_.workload;
    const bool upload = state_.upload();
    std::vector<double> seconds_per_mbit;
    Playback playback;
    while (state_.in_time()) {
        const double rate = choose_rate(workload.ladder_mbit, seconds_per_mbit);
        const auto bytes = static_cast<std::uint64_t>(rate * workload.chunk_s * 1e6 / 8);
        auto done = exchange(upload ? bytes : ask_bytes, upload ? ask_bytes : bytes, Clock::now());
        MPS_TRY(done);
        done->video_mbit = rate;
        seconds_per_mbit.push_back(done->seconds / (static_cast<double>(bytes) * 8 / 1e6));
        done_.push_back(std::move(*done));
        playback.go_on();
        playback.start();
        playback.add(workload.chunk_s);
        if (const double spare = workload.buffer_s - workload.chunk_s; playback.ahead_s() > spare) {
            const auto pause = clock_seconds(playback.ahead_s() - std::max(0.0, spare));
            if (!connection_->stream.wait_until(Clock::now() + pause)) {
                return aborted();
            }
        }
        playback.go_on();
    }
    std::lock_guard lock(state_.mutex);
    state_.stall_s += playback.stalled_s();
    return {};
}

} // namespace mps::lab::traffic
