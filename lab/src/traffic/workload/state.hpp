// SPDX-License-Identifier: MIT
// What the threads of a workload share. Private to lab/src.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "pattern_stream.hpp"
#include "watches.hpp"
#include "workload.hpp"

namespace mps::lab::traffic {

struct State {
    using Clock = WorkloadRun::Clock;

    State(const Network &n, const Scenario &s, std::size_t subflows, std::uint64_t seed_, std::string chosen_)
        : network(n),
          workload(s.workload),
          scenario(s),
          expected_subflows(subflows),
          seed(seed_),
          chosen(std::move(chosen_)),
          running(s.workload.connections),
          exchanges(s.workload.connections) {}

    const Network &network;
    const Workload workload;
    const Scenario &scenario;
    const std::size_t expected_subflows;
    const std::uint64_t seed;
    const std::string chosen; ///< the policy of the clients' own choice; "": none

    std::atomic<bool> abort{false};
    std::atomic<bool> over{false}; // the time limit has passed
    std::atomic<std::uint64_t> delivered{0};
    std::atomic<std::size_t> running;
    Watches watches;
    ServerEnds server_ends;

    mutable std::mutex mutex; // of all that follows
    std::condition_variable changed;
    std::size_t ready = 0;
    bool go = false;
    bool may_close = false;
    Clock::time_point began;
    std::optional<Error> error;
    std::vector<std::vector<Exchange>> exchanges; // by connection
    std::vector<Exchange> messages;               // by whoever took them
    double last_end_s = 0;
    std::int64_t longest_gap_ns = 0;
    double stall_s = 0;
    std::uint64_t delivered_in_time = 0;

    bool upload() const { return workload.direction == Direction::upload; }
    double since_began(Clock::time_point when) const {
        return std::chrono::duration<double>(when - began).count();
    }
    bool in_time() const;

    /// All connections begin together. False if they never will.
    bool line_up();
    /// Ends that have done their work keep their connection until then, so that what is counted at the end of the
    /// workload is not the closing of connections.
    void let_close();
    void wait_to_close();
    /// The first error is what the workload ends with.
    void failed(const Error &e);
    void note(const GapMeter &gaps);
    void took(const std::vector<Exchange> &messages_taken);
    std::size_t messages_taken() const;
    /// The part of connection `index` is over.
    void conclude(std::size_t index, std::vector<Exchange> done);
    /// Bulk by time, and requests that hang: what is under way when the time is over ends at once.
    void keep_time();
};

} // namespace mps::lab::traffic
