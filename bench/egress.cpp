// SPDX-License-Identifier: MIT
#include "egress.hpp"

#include <algorithm>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <linux/bpf.h>
#include <stdexcept>
#include <system_error>

#include "base/fd.hpp"
#include <mpsched/lab/transfer.hpp>

namespace mps::bench {
namespace {

using namespace std::chrono_literals;

void need_zero(int result, const char *what) {
    if (result < 0)
        throw std::system_error(-result, std::generic_category(), what);
}

// On the way out of every interface of host A, while it lives.
class Leaving {
  public:
    Leaving(const test::Rig &rig, int program) : rig_(rig) {
        const test::Inside inside(rig.network().a());

        for (const test::Flow &flow : rig.flows()) {
            bpf_tc_hook hook = hook_of(flow);
            LIBBPF_OPTS(bpf_tc_opts, opts, .prog_fd = program, .flags = BPF_TC_F_REPLACE, .handle = 1,
                        .priority = 1);
            if (const int error = bpf_tc_hook_create(&hook); error != -EEXIST)
                need_zero(error, "create clsact");
            need_zero(bpf_tc_attach(&hook, &opts), "attach at egress");
        }
    }
    Leaving(const Leaving &) = delete;
    Leaving &operator=(const Leaving &) = delete;
    ~Leaving() {
        const test::Inside inside(rig_.network().a());

        for (const test::Flow &flow : rig_.flows()) {
            bpf_tc_hook hook = hook_of(flow);
            LIBBPF_OPTS(bpf_tc_opts, opts, .handle = 1, .priority = 1);
            bpf_tc_detach(&hook, &opts);
        }
    }

  private:
    static bpf_tc_hook hook_of(const test::Flow &flow) {
        LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = static_cast<int>(flow.ifindex),
                    .attach_point = BPF_TC_EGRESS);
        return hook;
    }

    const test::Rig &rig_;
};

bpf_prog_info statistics(int program) {
    bpf_prog_info info{};
    __u32 length = sizeof info;

    need_zero(bpf_obj_get_info_by_fd(program, &info, &length), "read a program's statistics");
    return info;
}

// Nanoseconds for a packet, in one transfer.
double mean_ns(const test::Rig &rig, const lab::Server &server, int program, const lab::TransferSpec &spec) {
    const Leaving leaving(rig, program);
    const bpf_prog_info before = statistics(program);
    const auto result = lab::run_transfer(rig.network(), server, spec);
    if (!result || result->errors())
        throw std::runtime_error("a transfer failed");
    const bpf_prog_info after = statistics(program);
    const auto packets = static_cast<double>(after.run_cnt - before.run_cnt);
    if (packets < 100)
        throw std::runtime_error("hardly a packet has met the program on the way out");
    return static_cast<double>(after.run_time_ns - before.run_time_ns) / packets;
}

void sum_up(Row &row, std::vector<double> samples) {
    double squares = 0;

    row.ns = median(samples);
    for (const double one : samples)
        squares += (one - row.ns) * (one - row.ns);
    row.deviation_ns = std::sqrt(squares / static_cast<double>(samples.size()));
    std::ranges::sort(samples);
    row.p99_ns = samples[(samples.size() - 1) * 99 / 100];
}

} // namespace

std::vector<Row> measure_egress(test::Rig &rig, unsigned rounds) {
    const Fd enabled(bpf_enable_stats(BPF_STATS_RUN_TIME));
    if (!enabled)
        throw std::system_error(errno, std::generic_category(), "have the kernel measure programs");
    auto server = lab::Server::start(rig.network().b());
    if (!server)
        throw std::runtime_error(server.error().what);
    const int ours = rig.program("mps_out_eth");
    std::vector<Row> rows;
    const auto add = [&](const char *name, const char *how, lab::Protocol protocol, double target) {
        const lab::TransferSpec spec{.direction = lab::Direction::download,
                                     .protocol = protocol,
                                     .duration = 300ms,
                                     .verify = false,
                                     .sample_interval = 0ms};
        std::vector<double> samples;

        for (unsigned i = 0; i < rounds; i++)
            samples.push_back(mean_ns(rig, *server, ours, spec) -
                              mean_ns(rig, *server, rig.empty_tc(), spec));
        Row row{name, how, {}, {}};
        row.target_lookups = target;
        rows.push_back(std::move(row));
        sum_up(rows.back(), std::move(samples));
    };
    add("way out: TCP without MPTCP",
        "mps_out_eth on the ACKs of a download: real packets, the kernel's clock", lab::Protocol::tcp, 0.3);
    add("way out: MPTCP with nothing to say", "the same of a connection whose peer is left alone",
        lab::Protocol::mptcp, 2);
    return rows;
}

} // namespace mps::bench
