/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * round-robin: one subflow at a time, the next one after each `turn_bytes`, whatever the paths are like. A
 * baseline to compare with.
 *
 * The kernel hands a lone allowed subflow all that fits into its send buffer, so turns overrun. What a
 * subflow had beyond its turn, also after it (parking waits for the next ACK), is taken off its next ones, so
 * that turns are equal over time. One that cannot
 * take its turn within `patience_ms` although data waits for it loses the rest of it.
 */
#ifndef MPS_ROUND_ROBIN_CORE_H
#define MPS_ROUND_ROBIN_CORE_H

#include "../common/sums.core.h"

#define ROUND_ROBIN_PARAMS(P)                                                                                \
	P(__u32, turn_bytes, 131072, 1024, 16777216, "bytes",                                                \
	  "what a subflow is given before the next one's turn; more means fewer flips")                      \
	P(__u32, patience_ms, 200, 1, 60000, "ms",                                                           \
	  "a subflow that has not taken its turn by then, while data waits, loses the rest of it")
MPS_PARAMS(round_robin, ROUND_ROBIN_PARAMS)

/* A subflow that ran away by more than that is forgiven the rest: it would be left out for too long. */
#define ROUND_ROBIN_MOST_TURNS 64

struct round_robin_state {
	__u64 base_bytes
		[MPS_SUBFLOW_ROWS]; /* what it had been given when its turn began, but for what overran */
	__u64 since_us;             /* since when data has waited in this turn; 0: none waits */
	__u32 turn;                 /* index, plus 1; 0: nobody's */
	__u32 known;                /* bit i: index i has an account */
};

/* What a subflow was given beyond its finished turns. Counters are read while another CPU moves them. */
MPS_CORE_PART __u64 round_robin_used(const struct mps_view *v, const struct round_robin_state *st,
				     __u32 index)
{
	__u32 i = mps_row(index);
	__u64 used;

	if (!v || !st)
		return 0;
	used = mps_given_bytes(&v->sf[i]) - st->base_bytes[i];
	return used >> 63 ? 0 : used;
}

/* Accounts begin with a subflow, and anew for one that was away: it owes nothing. */
MPS_CORE_PART __u32 round_robin_open(const struct mps_view *v, struct round_robin_state *st, __u32 candidates,
				     __u64 turn_bytes)
{
	if (!v || !st)
		return 0;
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++) {
		__u64 given = mps_given_bytes(&v->sf[i]);

		if (!(st->known & candidates & 1u << i) || (v->sf[i].flags & MPS_SF_FRESH))
			st->base_bytes[i] = given;
		else if (round_robin_used(v, st, i) > turn_bytes * ROUND_ROBIN_MOST_TURNS)
			st->base_bytes[i] = given - turn_bytes * ROUND_ROBIN_MOST_TURNS;
	}
	st->known = candidates;
	return 0;
}

/* The next one after index `after` that has not had its turn yet; on the way the others have theirs. */
MPS_CORE_PART __u32 round_robin_next(const struct mps_view *v, struct round_robin_state *st, __u32 candidates,
				     __u32 after, __u64 turn_bytes)
{
	__u32 fallback = MPS_MAX_SUBFLOWS;

	if (!v || !st)
		return MPS_MAX_SUBFLOWS;
	for (__u32 k = 1; k <= MPS_MAX_SUBFLOWS; k++) {
		__u32 i = mps_row(after + k < MPS_MAX_SUBFLOWS ? after + k : after + k - MPS_MAX_SUBFLOWS);

		if (!(candidates >> i & 1))
			continue;
		if (fallback == MPS_MAX_SUBFLOWS)
			fallback = i;
		if (round_robin_used(v, st, i) < turn_bytes)
			return i;
		st->base_bytes[i] += turn_bytes;
	}
	return fallback;
}

MPS_CORE void round_robin_decide(const struct mps_view *v, struct mps_verdict *out,
				 const struct round_robin_params *p, struct round_robin_state *st)
{
	__u32 candidates = mps_welcome(v), turn = st->turn - 1, pass = 0;
	__u64 turn_bytes = p->turn_bytes ? p->turn_bytes : 1;

	out->allowed = 0;
	round_robin_open(v, st, candidates, turn_bytes);
	if (turn >= MPS_MAX_SUBFLOWS) {
		turn = MPS_MAX_SUBFLOWS - 1; /* so that index 0 comes next */
		pass = 1;
	} else if (!(candidates >> turn & 1) || (mps_at(v, turn)->flags & MPS_SF_FRESH)) {
		pass = 1;
	} else if (round_robin_used(v, st, turn) >= turn_bytes) {
		st->base_bytes[mps_row(turn)] += turn_bytes;
		pass = 1;
	} else if (!v->unsent_bytes) {
		st->since_us = 0;
	} else if (!st->since_us) {
		st->since_us = v->now_us ? v->now_us : 1;
	} else if (mps_elapsed_us(v, st->since_us) >= (__u64)p->patience_ms * 1000) {
		st->base_bytes[mps_row(turn)] = mps_given_bytes(mps_at(v, turn));
		pass = 1;
	}
	if (pass) {
		turn = round_robin_next(v, st, candidates, turn, turn_bytes);
		if (turn >= MPS_MAX_SUBFLOWS)
			return;
		st->turn = turn + 1;
		st->since_us = 0;
	}
	out->allowed = 1u << turn;
}

#endif
