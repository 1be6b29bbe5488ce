// SPDX-License-Identifier: MIT
//
// The cores of congestion/ in the kernel: compiled for BPF, they answer as they do here.
#include "catch.hpp"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <memory>

#include "congestion.hpp"
#include "congestion_programs.skel.h"

using namespace mps::test;

namespace {

struct Destroy {
    void operator()(congestion_programs *object) const { congestion_programs__destroy(object); }
};

} // namespace

TEST_CASE("congestion controls decide in the kernel as they do on the host") {
    const std::unique_ptr<congestion_programs, Destroy> kernel(congestion_programs__open_and_load());
    REQUIRE(kernel);
    Random random(11);
    for (int i = 0; i < 5000; i++) {
        const mps_cc_flows flows = i % 2 ? sound_flows(random) : any_flows(random);
        kernel->bss->asked = flows;
        LIBBPF_OPTS(bpf_test_run_opts, opts);
        REQUIRE(bpf_prog_test_run_opts(bpf_program__fd(kernel->progs.ask), &opts) == 0);
        INFO(text(flows));
        REQUIRE(kernel->bss->lia == lia_share(&flows));
        REQUIRE(kernel->bss->olia == olia_share(&flows));
        REQUIRE(kernel->bss->balia == balia_share(&flows));
        REQUIRE(kernel->bss->left_over == balia_left(&flows));
        REQUIRE(kernel->bss->acks == mps_cc_acks(flows.sf[0].cwnd_segs, olia_share(&flows)));
    }
}
