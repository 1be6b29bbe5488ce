// SPDX-License-Identifier: MIT
//
// Nanoseconds for one run of a BPF program, over a twin that does everything but what is to be measured.
#pragma once

#include "bytes.hpp"

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace mps::bench {

// A program and the packet it runs on. `ifindex` 0: the loopback device.
struct Subject {
    int program_fd = -1;
    packet::Bytes packet;
    std::uint32_t ifindex = 0;
    int verdict = 2; // XDP_PASS; any other end is an error, so nothing is measured that did not run
    bool tc = false; // a program of TC, which meets the packet without an interface
    std::function<void()> before = {}; // in each round, not measured: puts things as this subject needs them
};

struct Row {
    std::string name;
    std::string how;
    Subject subject;
    Subject twin;
    double target_ns = 0; // 0: no target, for information
    double limit_ns = 0;
    double divide_by = 1;
    double target_lookups = 0; // the same in socket lookups of this run, which carries over to other machines
    // Results, over the rounds: median, 99th percentile, standard deviation.
    double ns = 0;
    double p99_ns = 0;
    double deviation_ns = 0;
    double lookups = 0;
};

struct Rounds {
    unsigned rounds = 61;
    unsigned repeat = 40000;
};

// All rows in turn, round by round, so that a change of the machine's mood hits subject and twin alike; the
// result is the median of the differences within a round. Pins the thread. Throws std::runtime_error.
void measure(std::vector<Row> &rows, Rounds rounds);

// And in multiples of `unit`, which is measured beside them: a machine's mood changes within seconds.
void measure(std::vector<Row> &rows, Rounds rounds, const Row &unit);

double median(std::vector<double> values);

} // namespace mps::bench
