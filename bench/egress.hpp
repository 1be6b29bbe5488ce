// SPDX-License-Identifier: MIT
//
// What the program on the way out costs. BPF_PROG_TEST_RUN gives a packet no MPTCP socket, so the packets are those of real transfers
// (programs/leaving.bpf.c).
#pragma once

#include "measure.hpp"
#include "rig.hpp"

#include <vector>

namespace mps::bench {

// A round is one transfer for each row.
std::vector<Row> measure_egress(test::Rig &rig, unsigned rounds);

} // namespace mps::bench
