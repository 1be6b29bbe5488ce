/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * blest: Blocking Estimation. What the quickest subflow's window holds goes there alone. A slower one is
 * used for more only if the send window has room for what it would hold for a round trip and for all that
 * the quickest can send meanwhile:
 *
 *   r = Rs/Rf,  X = MSS·(Wf + (r−1)/2)·r,  skip it if  λ·X > MSW − (what is on it + a burst)
 *
 * λ, 1.0 to 1.3, grows in each round trip in which the send window was closed although data waited, and shrinks
 * in each other one. The paper reserves one segment on the slow subflow; here it is the burst the kernel hands
 * out.
 */
#ifndef MPS_BLEST_CORE_H
#define MPS_BLEST_CORE_H

#include "../common/delay.core.h"

#define BLEST_PARAMS(P)                                                                                      \
	P(__u32, burst_bytes, 65536, 0, 16777216, "bytes",                                                   \
	  "what the kernel is expected to put on a slower subflow at once; 0 gives the rule of the paper")   \
	P(__u32, margin_pct, 10, 0, 100, "%",                                                                \
	  "how much more room there must be before a skipped subflow is used again")                         \
	P(__u32, lambda_least, 1000, 500, 4000, "1/1000", "least of the factor on what the quickest sends")  \
	P(__u32, lambda_most, 1300, 500, 4000, "1/1000", "greatest of that factor")
MPS_PARAMS(blest, BLEST_PARAMS)

#define BLEST_LAMBDA_START 1200
#define BLEST_LAMBDA_UP 40
#define BLEST_LAMBDA_DOWN 10
/* r has 8 fractional bits and is at most 1024. */
#define BLEST_RATIO_SHIFT 8
#define BLEST_RATIO_MOST (1u << 18)

struct blest_state {
	struct mps_linger linger;
	__u64 round_us; /* when the round trip began over which blocking is watched */
	__u32 lambda;   /* 1/1000; 0: not started */
	__u32 blocked;  /* the window was closed in this round */
	__u32 fast;     /* index, plus 1; 0: none yet */
	__u32 reserved;
};

MPS_CORE_PART __u32 blest_update_lambda(const struct mps_view *v, struct blest_state *st,
					const struct blest_params *p, __u32 round_us)
{
	__u32 lambda;

	if (!v || !st || !p)
		return 0;
	lambda = st->lambda ? st->lambda : BLEST_LAMBDA_START;
	if (v->unsent_bytes && !v->window_bytes)
		st->blocked = 1;
	if (mps_elapsed_us(v, st->round_us) >= round_us) {
		st->round_us = v->now_us;
		lambda = st->blocked ? lambda + BLEST_LAMBDA_UP : lambda - BLEST_LAMBDA_DOWN;
		st->blocked = 0;
	}
	if (lambda > p->lambda_most)
		lambda = p->lambda_most;
	if (lambda < p->lambda_least)
		lambda = p->lambda_least;
	st->lambda = lambda < 4000 ? lambda : 4000;
	return 0;
}

/* Does the slower one of a pair (fast | slow << 8) leave the quickest all the window it can use? */
MPS_CORE_PART __u32 blest_fits(const struct mps_view *v, const struct blest_state *st,
			       const struct blest_params *p, __u32 pair, __u64 k)
{
	__u32 i = mps_row(pair >> 8), margin;
	const struct mps_subflow_view *fast, *slow;
	__u64 fast_us, slow_us, ratio, segs, bytes, held, window;

	if (!v || !st || !p)
		return 1;
	fast = mps_at(v, pair);
	slow = mps_at(v, i);
	fast_us = mps_delay_us(fast);
	slow_us = mps_delay_us(slow);
	/* Only traffic gives it a sample. */
	if (slow_us == MPS_DELAY_UNKNOWN || fast_us == MPS_DELAY_UNKNOWN)
		return 1;
	ratio = (slow_us << BLEST_RATIO_SHIFT) / (fast_us ? fast_us : 1);
	if (ratio < 1u << BLEST_RATIO_SHIFT)
		ratio = 1u << BLEST_RATIO_SHIFT;
	if (ratio > BLEST_RATIO_MOST)
		ratio = BLEST_RATIO_MOST;
	segs = mps_window_bytes(fast) / (fast->mss_bytes ? fast->mss_bytes : 1);
	segs = segs < 1u << 20 ? segs : 1u << 20;
	segs = (segs << BLEST_RATIO_SHIFT) + (ratio - (1u << BLEST_RATIO_SHIFT)) / 2;
	bytes = (segs * ratio >> 2 * BLEST_RATIO_SHIFT) * (fast->mss_bytes & 0xffff);
	bytes = mps_bounded_bytes(bytes);
	margin = st->linger.open >> i & 1 ? 0 : p->margin_pct;
	bytes = bytes * (st->lambda & 0xfff) / 1000 * (100 + (margin < 100 ? margin : 100)) / 100;
	held = (__u64)slow->outstanding_bytes + (k < p->burst_bytes ? k : p->burst_bytes);
	window = v->window_bytes + v->unacked_bytes;
	return window >= held && window - held >= bytes;
}

MPS_CORE void blest_decide(const struct mps_view *v, struct mps_verdict *out, const struct blest_params *p,
			   struct blest_state *st)
{
	__u32 candidates = mps_welcome(v), fast = mps_quickest(v, candidates, st->fast, 10), needed = 0;
	__u64 waits = mps_sendable_bytes(v);

	out->allowed = candidates;
	if (fast >= MPS_MAX_SUBFLOWS)
		return;
	st->fast = fast + 1;
	blest_update_lambda(v, st, p, mps_longest_rtt_us(v, candidates));
	if (waits > mps_room_bytes(mps_at(v, fast)))
		for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++)
			if ((candidates & ~(1u << fast)) >> i & 1)
				needed |= (blest_fits(v, st, p, fast | i << 8, waits) & 1) << i;
	out->allowed = (mps_still_open(v, &st->linger, needed) & candidates) | 1u << fast;
}

#endif
