// SPDX-License-Identifier: MIT
//
// Single questions to the kernel. Each is answered by doing the thing with a few raw instructions.
#pragma once

#include <string>

#include "mpsched/features.hpp"

namespace mps {

struct Finding {
    Answer answer = Answer::unknown;
    std::string detail{};
};

[[nodiscard]] Finding probe_xdp();
[[nodiscard]] Finding probe_tcx();
[[nodiscard]] Finding probe_cls_bpf();
[[nodiscard]] Finding probe_iter_tcp();
[[nodiscard]] Finding probe_skc_to_mptcp_sock();
[[nodiscard]] Finding probe_bpf_loop();
[[nodiscard]] Finding probe_rdonly_cast();
[[nodiscard]] Finding probe_live_frames();
[[nodiscard]] Finding probe_subprog_tail_call();
[[nodiscard]] Finding probe_sockops();
[[nodiscard]] Finding probe_gateway();
[[nodiscard]] Finding probe_fmod_ret();
[[nodiscard]] Finding probe_mptcp_struct_ops();

// The set given by the caller and the one in the environment variable MPS_WITHOUT together. A name in the
// environment that is no feature is a usage error.
[[nodiscard]] Result<Without> effective_without(const Without &without);

} // namespace mps
