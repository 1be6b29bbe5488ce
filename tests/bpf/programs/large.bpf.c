// SPDX-License-Identifier: GPL-2.0-only
/*
 * A policy that keeps as much of a connection as any may, asks for all that the view has, and gives each subflow a reason: the number in
 * it is what is known of that subflow, enum mps_extra.
 */
#include <mps/policy.bpf.h>

MPS_NO_PARAMS(large)

struct large_state {
	__u64 first;
	__u64 between[MPS_STATE_WORDS - 2];
	__u64 last;
};

MPS_CORE void large_decide(const struct mps_view *v, struct mps_verdict *out,
			   const struct large_params *p MPS_UNUSED, struct large_state *st)
{
	out->allowed = v->present;
	st->first++;
	st->last += 3;
	st->between[MPS_STATE_WORDS / 2] = v->token;
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++)
		if (v->present >> i & 1)
			mps_say_than(out, i, MPS_REASON_LATER, (__s32)v->known[i], v->self);
}

MPS_POLICY_WANTING(large, "large", "of the tests: as much of everything as there is", 0,
		   MPS_EXTRA_RECEIVED | MPS_EXTRA_SENT | MPS_EXTRA_ECN | MPS_EXTRA_RTT | MPS_EXTRA_RATE |
			   MPS_EXTRA_CC);
