/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * overflow for what the peer sends. What waits there nobody tells, but what is sent faster than a path carries waits in front of the path, and
 * what arrives says how long (mps_subflow_receipt.queue_us). So the paths in use are full when there has been such a queue at every
 * decision for full_ms and full_rtts. What a stream brings that they can carry finds none.
 *
 * Once the next tier is open the queue goes, whether that tier is needed or not. So the tiers before it are measured when they are full, and
 * the last one closes when all together have brought less than nine tenths of that for calm_ms. Whether the others could carry more by now nobody
 * can see: so it is tried, after eight times calm_ms, and twice as late each time that it is found to be needed still.
 *
 * A path that drops what it cannot carry without a queue, and a sender that fills none (BBR), are not seen to be full.
 */
#ifndef MPS_OVERFLOW_RECEIVER_H
#define MPS_OVERFLOW_RECEIVER_H

#define OVERFLOW_FIRST_WINDOWS 8
#define OVERFLOW_MOST_DOUBLINGS 5

/* Begins to measure; returns what came each second in the window that ends, or the greatest number if nobody can tell. */
MPS_CORE_PART __u64 overflow_window(const struct mps_view *v, struct overflow_tiers *st)
{
	__u64 received, bytes, elapsed_us, rate = ~0ull;

	if (!v || !st)
		return rate;
	received = mps_acked_of(v, v->present);
	bytes = received - st->since_bytes;
	elapsed_us = mps_elapsed_us(v, st->since_us);
	/* Unless a subflow went and took its count along. */
	if (elapsed_us && !(bytes >> 40))
		rate = bytes * 1000000 / elapsed_us;
	st->since_us = v->now_us;
	st->since_bytes = received;
	return rate;
}

/* The last tier is open, and the paths are not full: is it to stay? */
MPS_CORE_PART __u32 overflow_stays(const struct mps_view *v, struct overflow_tiers *st)
{
	__u32 doublings;
	__u64 rate;

	if (!v || !st)
		return 1;
	rate = overflow_window(v, st);
	if (rate < st->carried / 10 * 9) {
		st->windows = 0;
		st->doublings = 0;
		return 0;
	}
	doublings = st->doublings < OVERFLOW_MOST_DOUBLINGS ? st->doublings : OVERFLOW_MOST_DOUBLINGS;
	if (++st->windows < OVERFLOW_FIRST_WINDOWS << doublings)
		return 1;
	st->windows = 0;
	st->doublings = (__u16)(doublings + 1);
	return 0;
}

/* Which of `candidates` the peer is to use. */
MPS_CORE __u32 overflow_receive(const struct mps_view *v, __u32 candidates, const struct overflow_params *p,
				struct overflow_tiers *st)
{
	__u32 in_use, above, below;
	__u64 carried;

	if (overflow_settle(v, candidates, st))
		overflow_window(v, st);
	in_use = mps_tiers_up_to(v, candidates, st->top);
	if (!mps_queued_on(v, in_use)) {
		st->waits_since_us = 0;
	} else if (!st->waits_since_us) {
		st->waits_since_us = v->now_us ? v->now_us : 1;
		/* Of the tiers in use before there is a further one. */
		if (!mps_tier_below(v, candidates, st->top))
			overflow_window(v, st);
	}
	above = mps_tier_above(v, candidates, st->top);
	below = mps_tier_below(v, candidates, st->top);
	if (above && st->waits_since_us &&
	    mps_elapsed_us(v, st->waits_since_us) >= overflow_patience_us(v, in_use, p)) {
		/* The others could carry all of it in between. */
		if (mps_elapsed_us(v, st->full_us) > (__u64)p->calm_ms * 1000)
			st->doublings = 0;
		st->windows = 0;
		carried = overflow_window(v, st);
		st->carried = carried < ~0ull ? carried : 0;
		st->top = above;
		st->waits_since_us = 0;
		st->full_us = v->now_us;
	} else if (below && mps_elapsed_us(v, st->full_us) >= (__u64)p->calm_ms * 1000) {
		st->full_us = v->now_us;
		if (!overflow_stays(v, st)) {
			st->top = below;
			st->carried = 0;
			st->waits_since_us = 0;
		}
	}
	return mps_tiers_up_to(v, candidates, st->top);
}

#endif
