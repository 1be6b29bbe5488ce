/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * otias: Out-of-order Transmission for In-order Arrival. Each burst that waits is thought to go where it would
 * arrive first,
 *
 *   T = ⌊max(0, Q − (W − F)) / W⌋·R + R/2
 *
 * with Q what is queued on the subflow, the bursts placed before included. The subflows that get one
 * are allowed.
 */
#ifndef MPS_OTIAS_CORE_H
#define MPS_OTIAS_CORE_H

#include "../common/delay.core.h"

#define OTIAS_PARAMS(P)                                                                                      \
	P(__u32, burst_bytes, 65536, 1400, 16777216, "bytes", "what the kernel puts on a subflow at once")   \
	P(__u32, margin_pct, 10, 0, 100, "%",                                                                \
	  "how much earlier a burst must arrive elsewhere for the first choice to change")
MPS_PARAMS(otias, OTIAS_PARAMS)

/* Bursts that are placed at one decision: the next ACK comes before more than that are gone. */
#define OTIAS_BURSTS 8
/* For a subflow that has no sample, until traffic gives it one. */
#define OTIAS_GUESS_US 100000

struct otias_state {
	struct mps_linger linger;
	__u64 placed_bytes[MPS_SUBFLOW_ROWS]; /* of this decision */
	__u32 first;                          /* index, plus 1; 0: none yet */
	__u32 reserved;
};

/* When a byte that is put on the subflow now arrives. */
MPS_CORE __u64 otias_arrival_us(const struct mps_view *v, const struct otias_state *st, __u32 index)
{
	__u32 i = mps_row(index), us;
	const struct mps_subflow_view *sf = &v->sf[i];
	__u64 window = mps_window_bytes(sf), ahead;

	ahead = mps_bounded_bytes(st->placed_bytes[i]) + sf->notsent_bytes +
		mps_bounded_bytes((__u64)sf->in_flight_segs * sf->mss_bytes);
	ahead = ahead > window ? ahead - window : 0;
	us = mps_delay_us(sf);
	us = us == MPS_DELAY_UNKNOWN ? OTIAS_GUESS_US : us;
	return ahead / window * us + us / 2;
}

/* The index where it arrives first. */
MPS_CORE_PART __u32 otias_first(const struct mps_view *v, const struct otias_state *st, __u32 among)
{
	__u32 best = MPS_MAX_SUBFLOWS;
	__u64 best_us = 0;

	if (!v || !st)
		return best;
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++) {
		__u64 us = otias_arrival_us(v, st, i);

		if ((among >> i & 1) && (best == MPS_MAX_SUBFLOWS || us < best_us)) {
			best = i;
			best_us = us;
		}
	}
	return best;
}

/* Is `held` (an index plus 1) still good enough to stay the first choice? */
MPS_CORE_PART __u32 otias_stays(const struct mps_view *v, const struct otias_state *st, __u32 held,
				__u32 best, __u32 margin_pct)
{
	__u32 index = held - 1;

	if (!v || !st || index >= MPS_MAX_SUBFLOWS || (mps_at(v, index)->flags & MPS_SF_FRESH))
		return 0;
	/* A time is at most 2^31 windows of 2^25 µs. */
	return otias_arrival_us(v, st, index) <=
	       otias_arrival_us(v, st, best) / 100 * (100 + (margin_pct < 100 ? margin_pct : 100));
}

MPS_CORE void otias_decide(const struct mps_view *v, struct mps_verdict *out, const struct otias_params *p,
			   struct otias_state *st)
{
	__u32 candidates = mps_welcome(v), held = st->first - 1, best, placed = 0;
	__u64 left = mps_sendable_bytes(v), burst = p->burst_bytes ? p->burst_bytes : 1;

	out->allowed = candidates;
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++)
		st->placed_bytes[i] = 0;
	best = otias_first(v, st, candidates);
	if (best >= MPS_MAX_SUBFLOWS)
		return;
	if (held < MPS_MAX_SUBFLOWS && (candidates >> held & 1) &&
	    otias_stays(v, st, st->first, best, p->margin_pct))
		best = held;
	st->first = best + 1;
	for (__u32 round = 0; round < OTIAS_BURSTS; round++) {
		placed |= 1u << best;
		st->placed_bytes[mps_row(best)] += burst;
		if (left <= burst)
			break;
		left -= burst;
		best = otias_first(v, st, candidates);
		if (best >= MPS_MAX_SUBFLOWS)
			break;
	}
	out->allowed = (mps_still_open(v, &st->linger, placed) & candidates) | placed;
}

#endif
