// SPDX-License-Identifier: MIT
//
// What paths have carried and what became of their subflows, summed up over looks: for `top` and for mpschedd's metrics. By the
// interface's name, and so never more than there are interfaces.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "mpsched/sampler.hpp"
#include "watch/flows.hpp"

namespace mps::watch {

struct PathTotal {
    // Since the first look.
    std::uint64_t sent_bytes = 0, received_bytes = 0; // contents of MPTCP subflows
    double parked_s = 0;                              // sum over its subflows
    std::uint64_t flips = 0;                          // verdicts that were others at the next look
    std::uint64_t failovers = 0;                      // subflows that were lost while others carried on
    // Between the last two looks.
    std::uint64_t sent_bytes_s = 0, received_bytes_s = 0;
    // At the last look.
    std::uint32_t subflows = 0, parked = 0, unsteered = 0;
    std::uint32_t srtt_us = 0, least_rtt_us = 0; // mean of its subflows, and the least; 0: none is known
};

class PathTotals {
  public:
    // What lies between two looks, and how it stands at the second; at the first look `before` is empty (monotonic_ns 0).
    void take(const Sample &before, const Sample &now, const std::vector<Flow> &flows);
    // Of interfaces that have attributes or are attached, also where they carry nothing now, and of others with subflows.
    [[nodiscard]] const std::map<std::string, PathTotal> &paths() const { return paths_; }

  private:
    struct Carried {
        std::int64_t sent = 0, received = 0;
    };
    void count(const Sample &before, const Sample &now, const std::vector<Flow> &flows);
    void count_ended(const Sample &before, const Sample &now, const std::vector<Flow> &flows,
                     std::map<std::string, Carried> &carried);
    void describe(const Sample &now);

    std::map<std::string, PathTotal> paths_{};
    std::map<std::string, Carried> debts_{};
};

} // namespace mps::watch
