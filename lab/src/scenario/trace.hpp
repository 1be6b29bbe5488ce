// SPDX-License-Identifier: MIT
// Traces: what a real network's path did, second by second. Three formats, told apart by their contents.
//
// Mahimahi (mm-link(1)): a line for each time, in milliseconds, at which a packet of 1500 octets could leave; after the last one
// it begins again. CSV: seconds, octets/s, and if wanted a third column, one-way delay in milliseconds; each row holds until the
// next one, the last one as long as the one before. Lines that begin with # are comments, and a CSV may begin with a line of names.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <mpsched/lab/error.hpp>
#include <mpsched/lab/scenario.hpp>

namespace mps::lab {

/// Of how much time of a Mahimahi trace one rate is made.
constexpr double default_trace_step_ms = 200;

/// One direction.
struct Trace {
    struct Step {
        double at_s = 0;
        double mbit = 0; ///< 10^6 bit/s; 0: nothing gets through
        std::optional<double> delay_ms = {};
    };
    std::vector<Step> steps; ///< the first at 0
    double length_s = 0;
};

/// A mistake is an error that tells the line.
Result<Trace> parse_trace(std::string_view text, double bin_s = default_trace_step_ms / 1e3);

/// A trace by its name: one that is built in, else a file, relative to `folder`.
Result<Trace> find_trace(const std::string &name, const std::string &folder, double bin_s);

/// Both directions as one. The delay is that of the way up, if it has one; the shorter trace begins anew until the longer one ends.
PathTrace join(const Trace &up, const Trace &down);

} // namespace mps::lab
