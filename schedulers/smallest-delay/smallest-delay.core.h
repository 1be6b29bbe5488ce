/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * smallest-delay: the subflow with the least smoothed RTT, and in order of RTT as many further ones as it
 * takes to hold what waits to be sent (minRTT with the kernel's burst as the unit; ATSSS smallest-delay).
 * So a small message stays on the quickest path and a bulk transfer uses all.
 *
 * The preferred subflow changes only if another is better by `margin_pct` and by the larger RTT deviation
 * of the two, so jitter does not make traffic jump.
 */
#ifndef MPS_SMALLEST_DELAY_CORE_H
#define MPS_SMALLEST_DELAY_CORE_H

#include "../common/threshold.core.h"

#define SMALLEST_DELAY_PARAMS(P)                                                                             \
	P(__u32, margin_pct, 10, 0, 100, "%",                                                                \
	  "how much quicker another subflow must be to become the preferred one")                            \
	P(__u32, rttvar_factor, 1, 0, 16, "", "times the RTT deviation that it must be quicker as well")     \
	MPS_THRESHOLD_PARAMS(P)
MPS_PARAMS(smallest_delay, SMALLEST_DELAY_PARAMS)

struct smallest_delay_state {
	__u32 preferred; /* index, plus 1; 0: none yet */
	__u32 reserved;
	struct mps_thresholds thresholds;
};

/* One that carried nothing has no sample yet. It counts as slow, but not as absent: it still comes last. */
MPS_CORE __u32 smallest_delay_us(const struct mps_subflow_view *sf)
{
	if (sf->srtt_us)
		return sf->srtt_us;
	return sf->min_rtt_us ? sf->min_rtt_us : 0x7fffffff;
}

/* The quickest of the subflows in `among`, MPS_MAX_SUBFLOWS if that is empty. */
MPS_CORE_PART __u32 smallest_delay_quickest(const struct mps_view *v, __u32 among)
{
	__u32 best = MPS_MAX_SUBFLOWS, best_us = 0;

	if (!v)
		return best;
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++) {
		__u32 delay = smallest_delay_us(&v->sf[i]);

		if ((among >> i & 1) && (best == MPS_MAX_SUBFLOWS || delay < best_us)) {
			best = i;
			best_us = delay;
		}
	}
	return best;
}

MPS_CORE void smallest_delay_decide(const struct mps_view *v, struct mps_verdict *out,
				    const struct smallest_delay_params *p, struct smallest_delay_state *st)
{
	__u32 left = mps_welcome(v), preferred = st->preferred - 1, best;
	__u64 room = 0;

	left = mps_within_thresholds(v, out, left, &st->thresholds,
				     mps_threshold_limits(p->max_rtt_ms, p->max_loss_permille, p->retry_s));
	best = smallest_delay_quickest(v, left);
	out->allowed = 0;
	if (best >= MPS_MAX_SUBFLOWS)
		return;
	/* Indices outlive subflows: a fresh one at the preferred index is another subflow. */
	if (preferred < MPS_MAX_SUBFLOWS && (left >> preferred & 1) &&
	    !(mps_at(v, preferred)->flags & MPS_SF_FRESH)) {
		const struct mps_subflow_view *now = mps_at(v, preferred), *other = mps_at(v, best);
		__u32 other_us = smallest_delay_us(other);
		__u64 margin = (__u64)other_us * p->margin_pct / 100;
		__u64 jitter = (__u64)p->rttvar_factor *
			       (now->rttvar_us > other->rttvar_us ? now->rttvar_us : other->rttvar_us);

		if (smallest_delay_us(now) <= other_us + (margin > jitter ? margin : jitter))
			best = preferred;
	}
	st->preferred = best + 1;
	for (__u32 round = 0; round < MPS_MAX_SUBFLOWS; round++) {
		out->allowed |= 1u << best;
		left &= ~(1u << best);
		room += mps_room_bytes(mps_at(v, best));
		if (!left || v->unsent_bytes <= room)
			break;
		best = smallest_delay_quickest(v, left);
		if (best >= MPS_MAX_SUBFLOWS)
			break;
	}
}

#endif
