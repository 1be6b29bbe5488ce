// SPDX-License-Identifier: MIT
// What is read over and over while a scenario runs.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.hpp"
#include <mpsched/lab/error.hpp>
#include <mpsched/lab/netns.hpp>
#include <mpsched/lab/network.hpp>

#include "../traffic/workload/workload.hpp"

namespace mps::lab {

/// What is read from devices, and the series, come less often than looks at the sockets.
inline constexpr int looks_per_interval = 10;

/// Cumulative bytes of one path at the client.
struct PathBytes {
    std::uint64_t tx = 0;
    std::uint64_t rx = 0;
};

struct Coarse {
    double at_s = 0;
    std::vector<PathBytes> paths;
    std::int64_t prio = 0; ///< MP_PRIO that both hosts received
};

struct Look {
    double at_s = 0;
    ReceiverSample receiver;
};

/// Everything that is read over and over while the workload runs.
struct Diary {
    std::vector<Coarse> coarse;
    std::vector<Look> looks;
};

/// A file of /proc/net, opened in its namespace and read over and over. read_counters() takes a thread and parses
/// everything, which costs an emulated processor more than the traffic it watches.
class ProcFile {
  public:
    static Result<ProcFile> open(const Namespace &ns, const char *name);
    Result<std::string_view> read(); ///< valid until the next

  private:
    explicit ProcFile(Fd fd) : fd_(std::move(fd)) {}

    Fd fd_;
    std::string text_;
};

/// Keeps the diary of one run.
class Watcher {
  public:
    static Result<Watcher> create(const Network &network, bool steered);

    /// Looks at the sockets every `look_ms`.
    Result<Diary> keep_diary(WorkloadRun &workload, WorkloadRun::Clock::time_point began, double look_ms);

  private:
    Watcher(std::vector<std::string> names, ProcFile devices);

    Result<void> look_coarse(double at_s, Diary &diary);

    std::vector<std::string> names_;
    ProcFile devices_;
    std::vector<ProcFile> netstat_; // of both hosts
};

} // namespace mps::lab
