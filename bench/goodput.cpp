// SPDX-License-Identifier: MIT
#include "goodput.hpp"

#include "measure.hpp"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <cerrno>
#include <chrono>
#include <fmt/format.h>
#include <linux/if_link.h>
#include <stdexcept>
#include <system_error>

#include <mpsched/lab/transfer.hpp>

namespace mps::bench {
namespace {

void need_zero(int result, const char *what) {
    if (result < 0)
        throw std::system_error(-result, std::generic_category(), what);
}

// What runs on host A's interfaces; -1 is nothing.
struct Programs {
    int xdp = -1;
    int tc = -1;
};

void attach(const test::Rig &rig, Programs programs) {
    test::Inside inside(rig.network().a());

    for (const test::Flow &flow : rig.flows()) {
        const int ifindex = static_cast<int>(flow.ifindex);
        LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = ifindex, .attach_point = BPF_TC_INGRESS);
        LIBBPF_OPTS(bpf_tc_opts, tc, .prog_fd = programs.tc, .flags = BPF_TC_F_REPLACE, .handle = 1,
                    .priority = 1);
        LIBBPF_OPTS(bpf_tc_opts, old, .handle = 1, .priority = 1);

        need_zero(bpf_xdp_attach(ifindex, programs.xdp, XDP_FLAGS_DRV_MODE, nullptr), "attach XDP");
        if (int error = bpf_tc_hook_create(&hook); error != -EEXIST)
            need_zero(error, "create clsact");
        if (programs.tc >= 0) {
            need_zero(bpf_tc_attach(&hook, &tc), "attach TC");
        } else if (int error = bpf_tc_detach(&hook, &old); error != -ENOENT && error != -EINVAL) {
            need_zero(error, "detach TC");
        }
    }
}

double transfer(const test::Rig &rig, const lab::Server &server, lab::Direction direction,
                unsigned milliseconds) {
    lab::TransferSpec spec;

    spec.direction = direction;
    spec.duration = std::chrono::milliseconds(milliseconds);
    spec.verify = false;
    spec.sample_interval = std::chrono::milliseconds(0);
    auto result = lab::run_transfer(rig.network(), server, spec);
    if (!result)
        throw std::runtime_error(result.error().what);
    if (result->errors() || result->any_fallback())
        throw std::runtime_error("a transfer failed or fell back to TCP");
    return result->mbit_per_s();
}

struct Case {
    const char *name;
    lab::Direction direction;
    Programs with, without;
};

Goodput measure_case(test::Rig &rig, const lab::Server &server, const Case &one, Repetitions repetitions) {
    std::vector<double> with, without;
    auto decided = rig.counter(MPS_C_DECIDED);

    const auto measure_one = [&](const Programs &programs, std::vector<double> &into) {
        attach(rig, programs);
        into.push_back(transfer(rig, server, one.direction, repetitions.milliseconds));
    };
    // In turns, and each as often first as second: what a connection leaves behind must not favour one.
    for (unsigned i = 0; i < repetitions.count; i++) {
        if (i % 2 == 0)
            measure_one(one.without, without);
        measure_one(one.with, with);
        if (i % 2 != 0)
            measure_one(one.without, without);
    }
    const bool decides = one.with.xdp >= 0 || one.with.tc >= 0;
    if (decides && rig.counter(MPS_C_DECIDED) == decided)
        throw std::runtime_error("the data path decided nothing during the transfers");
    Goodput row{.name = one.name, .with_mbit = median(with), .without_mbit = median(without)};
    row.ratio = row.with_mbit / row.without_mbit;
    if (!decides)
        row.target = 0;
    return row;
}

} // namespace

std::vector<Goodput> measure_goodput(test::Rig &rig, int default_xdp, int default_tc,
                                     Repetitions repetitions) {
    const std::uint32_t slot = 2;
    auto server = lab::Server::start(rig.network().b());
    std::vector<Goodput> out;

    if (!server)
        throw std::runtime_error(server.error().what);
    need_zero(bpf_map_update_elem(rig.map(MPS_MAP_XDP_SLOTS), &slot, &default_xdp, BPF_ANY),
              "fill the XDP slot");
    need_zero(bpf_map_update_elem(rig.map(MPS_MAP_TC_SLOTS), &slot, &default_tc, BPF_ANY),
              "fill the TC slot");
    rig.use_slot(slot);
    rig.set_dwell(MPS_DEFAULT_DWELL_US);

    const Programs xdp{rig.program("mps_xdp_eth"), rig.program("mps_wake_eth")};
    const Programs tc{-1, rig.program("mps_tc_eth")};
    const Programs empty{rig.empty_xdp(), -1};
    const Case cases[] = {
        {"upload, XDP / empty XDP", lab::Direction::upload, xdp, empty},
        {"download, XDP / empty XDP", lab::Direction::download, xdp, empty},
        {"upload, TC / no program", lab::Direction::upload, tc, {}},
        {"download, TC / no program", lab::Direction::download, tc, {}},
        {"upload, no program / no program", lab::Direction::upload, {}, {}},
    };
    for (const Case &one : cases) {
        out.push_back(measure_case(rig, *server, one, repetitions));
    }
    attach(rig, empty);
    rig.use_slot(1);
    return out;
}

} // namespace mps::bench
