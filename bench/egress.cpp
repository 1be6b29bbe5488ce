// SPDX-License-Identifier: MIT
#include "egress.hpp"

#include "programs/leaving.h" // before the skeleton, which names its types

#include "leaving.skel.h"

#include <algorithm>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <fmt/format.h>
#include <linux/bpf.h>
#include <memory>
#include <span>
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

struct Close {
    void operator()(leaving *object) const { leaving::destroy(object); }
};
using Programs = std::unique_ptr<leaving, Close>;

Programs load_programs(const test::Rig &rig) {
    Programs programs(leaving::open());

    if (!programs)
        throw std::system_error(errno, std::generic_category(), "open the programs for the way out");
    need_zero(bpf_map__reuse_fd(programs->maps.mps_peers, rig.map(MPS_MAP_PEERS)), "share mps_peers");
    need_zero(leaving::load(programs.get()), "load the programs for the way out");
    const std::pair<std::uint32_t, int> subjects[] = {
        {LEAVING_EMPTY, bpf_program__fd(programs->progs.bench_leaving_empty)},
        {LEAVING_LOOKUP, bpf_program__fd(programs->progs.bench_leaving_lookup)},
        {LEAVING_OURS, rig.program("mps_out_eth")},
    };
    for (const auto &[subject, program] : subjects)
        need_zero(
            bpf_map_update_elem(bpf_map__fd(programs->maps.bench_subjects), &subject, &program, BPF_ANY),
            "fill bench_subjects");
    return programs;
}

// Nanoseconds for a packet over an empty program: medians over the packets of one transfer.
struct Transfer {
    double ours = 0, lookup = 0;
};

Transfer measure_one(const test::Rig &rig, const lab::Server &server, const Programs &programs, int program,
                     unsigned runs, const lab::TransferSpec &spec) {
    programs->bss->taken = 0;
    programs->bss->lookups_in_vain = 0;
    {
        const Leaving leaving(rig, program);
        const auto result = lab::run_transfer(rig.network(), server, spec);
        if (!result || result->errors())
            throw std::runtime_error("a transfer failed");
    }
    const std::size_t count = std::min<std::size_t>(programs->bss->taken, LEAVING_SAMPLES);
    if (count < 100 || programs->bss->lookups_in_vain > count / 100)
        throw std::runtime_error(
            fmt::format("of the packets on the way out {} were measured, {} had no socket", count,
                        programs->bss->lookups_in_vain));
    std::vector<double> ours, lookup;
    for (const leaving_sample &one : std::span(programs->bss->samples).first(count)) {
        const auto over_empty = [&](leaving_subject subject) {
            return (static_cast<double>(one.ns[subject]) - one.ns[LEAVING_EMPTY]) / runs;
        };
        ours.push_back(over_empty(LEAVING_OURS));
        lookup.push_back(over_empty(LEAVING_LOOKUP));
    }
    return {median(std::move(ours)), median(std::move(lookup))};
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
    auto server = lab::Server::start(rig.network().b());
    if (!server)
        throw std::runtime_error(server.error().what);
    const Programs programs = load_programs(rig);
    const int many = bpf_program__fd(programs->progs.bench_leaving);
    const int edited = bpf_program__fd(programs->progs.bench_leaving_edited);
    std::vector<Row> rows;
    const auto add = [&](const char *name, const char *how, lab::Protocol protocol, double target,
                         int program) {
        const lab::TransferSpec spec{.direction = lab::Direction::download,
                                     .protocol = protocol,
                                     .duration = 300ms,
                                     .verify = false,
                                     .sample_interval = 0ms};
        std::vector<double> ours, in_lookups;

        for (unsigned i = 0; i < rounds; i++) {
            const Transfer one =
                measure_one(rig, *server, programs, program, program == edited ? 1 : LEAVING_RUNS, spec);
            ours.push_back(one.ours);
            in_lookups.push_back(one.ours / one.lookup);
        }
        Row row{name, how, {}, {}};
        row.target_lookups = target;
        row.lookups = median(std::move(in_lookups));
        rows.push_back(std::move(row));
        sum_up(rows.back(), std::move(ours));
    };
    add("way out: TCP without MPTCP",
        "mps_out_eth on the ACKs of a download, beside the lookup on the same packets: medians over packets",
        lab::Protocol::tcp, 0.3, many);
    add("way out: MPTCP with nothing to say", "the same of a connection whose peer is left alone",
        lab::Protocol::mptcp, 2, many);
    rig.set_config_flags(MPS_CONFIG_RX);
    add("way out: the same, its peer steered", "decided on once a millisecond, else looked up and left alone",
        lab::Protocol::mptcp, 2, many);
    rig.set_dwell(0);
    const auto told = rig.counter(MPS_C_TOLD);
    add("way out: with an edit",
        "an MP_PRIO appended to each ACK, once to a packet: as dear as the first time is",
        lab::Protocol::mptcp, 4, edited);
    if (rig.counter(MPS_C_TOLD) - told < 100)
        throw std::runtime_error("hardly a packet was edited on the way out");
    rig.set_config_flags(0);
    return rows;
}

} // namespace mps::bench
