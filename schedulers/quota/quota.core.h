/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * quota: as overflow, but a path that has carried its quota of this period is used only when nothing else is
 * alive.
 *
 * How much a path may still carry is counted by the data path, over all connections. A path counts as
 * exhausted while less is left than the kernel may hand to its subflow before the next decision: that is a
 * burst, for which `reserve_bytes` stands. Several connections decide one after another, each on
 * what the others have left, but all of them may have a burst under way at once.
 *
 * What a peer has handed to a subflow still comes when it is asked to avoid it: the window, and as much again in the queue behind. So in that
 * direction the reserve is `reserve_bytes` and what the path carried in two round trips, all connections together, at the most.
 */
#ifndef MPS_QUOTA_CORE_H
#define MPS_QUOTA_CORE_H

#include "../overflow/overflow.core.h"

#define QUOTA_PARAMS(P)                                                                                      \
	OVERFLOW_PARAMS(P)                                                                                   \
	P(__u32, reserve_bytes, 65536, 0, 1073741824, "bytes",                                               \
	  "a path with less than that left of its quota is not used; covers what is handed out between two decisions")
MPS_PARAMS(quota, QUOTA_PARAMS)

/* Of what is received. KiB, since the state is copied at every decision. */
struct quota_drain {
	__u32 since_ms; /* when this measurement began … */
	__u32 left_kib; /* … and what was left of the path's quota then */
	__u32 most_kib; /* that came in two round trips, in this period */
};

/* The least time of a measurement, and the most: longer ago nothing was decided. */
#define QUOTA_LEAST_MS 50
#define QUOTA_MOST_MS 1000
/* No round trip is longer. */
#define QUOTA_MOST_RTT_MS 2000

struct quota_state {
	struct overflow_tiers overflow;
	struct quota_drain drain[MPS_MAX_SUBFLOWS];
};

/* The subflows of `among` whose path may still carry more than the reserve. */
MPS_CORE_PART __u32 quota_within(const struct mps_view *v, __u32 among, __u32 reserve_bytes)
{
	__u32 mask = 0;

	if (!v)
		return 0;
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++)
		mask |= (__u32)(v->sf[i].quota_left_bytes > reserve_bytes) << i;
	return mask & among;
}

/* What the path carried in two round trips: of all connections, by what is left of its quota. */
MPS_CORE_PART __u32 quota_measure(const struct mps_subflow_view *sf, struct quota_drain *drain, __u32 now_ms,
				  __u32 rtt_us)
{
	__u32 left_kib, elapsed_ms, rtt_ms;
	__u64 came;

	if (!sf || !drain)
		return 0;
	left_kib = sf->quota_left_bytes >> 42 ? ~0u : (__u32)(sf->quota_left_bytes >> 10);
	elapsed_ms = now_ms - drain->since_ms;
	rtt_us = rtt_us > sf->srtt_us ? rtt_us : sf->srtt_us;
	rtt_ms = rtt_us < QUOTA_MOST_RTT_MS * 1000 ? rtt_us / 1000 + 1 : QUOTA_MOST_RTT_MS;
	if (left_kib > drain->left_kib || (sf->flags & MPS_SF_FRESH)) {
		drain->most_kib = 0; /* a new period */
	} else if (elapsed_ms < QUOTA_LEAST_MS) {
		return 0;
	} else if (elapsed_ms <= QUOTA_MOST_MS) {
		came = (__u64)(drain->left_kib - left_kib) * 2 * rtt_ms / elapsed_ms;
		if (came > drain->most_kib)
			drain->most_kib = came < ~0u ? (__u32)came : ~0u;
	}
	drain->since_ms = now_ms;
	drain->left_kib = left_kib;
	return 0;
}

/* As quota_within(), of what is received. A path that was left for this reason is not taken up again for the rest. */
MPS_CORE_PART __u32 quota_within_received(const struct mps_view *v, struct quota_state *st, __u32 among,
					  __u32 reserve_bytes)
{
	__u32 mask = 0;

	if (!v || !st)
		return 0;
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++) {
		__u64 reserve;

		quota_measure(&v->sf[i], &st->drain[i], (__u32)(v->now_us / 1000), v->receipt[i].rtt_us);
		reserve = ((__u64)st->drain[i].most_kib << 10) + reserve_bytes;
		mask |= (__u32)(v->sf[i].quota_left_bytes > reserve) << i;
	}
	return mask & among;
}

MPS_CORE void quota_decide(const struct mps_view *v, struct mps_verdict *out, const struct quota_params *p,
			   struct quota_state *st)
{
	struct overflow_params tiers = {.reserved = 0,
					.full_ms = p->full_ms,
					.full_rtts = p->full_rtts,
					.calm_ms = p->calm_ms,
					.max_rtt_ms = 0,
					.max_loss_permille = 0,
					.retry_s = 0};
	__u32 candidates = mps_candidates(v), within;

	if (mps_receives(v))
		within = quota_within_received(v, st, candidates, p->reserve_bytes);
	else
		within = quota_within(v, candidates, p->reserve_bytes);

	/* A connection that stands still helps nobody: what is alive is used, and counted. */
	out->allowed = overflow_among(v, within ? within : candidates, &tiers, &st->overflow);
}

#endif
