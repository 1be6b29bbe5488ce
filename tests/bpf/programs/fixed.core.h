/* SPDX-License-Identifier: GPL-2.0-only */
/* A policy that answers what its parameters say: tests force any decision with it. */
#ifndef MPS_TEST_FIXED_CORE_H
#define MPS_TEST_FIXED_CORE_H

#include <mps/core.h>

#define FIXED_PARAMS(P)                                                                                      \
	P(__u32, allowed, 255, 0, 4294967295, "", "the set of subflows to allow")                            \
	P(__u32, flags, 0, 0, 4294967295, "", "enum mps_verdict_flag")                                       \
	P(__u32, rounds, 0, 0, 4294967295, "", "counts its decisions in the connection's state if not 0")    \
	P(__u32, lowat_bytes, 0, 0, 4294967295, "bytes", "of every subflow, where flags has 2")              \
	P(__u32, pace_bytes_s, 0, 0, 4294967295, "bytes/s", "of every subflow, where flags has 2")
MPS_PARAMS(fixed, FIXED_PARAMS)

struct fixed_state {
	__u64 decisions;
};

MPS_CORE void fixed_decide(const struct mps_view *v MPS_UNUSED, struct mps_verdict *out,
			   const struct fixed_params *p, struct fixed_state *st)
{
	out->allowed = p->allowed;
	out->flags = p->flags;
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++) {
		out->lever[i].lowat_bytes = p->lowat_bytes;
		out->lever[i].pace_bytes_s = p->pace_bytes_s;
	}
	if (p->rounds)
		st->decisions++;
}

#endif
