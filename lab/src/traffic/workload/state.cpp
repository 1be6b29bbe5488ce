// SPDX-License-Identifier: MIT
#include "state.hpp"

#include <algorithm>
#include <cerrno>

namespace mps::lab::traffic {

bool State::in_time() const {
    return !abort && !over && (workload.duration_s <= 0 || since_began(Clock::now()) < workload.duration_s);
}

bool State::line_up() {
    std::unique_lock lock(mutex);
    ++ready;
    changed.notify_all();
    changed.wait(lock, [&] { return go || abort.load(); });
    return !abort;
}

void State::let_close() {
    std::lock_guard lock(mutex);
    may_close = true;
    changed.notify_all();
}

void State::wait_to_close() {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return may_close || (abort && !over); });
}

void State::failed(const Error &e) {
    if (over && (e.err == ECANCELED || e.err == ECONNABORTED || e.err == ECONNRESET || e.err == EPIPE)) {
        return; // the time limit ended it
    }
    std::lock_guard lock(mutex);
    if (!error) {
        error = e;
    }
    abort = true;
    changed.notify_all();
}

void State::note(const GapMeter &gaps) {
    std::lock_guard lock(mutex);
    longest_gap_ns = std::max(longest_gap_ns, gaps.longest_ns);
}

void State::took(const std::vector<Exchange> &messages_taken) {
    std::lock_guard lock(mutex);
    messages.insert(messages.end(), messages_taken.begin(), messages_taken.end());
    last_end_s = std::max(last_end_s, since_began(Clock::now()));
}

std::size_t State::messages_taken() const {
    std::lock_guard lock(mutex);
    return messages.size();
}

void State::conclude(std::size_t index, std::vector<Exchange> done) {
    std::lock_guard lock(mutex);
    for (const auto &e : done) {
        last_end_s = std::max(last_end_s, e.start_s + e.seconds);
    }
    exchanges[index] = std::move(done);
    if (--running == 0) {
        // Of bulk by time the timekeeper has taken the count.
        delivered_in_time = delivered_in_time == 0 ? delivered.load() : delivered_in_time;
    }
    changed.notify_all();
}

void State::keep_time() {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return go || abort.load(); });
    if (workload.kind != Workload::Kind::bulk || workload.duration_s <= 0) {
        return;
    }
    const auto end = began + std::chrono::duration_cast<Clock::duration>(
                                 std::chrono::duration<double>(workload.duration_s));
    changed.wait_until(lock, end, [&] { return abort || running == 0; });
    if (!abort && running > 0) {
        delivered_in_time = delivered;
        over = true;
        abort = true;
    }
}

} // namespace mps::lab::traffic
