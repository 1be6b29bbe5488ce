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

// An ACK as Linux sends it: NOP NOP TS DSS.
packet::Bytes usual_ack(const test::Flow &flow);

// A row for every built-in policy that can run here, over `empty_xdp`; then what `auto` itself costs.
std::vector<Row> measure_policies(int empty_xdp, Rounds rounds);

} // namespace mps::bench
