// SPDX-License-Identifier: MIT
//
// What the program on the way out costs. BPF_PROG_TEST_RUN gives a packet no MPTCP socket, so the packets are those of real transfers, and
// the times are the kernel's own statistics of the program (BPF_STATS_RUN_TIME).
#pragma once

#include "measure.hpp"
#include "rig.hpp"

#include <vector>

namespace mps::bench {

// Means over all packets of a transfer, over an empty program on the same traffic; each round is one of both.
std::vector<Row> measure_egress(test::Rig &rig, unsigned rounds);

} // namespace mps::bench
