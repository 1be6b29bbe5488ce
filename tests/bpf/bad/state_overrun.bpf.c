// SPDX-License-Identifier: GPL-2.0-only
/* Writes behind the work area at an index from the packet's world. Verifier: "invalid access to map value". */
#include <mps/policy.bpf.h>

MPS_NO_PARAMS(state_overrun)

struct state_overrun_state {
	__u64 word[4];
};

MPS_CORE void state_overrun_decide(const struct mps_view *v, struct mps_verdict *out,
				   const struct state_overrun_params *p MPS_UNUSED,
				   struct state_overrun_state *st)
{
	st->word[v->self & 0xffff] = 1;
	out->allowed = v->present;
}

MPS_POLICY(state_overrun, "state-overrun", "writes out of bounds");
