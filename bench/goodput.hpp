// SPDX-License-Identifier: MIT
//
// Bulk transfers over unshaped paths with the data path attached, against the same link without it.
#pragma once

#include "rig.hpp"

#include <string>
#include <vector>

namespace mps::bench {

struct Goodput {
    std::string name;
    double with_mbit = 0;
    double without_mbit = 0;
    double ratio = 0;
    double target = 0.97; ///< 0: none, for information
};

struct Repetitions {
    unsigned count = 7;
    unsigned milliseconds = 1000;
};

// XDP mode against an empty XDP program, TC mode against no program; both directions. Last, no
// program against none: how much these ratios mean. The policy is
// `default`, so nothing is changed; decisions are as installed if the rig leaves idle packets alone.
std::vector<Goodput> measure_goodput(test::Rig &rig, int default_xdp, int default_tc,
                                     Repetitions repetitions);

} // namespace mps::bench
