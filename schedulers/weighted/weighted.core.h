/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * weighted: shares the bytes among the paths in the ratio of their weights (ATSSS load-balancing).
 *
 * Each subflow has a virtual time, the bytes it was given divided by its weight. The one furthest behind is
 * always allowed; another is parked while it leads by more than `lead_bytes`. The kernel hands out up to 64
 * KiB at once, so the shares are exact in the long run and off by a few such bursts at any moment. Shares
 * are kept even if that leaves a light path partly idle: the heaviest path relative to its capacity sets
 * the pace.
 */
#ifndef MPS_WEIGHTED_CORE_H
#define MPS_WEIGHTED_CORE_H

#include <mps/core.h>

#define WEIGHTED_PARAMS(P)                                                                                               \
	P(__u32, lead_bytes, 16384, 1024, 16777216, "bytes",                                                             \
	  "how far a subflow may run ahead of its share before it is parked; more means fewer flips and coarser shares") \
	P(__u32, lowat_bytes, 16384, 0, 16777216, "bytes",                                                               \
	  "how much may wait unsent in a subflow; less means finer shares that follow a change sooner; 0 leaves it to the kernel")
MPS_PARAMS(weighted, WEIGHTED_PARAMS)

/* Virtual time has 10 fractional bits: weights reach 10000, and a segment must still move it. */
#define WEIGHTED_SHIFT 10

struct weighted_state {
	__u64 base[MPS_MAX_SUBFLOWS]; /* given bytes at which the subflow's account starts */
	__u32 weight[MPS_MAX_SUBFLOWS];
	__u32 running; /* bit i: the account of index i is open */
	__u32 reserved;
	__u64 reopen_us; /* when all accounts open once more; 0: they do not */
};

/*
 * A subflow that has more than one burst of the kernel unsent when the accounts open was filled before anybody cared for
 * shares. What of it has left after this time is past, and the shares hold from then on; otherwise a light path would fall
 * silent for as long as it takes the others to make up for it.
 */
#define WEIGHTED_BACKLOG_BYTES 65536
#define WEIGHTED_SETTLE_US 100000

/* Far beyond any transfer, and far from where the arithmetic would wrap. */
#define WEIGHTED_MOST (1ull << 50)

MPS_CORE __u32 weighted_weight(const struct mps_subflow_view *sf)
{
	return sf->weight ? sf->weight : 1;
}

MPS_CORE __u64 weighted_time(const struct mps_view *v, const struct weighted_state *st, __u32 i)
{
	__u64 bytes = mps_given_bytes(&v->sf[i]) - st->base[i];

	/* Another CPU may be processing an ACK while we read, so the sum can be a little less than it was. */
	if (bytes >> 63)
		bytes = 0;
	return ((bytes < WEIGHTED_MOST ? bytes : WEIGHTED_MOST) << WEIGHTED_SHIFT) /
	       weighted_weight(&v->sf[i]);
}

MPS_CORE void weighted_decide(const struct mps_view *v, struct mps_verdict *out,
			      const struct weighted_params *p, struct weighted_state *st)
{
	__u32 candidates = mps_candidates(v), running = st->running & candidates, again;
	__u64 behind = ~0ull;

	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++) {
		if (v->sf[i].flags & MPS_SF_FRESH)
			running &= ~(1u << i);
		/* New weights speak of what comes, not of what was: all accounts start over. */
		else if ((candidates >> i & 1) && (running >> i & 1) && st->weight[i] != v->sf[i].weight)
			running = 0;
	}
	/* All accounts open together: what waits or is in flight counts, so that the shares hold from now on. */
	again = st->reopen_us && v->now_us >= st->reopen_us;
	if (!running || again) {
		__u32 backlog = 0;

		for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++) {
			st->base[i] = v->sf[i].bytes_acked;
			st->weight[i] = v->sf[i].weight;
			if ((candidates >> i & 1) && v->sf[i].notsent_bytes > WEIGHTED_BACKLOG_BYTES)
				backlog = 1;
		}
		st->reopen_us = backlog && !again ? v->now_us + WEIGHTED_SETTLE_US : 0;
		running = candidates;
	}
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++) {
		if (running >> i & 1) {
			__u64 time = weighted_time(v, st, i);

			if (time < behind)
				behind = time;
		}
	}
	out->allowed = 0;
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++) {
		__u32 weight = weighted_weight(&v->sf[i]);
		__u64 lead = ((__u64)p->lead_bytes << WEIGHTED_SHIFT) / weight, time;

		if (!(candidates >> i & 1))
			continue;
		/*
		 * A newcomer, and one that returns from an outage, starts level with the one furthest
		 * behind: it owes nothing, and making up for what it missed would starve the others.
		 */
		if (!(running >> i & 1)) {
			st->base[i] = mps_given_bytes(&v->sf[i]) - (behind * weight >> WEIGHTED_SHIFT);
			st->weight[i] = v->sf[i].weight;
		}
		time = weighted_time(v, st, i);
		if (time <= behind || time - behind <= lead)
			out->allowed |= 1u << i;
	}
	st->running = candidates;
	mps_wish_lowat(out, p->lowat_bytes);
}

#endif
