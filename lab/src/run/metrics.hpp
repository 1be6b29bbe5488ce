// SPDX-License-Identifier: MIT
// The numbers of a run.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <mpsched/lab/counters.hpp>
#include <mpsched/lab/run.hpp>
#include <mpsched/lab/scenario.hpp>

#include "../traffic/workload/workload.hpp"
#include "diary.hpp"
#include "director.hpp"
#include "policy.hpp"

namespace mps::lab {

/// Every number that a result has, measured or null; lab/RESULTS.md tells what they are.
inline constexpr std::array<const char *, 23> metric_names{"goodput_mbit",
                                                           "completion_ms",
                                                           "message_delay_ms",
                                                           "video_mbit",
                                                           "video_stall_ms",
                                                           "longest_gap_ms",
                                                           "recovery_ms",
                                                           "out_of_order_bytes_mean",
                                                           "out_of_order_bytes_max",
                                                           "out_of_order_wait_ms",
                                                           "out_of_order_segments",
                                                           "head_of_line_share",
                                                           "reinjected_bytes",
                                                           "reinjections",
                                                           "retransmitted_segments",
                                                           "flips",
                                                           "wakes",
                                                           "flips_per_s",
                                                           "wakes_per_s",
                                                           "energy_j",
                                                           "contents_bytes",
                                                           "exchanges",
                                                           "late"};

/// Everything a run brought home; numbers are made of it without looking at the kernel again.
struct Harvest {
    const Scenario &scenario;
    const Policy &policy;
    WorkloadResult workload;
    Diary diary;
    std::vector<Event> events;
    Counters client; // what happened during the workload
    Counters server;
    std::optional<std::uint64_t> reinjected;
    std::vector<std::string> subflows; // local addresses at the client
    std::vector<std::uint64_t> drops;
    std::int64_t flips = 0;
    std::int64_t wakes = 0;
};

/// A number, and what a fluid would reach, where that is known.
struct Measured {
    std::optional<double> value;
    std::optional<double> bound;
};

struct Numbers {
    std::map<std::string, Measured> metrics;
    Json requests = Json::array();
};

/// `waiting`: what was out of order at each look.
Numbers take_numbers(const Harvest &harvest, const std::vector<std::int64_t> &waiting);

/// To four digits behind the point, so that results can be compared as text.
double rounded(double value);
/// Rounded, null if there is none.
Json number(std::optional<double> value);

} // namespace mps::lab
