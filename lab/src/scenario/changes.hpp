// SPDX-License-Identifier: MIT
// What happens to the paths of a scenario: [[change]], [[random]] and traces, put into one order.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

#include <mpsched/lab/scenario.hpp>

#include "section.hpp"

namespace mps::lab {

constexpr double max_rate_mbit = 10'000;
constexpr double max_delay_ms = 10'000;
constexpr double max_duration_s = 3600;

/// What a [[change]] or [[random]] says of a path's numbers.
struct Number {
    const char *key;
    double PathState::*member;
    const char *kind;
    const char *unit;
    double least;
    double most;
    double scale; ///< from the file's unit to ours
};
constexpr std::array<Number, 5> numbers{
    {{"rate_mbit", &PathState::rate_mbit, "rate", "Mbit/s", 0.01, max_rate_mbit, 1},
     {"down_rate_mbit", &PathState::down_rate_mbit, "rate", "Mbit/s down", 0.01, max_rate_mbit, 1},
     {"delay_ms", &PathState::delay_ms, "delay", "ms", 0, max_delay_ms, 1},
     {"jitter_ms", &PathState::jitter_ms, "delay", "ms jitter", 0, max_delay_ms, 1},
     {"loss_percent", &PathState::loss, "loss", "% loss", 0, 100, 0.01}}};

/// One line of a [[change]], [[random]]: what a path is at a time is known only when all are in order.
struct Edit {
    std::size_t path = 0;
    const Number *number = nullptr; ///< else `flag`
    bool PathState::*flag = nullptr;
    double value = 0;
    double over_s = 0;
    bool quiet = false; ///< a step in the middle of a ramp, or of a trace
};
using Edits = std::multimap<double, Edit>; ///< by time

void read_change(const toml::table &table, const Scenario &scenario, Mistakes &mistakes, Edits &edits);
void read_random(const toml::table &table, const Scenario &scenario, std::uint64_t seed, Mistakes &mistakes,
                 Edits &edits);
/// What the traces of all paths do, over and over, until no scenario goes on any more.
void add_traces(const Scenario &scenario, Edits &edits);
/// A ramp becomes many steps, several edits of one path at one time become one change.
std::vector<Change> in_order(const Scenario &scenario, Edits edits);

} // namespace mps::lab
