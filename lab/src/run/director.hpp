// SPDX-License-Identifier: MIT
// What changes on the paths while a scenario runs.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <mpsched/lab/error.hpp>
#include <mpsched/lab/network.hpp>
#include <mpsched/lab/scenario.hpp>

#include "../traffic/workload/workload.hpp"

namespace mps::lab {

/// Something of a run that its report shows at its time.
struct Event {
    double at_s = 0;
    std::string kind;
    std::optional<std::size_t> path = {};
    std::string text;
    std::string proof = {}; ///< what the kernel showed of its effect
};

/// Applies a scenario's changes while the workload runs, and gathers proof that each took effect.
class Director {
  public:
    Director(Network &network, const Scenario &scenario, std::vector<bool> used);
    ~Director() { stop(); }
    Director(const Director &) = delete;
    Director &operator=(const Director &) = delete;

    void start(WorkloadRun::Clock::time_point began);

    /// When the workload is over, but its connections are not closed yet: what closes them proves nothing.
    Result<void> stop_with_proof();

    /// After the end: what happened when, if everything is as it was meant to be.
    Result<std::vector<Event>> finish(double ended_s);

  private:
    struct Hole {
        std::size_t event = 0;
        std::uint64_t dropped_before = 0;
        bool open = false;
    };

    void stop();
    double now_s() const;
    void work();
    bool wait_until(double at_s) const;
    Result<void> apply(const Change &change);
    Result<void> shape(const Change &change);
    Result<void> open_hole(std::size_t path);
    Result<void> close_hole(std::size_t path, double at_s);
    Result<std::string> set_link(const Change &change);
    Result<bool> has_carrier(std::size_t path) const;

    Network &network_;
    const Scenario &scenario_;
    std::vector<bool> used_; // by path
    WorkloadRun::Clock::time_point began_;
    std::thread thread_;
    std::atomic<bool> stopping_{false};
    std::size_t next_ = 0; // change
    std::size_t faults_ = 0;
    std::vector<PathState> states_; // by path
    std::vector<Hole> holes_;       // by path
    std::vector<Event> events_;
    std::optional<Error> error_;
};

} // namespace mps::lab
