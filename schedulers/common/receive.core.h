/* SPDX-License-Identifier: GPL-2.0-only */
/* What peers send, as the receiving end sees it (MPS_DIRECTION_RX): when a transfer began, how quickly a subflow brings it, what waits in front. */
#ifndef MPS_RECEIVE_CORE_H
#define MPS_RECEIVE_CORE_H

#include "delay.core.h"

/* The sender starts with that many segments (RFC 6928), which says what a subflow can do before it has brought anything. */
#define MPS_FIRST_SEGS 10

MPS_CORE __u32 mps_receives(const struct mps_view *v)
{
	return v->direction == MPS_DIRECTION_RX;
}

/* Without anything for that long, and for two round trips, a transfer is over. */
#define MPS_TRANSFER_GAP_US 100000

/* The same for this connection. */
MPS_CORE __u64 mps_transfer_gap_us(const struct mps_view *v)
{
	__u64 rtts_us = 2 * (__u64)mps_longest_rtt_us(v, v->present);

	return rtts_us > MPS_TRANSFER_GAP_US ? rtts_us : MPS_TRANSFER_GAP_US;
}

/* Nobody tells when a transfer begins or ends: one is over when nothing has arrived for a while. */
struct mps_transfer {
	__u64 began_us; /* when the present transfer did */
	__u64 grown_us; /* when something last arrived … */
	__u64 total;    /* … and how much that was in all */
};

/* For how long the present transfer has lasted. */
MPS_CORE __u64 mps_follow_transfer(const struct mps_view *v, struct mps_transfer *t, __u64 gap_us)
{
	__u64 total = mps_acked_of(v, v->present);

	if (mps_elapsed_us(v, t->grown_us) > gap_us)
		t->began_us = v->now_us;
	if (total != t->total) {
		t->total = total;
		t->grown_us = v->now_us;
	}
	return mps_elapsed_us(v, t->began_us);
}

/*
 * What a subflow was seen to bring in a second, at most 2^31; 0: it has brought nothing yet. `kept` is what this said before, for one that brings
 * nothing now. A slower while counts little, since pauses look like that, and not at all once the peer avoids it.
 */
MPS_CORE __u32 mps_keep_rate(const struct mps_subflow_view *sf, __u32 kept, __u32 in_use)
{
	__u32 rate = sf->pacing_rate < 1u << 31 ? (__u32)sf->pacing_rate : 1u << 31;

	if (rate >= kept)
		return rate;
	return rate && in_use ? kept - (kept - rate) / 256 : kept;
}

/* The same as a guess of what it would bring: by its round trip where nothing was seen; at least 1 and at most 2^31. */
MPS_CORE __u64 mps_receive_rate(const struct mps_subflow_view *sf, __u32 kept)
{
	__u32 us = mps_delay_us(sf), mss = sf->mss_bytes < 1u << 16 ? sf->mss_bytes : 1u << 16;
	__u64 rate = kept;

	if (!rate)
		rate = (__u64)MPS_FIRST_SEGS * mss * 1000000 / (us == MPS_DELAY_UNKNOWN ? 100000 : us);
	return rate < 1 ? 1 : rate < 1u << 31 ? rate : 1u << 31;
}

/*
 * The subflows of `among` whose path has a queue in front of it: what the peer sends is more than it carries. It is so if all that arrives has
 * waited for a quarter of the round trip, at least 5 ms, since timestamps are not exact, and at most 25 ms.
 */
MPS_CORE_PART __u32 mps_queued_on(const struct mps_view *v, __u32 among)
{
	__u32 mask = 0;

	if (!v)
		return 0;
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++) {
		__u64 least = v->sf[i].srtt_us / 4;

		least = mps_lesser(least + 5000 - mps_lesser(least, 5000), 25000);
		mask |= (__u32)mps_is_less(least, v->receipt[i].queue_us) << i;
	}
	return mask & among;
}

#endif
