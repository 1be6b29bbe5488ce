// SPDX-License-Identifier: MIT
// The traffic of a scenario, over real MPTCP sockets. Private to lab/src.
//
// Unlike Transfer it hashes nothing: contents come from one fixed block and are compared with it, so that in a VM the
// emulated processor is not what is measured.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include <mpsched/lab/error.hpp>
#include <mpsched/lab/mptcp.hpp>
#include <mpsched/lab/network.hpp>
#include <mpsched/lab/scenario.hpp>
#include <mpsched/lab/tcp_bound.hpp>

namespace mps::lab {

/// The window of a path's subflow, in the direction of the workload.
struct PathWindow {
    std::size_t path = 0;
    TcpWindow window;
};

/// A request, a message of a stream or a chunk of a video, when its last byte had arrived.
struct Exchange {
    std::size_t group = 0; ///< index into Workload::sizes_bytes
    double start_s = 0;    ///< since the workload began
    double seconds = 0;
    std::uint64_t up_bytes = 0;
    std::uint64_t down_bytes = 0;
    double video_mbit = 0;
    bool connects = false; ///< its time includes that of a new connection
    std::vector<PathWindow> windows =
        {}; ///< requests: before it was written; empty if the kernel did not tell
};

struct WorkloadResult {
    double seconds = 0;              ///< from the beginning to the last exchange's end, or the time limit
    std::uint64_t delivered = 0;     ///< contents in the workload's direction, within that time
    std::vector<Exchange> exchanges; ///< by connection, then in order
    double longest_gap_s = 0;
    double video_stall_s = 0;
};

/// What the receivers of a workload know at one moment, connections that ended included.
struct ReceiverSample {
    std::uint64_t delivered = 0; ///< to the application
    /// Arrived on subflows, less what was delivered in order. Its absolute value means nothing (it counts
    /// duplicates and handshakes, too), its changes do.
    std::int64_t ahead_bytes = 0;
};

class WorkloadRun {
  public:
    using Clock = std::chrono::steady_clock;

    /// Connects, and waits for `subflows` of each connection and for the time of settling.
    /// `chosen`: the policy that each client chooses for its own sockets, with deadline and size; "": none.
    static Result<WorkloadRun> prepare(const Network &network, const Scenario &scenario, std::size_t subflows,
                                       std::uint64_t seed, const std::string &chosen = {});

    WorkloadRun(WorkloadRun &&) noexcept;
    WorkloadRun &operator=(WorkloadRun &&) noexcept;
    ~WorkloadRun(); ///< aborts what still runs

    /// Then it runs in threads of its own.
    Clock::time_point begin();
    bool running() const;
    ReceiverSample sample();
    /// Data level, of all connections so far; none before Linux 6.5.
    std::optional<std::uint64_t> reinjected_bytes() const;
    /// Local addresses of all subflows that the client's connections have had, as far as somebody looked.
    std::vector<std::string> subflows() const;
    /// Waits for the end. Only then connections that are not replaced by others are closed.
    Result<WorkloadResult> wait();

  private:
    struct Impl;
    explicit WorkloadRun(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

} // namespace mps::lab
