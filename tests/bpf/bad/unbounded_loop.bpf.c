// SPDX-License-Identifier: GPL-2.0-only
/* Never ends. Verifier: "infinite loop detected". */
#include <mps/policy.bpf.h>

MPS_NO_PARAMS(unbounded_loop)

struct unbounded_loop_state {
	__u64 rounds;
};

MPS_CORE void unbounded_loop_decide(const struct mps_view *v, struct mps_verdict *out,
				    const struct unbounded_loop_params *p MPS_UNUSED,
				    struct unbounded_loop_state *st MPS_UNUSED)
{
	__u32 i = 0;

	while (i < 2)
		asm volatile("%0 &= 1" : "+r"(i));
	out->allowed = v->present + i;
}

MPS_POLICY(unbounded_loop, "unbounded-loop", "never ends");
