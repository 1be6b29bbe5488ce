// SPDX-License-Identifier: MIT
//
// What a decision costs under each built-in policy, on a real connection.
#pragma once

#include "measure.hpp"
#include "rig.hpp"

#include <bpf/libbpf.h>
#include <memory>
#include <string_view>

namespace mps::bench {

struct CloseObject {
    void operator()(bpf_object *object) const { bpf_object__close(object); }
};
using Policy = std::unique_ptr<bpf_object, CloseObject>;

// A built-in policy on the rig's scratch map.
Policy load_policy(const test::Rig &rig, std::string_view name);
int program(const Policy &policy, const char *name);
// What it asks the data path for, as in its info.
std::uint32_t wants_of(const Policy &policy);

// An ACK as Linux sends it: NOP NOP TS DSS.
packet::Bytes usual_ack(const test::Flow &flow);

// The kernel's socket lookup of a flow: `lookup_xdp` over `empty_xdp`.
Row lookup_of(const test::Flow &flow, int lookup_xdp, int empty_xdp);

// A row for every built-in policy that can run here, over `empty_xdp`; then what `auto` itself costs.
std::vector<Row> measure_policies(int lookup_xdp, int empty_xdp, Rounds rounds);

} // namespace mps::bench
