// SPDX-License-Identifier: MIT
#include "measure.hpp"

#include <algorithm>
#include <bpf/bpf.h>
#include <cerrno>
#include <cmath>
#include <ctime>
#include <fmt/format.h>
#include <linux/bpf.h>
#include <numeric>
#include <sched.h>
#include <stdexcept>
#include <system_error>

namespace mps::bench {
namespace {

// CPU time of this thread: time that others took from it does not count.
double cpu_ns() {
    timespec now{};

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

double run(const Subject &subject, unsigned repeat) {
    xdp_md context{};
    LIBBPF_OPTS(bpf_test_run_opts, opts);

    context.data_end = static_cast<__u32>(subject.packet.size());
    context.ingress_ifindex = subject.ifindex;
    opts.data_in = subject.packet.data();
    opts.data_size_in = static_cast<__u32>(subject.packet.size());
    if (!subject.tc) {
        opts.ctx_in = &context;
        opts.ctx_size_in = sizeof(context);
    }
    opts.repeat = static_cast<int>(repeat);
    if (subject.before)
        subject.before();
    double start = cpu_ns();
    int error = bpf_prog_test_run_opts(subject.program_fd, &opts);
    double took = cpu_ns() - start;

    if (error != 0)
        throw std::system_error(-error, std::generic_category(), "BPF_PROG_TEST_RUN");
    if (static_cast<int>(opts.retval) != subject.verdict)
        throw std::runtime_error(fmt::format("a measured program ended with {}", opts.retval));
    return took / repeat;
}

double quantile(std::vector<double> values, double q) {
    std::sort(values.begin(), values.end());
    return values.at(static_cast<std::size_t>(std::lround(q * static_cast<double>(values.size() - 1))));
}

double deviation(const std::vector<double> &values) {
    const auto count = static_cast<double>(values.size());
    const double mean = std::accumulate(values.begin(), values.end(), 0.0) / count;
    double squares = 0;

    for (const double value : values)
        squares += (value - mean) * (value - mean);
    return std::sqrt(squares / count);
}

} // namespace

double median(std::vector<double> values) { return quantile(std::move(values), 0.5); }

void measure(std::vector<Row> &rows, Rounds rounds) {
    std::vector<std::vector<double>> differences(rows.size());
    cpu_set_t before, one;

    sched_getaffinity(0, sizeof(before), &before);
    CPU_ZERO(&one);
    CPU_SET(sched_getcpu(), &one);
    sched_setaffinity(0, sizeof(one), &one);
    for (Row &row : rows) { // warm up
        run(row.twin, rounds.repeat / 4);
        run(row.subject, rounds.repeat / 4);
    }
    for (unsigned round = 0; round < rounds.rounds; round++) {
        for (std::size_t i = 0; i < rows.size(); i++) {
            // Who goes first alternates, so that neither always finds the cache warm.
            double subject = 0;
            double twin = 0;
            if (round % 2) {
                twin = run(rows[i].twin, rounds.repeat);
                subject = run(rows[i].subject, rounds.repeat);
            } else {
                subject = run(rows[i].subject, rounds.repeat);
                twin = run(rows[i].twin, rounds.repeat);
            }
            differences[i].push_back((subject - twin) / rows[i].divide_by);
        }
    }
    sched_setaffinity(0, sizeof(before), &before);
    for (std::size_t i = 0; i < rows.size(); i++) {
        rows[i].ns = quantile(differences[i], 0.5);
        rows[i].p99_ns = quantile(differences[i], 0.99);
        rows[i].deviation_ns = deviation(differences[i]);
    }
}

void measure(std::vector<Row> &rows, Rounds rounds, const Row &unit) {
    rows.push_back(unit);
    measure(rows, rounds);
    const double one = rows.back().ns;
    rows.pop_back();
    for (Row &row : rows)
        row.lookups = row.ns / one;
}

} // namespace mps::bench
