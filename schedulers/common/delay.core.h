/* SPDX-License-Identifier: GPL-2.0-only */
/* Delays and windows of subflows, the quickest of them, and how long one that was needed stays open. */
#ifndef MPS_DELAY_CORE_H
#define MPS_DELAY_CORE_H

#include "sums.core.h"

/* No sample, not even of the handshake. */
#define MPS_DELAY_UNKNOWN 0x7fffffffu
/* Bounds that keep products of a delay, a number of bytes and a percentage within 64 bits: 33 s, 1 GiB. */
#define MPS_DELAY_MOST (1u << 25)
#define MPS_BYTES_MOST (1u << 30)

MPS_CORE __u32 mps_delay_us(const struct mps_subflow_view *sf)
{
	__u32 us = sf->srtt_us ? sf->srtt_us : sf->min_rtt_us;

	if (!us)
		return MPS_DELAY_UNKNOWN;
	return us < MPS_DELAY_MOST ? us : MPS_DELAY_MOST;
}

MPS_CORE __u32 mps_jitter_us(const struct mps_subflow_view *a, const struct mps_subflow_view *b)
{
	__u32 us = a->rttvar_us > b->rttvar_us ? a->rttvar_us : b->rttvar_us;

	return us < MPS_DELAY_MOST ? us : MPS_DELAY_MOST;
}

MPS_CORE __u64 mps_bounded_bytes(__u64 bytes)
{
	return bytes < MPS_BYTES_MOST ? bytes : MPS_BYTES_MOST;
}

/*
 * The congestion window in bytes, at least 1. After idling for about a retransmission time-out the kernel
 * starts anew with ten segments (RFC 2861, RFC 6928), but shrinks the window only when it sends again.
 */
MPS_CORE __u64 mps_window_bytes(const struct mps_subflow_view *sf)
{
	__u32 segs = sf->cwnd_segs;
	__u64 bytes;

	if (segs > 10 && !sf->in_flight_segs && sf->last_rcv_age_us > 200000 &&
	    sf->last_rcv_age_us - 200000 > sf->srtt_us)
		segs = 10;
	bytes = (__u64)segs * sf->mss_bytes;
	return bytes ? mps_bounded_bytes(bytes) : 1;
}

/* Bytes a second by window and round trip, at least 1 and at most 2^31; without a sample a round trip of 100 ms. */
MPS_CORE __u64 mps_rate(const struct mps_subflow_view *sf)
{
	__u32 us = mps_delay_us(sf);
	__u64 rate = mps_window_bytes(sf) * 1000000 / (us == MPS_DELAY_UNKNOWN ? 100000 : us);

	return rate < 1 ? 1 : rate < 1u << 31 ? rate : 1u << 31;
}

/*
 * The quickest of the subflows in `among`, MPS_MAX_SUBFLOWS if that is empty. `held` (an index plus 1, 0 for
 * none) keeps its place until another one is better by `margin_pct` and by the RTT deviation of the two.
 */
MPS_CORE_PART __u32 mps_quickest(const struct mps_view *v, __u32 among, __u32 held, __u32 margin_pct)
{
	__u32 best = MPS_MAX_SUBFLOWS, best_us = 0, index = held - 1;
	const struct mps_subflow_view *now, *other;
	__u64 margin, jitter;

	if (!v)
		return best;
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++) {
		__u32 us = mps_delay_us(&v->sf[i]);

		if ((among >> i & 1) && (best == MPS_MAX_SUBFLOWS || us < best_us)) {
			best = i;
			best_us = us;
		}
	}
	if (best == MPS_MAX_SUBFLOWS || index >= MPS_MAX_SUBFLOWS || !(among >> index & 1))
		return best;
	now = mps_at(v, index);
	other = mps_at(v, best);
	/* Indices outlive subflows. */
	if (now->flags & MPS_SF_FRESH)
		return best;
	margin = (__u64)best_us * margin_pct / 100;
	jitter = mps_jitter_us(now, other);
	return mps_delay_us(now) <= best_us + (margin > jitter ? margin : jitter) ? index : best;
}

/*
 * What was needed at one ACK is often not needed at the next, and again at the one after. A subflow stays
 * open for one round trip (10 ms to 1 s) after it was last needed, but not beyond the end of the transfer:
 * what is open then is where the next one starts.
 */
struct mps_linger {
	__u64 needed_us[MPS_MAX_SUBFLOWS];
	__u32 open;
	__u32 reserved;
};

MPS_CORE_PART __u32 mps_still_open(const struct mps_view *v, struct mps_linger *l, __u32 needed)
{
	__u32 open = 0, done;

	if (!v || !l)
		return 0;
	done = !v->unsent_bytes && !mps_outstanding_of(v, v->present);
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++) {
		__u32 us = mps_delay_us(&v->sf[i]);

		us = us < 10000 ? 10000 : us > 1000000 ? 1000000 : us;
		if (needed >> i & 1)
			l->needed_us[i] = v->now_us;
		else if (done || !(l->open >> i & 1) || (v->sf[i].flags & MPS_SF_FRESH) ||
			 mps_elapsed_us(v, l->needed_us[i]) >= us)
			continue;
		open |= 1u << i;
	}
	l->open = open;
	return open;
}

#endif
