// SPDX-License-Identifier: GPL-2.0-only
/* Ends, but far beyond what the verifier walks. Verifier: "BPF program is too large. Processed 1000001 insn". */
#include <mps/policy.bpf.h>

MPS_NO_PARAMS(long_loop)

struct long_loop_state {
	__u64 rounds;
};

MPS_CORE void long_loop_decide(const struct mps_view *v, struct mps_verdict *out,
			       const struct long_loop_params *p MPS_UNUSED, struct long_loop_state *st)
{
	for (__u32 i = 0; i < 10000000; i++) {
		asm volatile("" : "+r"(i));
		st->rounds += i;
	}
	out->allowed = v->present;
}

MPS_POLICY(long_loop, "long-loop", "takes too long");
