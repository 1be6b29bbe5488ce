/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * overflow: the paths with the lowest priority value, and the next tier as well while those are full (ATSSS
 * priority-based).
 *
 * Full means: data waited for the paths in use at every ACK for `full_ms` and for `full_rtts` of their round
 * trips. A stream that the preferred path can carry empties its queue again and again, however bursty it is;
 * one that it cannot never does. Windows do not tell the two apart: a subflow is limited by its window in
 * every slow start, and never by it where the bottleneck is a queue of this host.
 *
 * A tier closes once the paths have not been full for `calm_ms` and nothing waits. For a stream between the capacities of two
 * tiers that is a probe, taken back after full_ms: two flips in calm_ms + full_ms.
 *
 * A receiver does not see what waits at the peer, but what waits in front of the paths: receiver.core.h.
 */
#ifndef MPS_OVERFLOW_CORE_H
#define MPS_OVERFLOW_CORE_H

#include "../common/receive.core.h"
#include "../common/threshold.core.h"
#include "../common/tiers.core.h"

#define OVERFLOW_PARAMS(P)                                                                                   \
	P(__u32, full_ms, 100, 0, 60000, "ms",                                                               \
	  "how long data must have waited without a break before the next tier opens")                       \
	P(__u32, full_rtts, 4, 0, 100, "RTTs",                                                               \
	  "the same in round trips of the paths in use, so that a slow start is not taken for a full path")  \
	P(__u32, calm_ms, 2000, 0, 600000, "ms",                                                             \
	  "how long the paths must not have been full before the last tier closes")
#define OVERFLOW_ALL_PARAMS(P) OVERFLOW_PARAMS(P) MPS_THRESHOLD_PARAMS(P)
MPS_PARAMS(overflow, OVERFLOW_ALL_PARAMS)

#define OVERFLOW_MOST_PATIENCE_US 2000000

struct overflow_tiers {
	__u64 waits_since_us; /* data has waited at every decision since; 0: it did not at the last */
	__u64 full_us;        /* when the paths in use were last full, or the last tier opened */
	__u32 top;            /* the last tier in use, plus 1; 0: none chosen yet */
	/* Of the other direction, see receiver.core.h. */
	__u16 windows;     /* for how many of calm_ms the last tier has been open … */
	__u16 doublings;   /* … and how often it was found to be needed still */
	__u64 carried;     /* bytes/s that the tiers before the last one carry when they are full */
	__u64 since_us;    /* when the present window began … */
	__u64 since_bytes; /* … and what had been received then */
};

struct overflow_state {
	struct overflow_tiers tiers;
	struct mps_thresholds thresholds;
};

/* The tiers in use, as far as that is not a matter of how full they are: the first decision; those in use have died; or a preferred path has joined, which nothing has filled. */
MPS_CORE __u32 overflow_settle(const struct mps_view *v, __u32 candidates, struct overflow_tiers *st)
{
	__u32 best = mps_tier_above(v, candidates, 0);

	if (best <= st->top &&
	    !(best < st->top && mps_flagged(v, mps_tiers_up_to(v, candidates, best), MPS_SF_FRESH)))
		return 0;
	st->top = best;
	st->waits_since_us = 0;
	st->full_us = v->now_us;
	return 1;
}

/* For how long something must wait for the paths in use before they are called full. */
MPS_CORE __u64 overflow_patience_us(const struct mps_view *v, __u32 in_use, const struct overflow_params *p)
{
	__u64 patience_us = (__u64)p->full_ms * 1000;
	__u64 rtts_us = (__u64)p->full_rtts * mps_longest_rtt_us(v, in_use);

	/* A bloated queue must not put off the help against it for long. */
	if (rtts_us > OVERFLOW_MOST_PATIENCE_US)
		rtts_us = OVERFLOW_MOST_PATIENCE_US;
	return patience_us < rtts_us ? rtts_us : patience_us;
}

/* Which of `candidates` this host is to use. */
MPS_CORE __u32 overflow_send(const struct mps_view *v, __u32 candidates, const struct overflow_params *p,
			     struct overflow_tiers *st)
{
	__u32 in_use, above, below;
	__u64 waiting, patience_us;

	overflow_settle(v, candidates, st);
	in_use = mps_tiers_up_to(v, candidates, st->top);
	patience_us = overflow_patience_us(v, in_use, p);
	waiting = mps_notsent_of(v, in_use) + mps_sendable_bytes(v);
	if (!waiting)
		st->waits_since_us = 0;
	else if (!st->waits_since_us)
		st->waits_since_us = v->now_us ? v->now_us : 1;
	if (st->waits_since_us && mps_elapsed_us(v, st->waits_since_us) >= patience_us) {
		st->full_us = v->now_us;
		above = mps_tier_above(v, candidates, st->top);
		if (above) {
			st->top = above;
			st->waits_since_us = 0;
		}
	} else if (!waiting && mps_elapsed_us(v, st->full_us) >= (__u64)p->calm_ms * 1000) {
		below = mps_tier_below(v, candidates, st->top);
		if (below) {
			st->top = below;
			st->full_us = v->now_us;
		}
	}
	return mps_tiers_up_to(v, candidates, st->top);
}

#include "receiver.core.h"

/* Which of `candidates` are to be used. */
MPS_CORE __u32 overflow_among(const struct mps_view *v, __u32 candidates, const struct overflow_params *p,
			      struct overflow_tiers *st)
{
	return mps_receives(v) ? overflow_receive(v, candidates, p, st) : overflow_send(v, candidates, p, st);
}

MPS_CORE void overflow_decide(const struct mps_view *v, struct mps_verdict *out,
			      const struct overflow_params *p, struct overflow_state *st)
{
	__u64 limits = mps_threshold_limits(p->max_rtt_ms, p->max_loss_permille, p->retry_s);

	out->allowed = overflow_among(
		v, mps_within_thresholds(v, out, mps_candidates(v), &st->thresholds, limits), p, &st->tiers);
}

#endif
