/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * learned: a contextual bandit that finds out, for each connection, whether slower subflows help (Peekaboo).
 *
 * While the quickest subflow has room it is used alone. When it is full and data waits, an epoch begins: the
 * bandit looks at window, data in flight and send window, each by round trip, of the quickest and of the next
 * one, and takes one of two actions for some of the slower one's round trips: use all, or wait for the quickest.
 * Then it sees how many bytes the peer has acknowledged in sequence (data level), as a share of what windows and
 * delays promise, and learns from that.
 *
 * LinUCB (Li et al., WWW'10): for each action an estimate theta = A^-1 b and its uncertainty sqrt(x' A^-1 x);
 * the larger theta'x + alpha·uncertainty wins. A^-1 is kept itself, by the formula of Sherman and Morrison, so
 * nothing is ever inverted. All in fixed point with 12 fractional bits. Old lessons fade (`memory`), because
 * paths change.
 */
#ifndef MPS_LEARNED_CORE_H
#define MPS_LEARNED_CORE_H

#include "../common/delay.core.h"

#define LEARNED_PARAMS(P)                                                                                    \
	P(__u32, alpha_pct, 50, 0, 1000, "%", "weight of uncertainty; more means trying more")               \
	P(__u32, explore_pct, 5, 0, 100, "%",                                                                \
	  "of all epochs that take the other action, whatever was learned")                                  \
	P(__u32, memory, 64, 2, 4096, "epochs", "after how many epochs a lesson has faded")                  \
	P(__u32, margin_pct, 10, 0, 100, "%",                                                                \
	  "how much quicker another subflow must be to become the quickest")
MPS_PARAMS(learned, LEARNED_PARAMS)

/*
 * Round trips of the slower subflow in an epoch. In the first ones arrives what was queued before, which is no merit of
 * this action; after one round trip equal paths were told from useless ones by chance.
 */
#define LEARNED_EPOCH_RTTS 6

#define LEARNED_ONE 4096
#define LEARNED_DIM 4
#define LEARNED_CELLS 10 /* of a symmetric matrix: its lower triangle, row by row */
#define LEARNED_MOST (16 * LEARNED_ONE)

enum learned_action {
	LEARNED_USE = 0,
	LEARNED_WAIT = 1,
	LEARNED_ACTIONS = 2,
};

struct learned_arm {
	__s32 inverse[LEARNED_CELLS]; /* A^-1 */
	__s32 b[LEARNED_DIM];
};

struct learned_state {
	struct learned_arm arm[LEARNED_ACTIONS];
	__u64 since_us;    /* of this epoch; 0: none */
	__u64 acked_bytes; /* data level, when it began */
	__u64 promised;    /* bytes/s by windows and delays, when it began */
	__s32 x[LEARNED_DIM];
	__u32 random;
	__u32 fast; /* index, plus 1; 0: none yet */
	__u32 action;
	__u32 ready;
};

/* Parts, though small: inline their branches multiply through every loop. */
MPS_CORE_PART __s64 learned_bound(__s64 value, __s64 most)
{
	return value > most ? most : value < -most ? -most : value;
}

/* BPF divides unsigned numbers only. `by` is not 0. */
MPS_CORE_PART __s64 learned_divide(__s64 value, __u64 by)
{
	if (!by)
		return 0;
	return value < 0 ? -(__s64)(-(__u64)value / by) : (__s64)((__u64)value / by);
}

/* Row `i` of the matrix times x. */
MPS_CORE __s64 learned_row(const struct learned_arm *arm, const __s32 *x, int i)
{
	__s64 sum = 0;

	for (int j = 0; j < LEARNED_DIM; j++) {
		int cell = i >= j ? i * (i + 1) / 2 + j : j * (j + 1) / 2 + i;

		sum += learned_bound(arm->inverse[cell], LEARNED_MOST) * learned_bound(x[j], LEARNED_MOST);
	}
	return learned_divide(sum, LEARNED_ONE);
}

/* The root of a number below 2^32. */
MPS_CORE_PART __u32 learned_root(__u64 value)
{
	__u32 root = 0;

	for (int bit = 15; bit >= 0; bit--) {
		__u32 more = root | 1u << bit;

		if ((__u64)more * more <= value)
			root = more;
	}
	return root;
}

MPS_CORE void learned_reset(struct learned_state *st)
{
	for (int a = 0; a < LEARNED_ACTIONS; a++) {
		for (int c = 0; c < LEARNED_CELLS; c++)
			st->arm[a].inverse[c] = c == 0 || c == 2 || c == 5 || c == 9 ? LEARNED_ONE : 0;
		for (int i = 0; i < LEARNED_DIM; i++)
			st->arm[a].b[i] = 0;
	}
	st->ready = 1;
}

/* What the action promises in this context, plus what is not known of it. */
MPS_CORE_PART __s32 learned_score(const struct learned_state *st, __u32 action, __u32 alpha_pct)
{
	const struct learned_arm *arm;
	__s64 mean = 0, spread = 0;

	if (!st)
		return 0;
	arm = &st->arm[action & 1];
	for (int i = 0; i < LEARNED_DIM; i++) {
		__s64 row = learned_row(arm, st->x, i);

		/* theta'x = b' A^-1 x */
		mean += learned_bound(arm->b[i], 1 << 24) * row;
		spread += learned_bound(st->x[i], LEARNED_MOST) * row;
	}
	mean = learned_divide(mean, LEARNED_ONE);
	if (spread < 0)
		spread = 0;
	/* sqrt(value · 2^24) has 12 fractional bits again. */
	spread = learned_root(spread < 0xffffffffll ? (__u64)spread : 0xffffffffull);
	return (__s32)learned_bound(mean + spread * (alpha_pct < 1000 ? alpha_pct : 1000) / 100, 1 << 30);
}

/* One lesson: in context st->x the action that was taken earned `reward`. */
MPS_CORE_PART __s32 learned_lesson(struct learned_state *st, __u32 memory, __s32 reward)
{
	struct learned_arm *arm;
	__s64 row[LEARNED_DIM], norm = LEARNED_ONE, kept, earned;
	int cell = 0;

	if (!st)
		return 0;
	arm = &st->arm[st->action & 1];
	if (memory < 2)
		memory = 2;
	for (int i = 0; i < LEARNED_DIM; i++) {
		row[i] = learned_bound(learned_row(arm, st->x, i), LEARNED_MOST);
		norm += learned_divide(learned_bound(st->x[i], LEARNED_MOST) * row[i], LEARNED_ONE);
	}
	if (norm < LEARNED_ONE)
		norm = LEARNED_ONE;
	for (int i = 0; i < LEARNED_DIM; i++) {
		for (int j = 0; j <= i; j++, cell++) {
			__s64 value = arm->inverse[cell] - learned_divide(row[i] * row[j], (__u64)norm);

			/* Forgetting is uncertainty that grows back, up to where it began. */
			if (i == j) {
				value += learned_divide(value, memory) + 1;
				value = value < 1 ? 1 : value > LEARNED_ONE ? LEARNED_ONE : value;
			}
			arm->inverse[cell] = (__s32)learned_bound(value, LEARNED_ONE);
		}
		kept = arm->b[i] - learned_divide(arm->b[i], memory);
		earned = learned_divide((__s64)reward * learned_bound(st->x[i], LEARNED_MOST), LEARNED_ONE);
		arm->b[i] = (__s32)learned_bound(kept + earned, 1 << 24);
	}
	return 1;
}

/* Bytes that the peer has acknowledged in sequence, but for a constant. */
MPS_CORE __u64 learned_acked(const struct mps_view *v)
{
	return mps_acked_of(v, v->present) + mps_outstanding_of(v, v->present) - v->unacked_bytes;
}

/* a as a share of a and b, in fixed point. */
MPS_CORE __s32 learned_share(__u64 a, __u64 b)
{
	a = mps_bounded_bytes(a);
	b = mps_bounded_bytes(b);
	return a + b ? (__s32)(a * LEARNED_ONE / (a + b)) : LEARNED_ONE / 2;
}

/* The context: of each quantity by round trip, how much is the slower one's (fast | slow << 8). */
MPS_CORE_PART __u32 learned_look(const struct mps_view *v, struct learned_state *st, __u32 pair)
{
	const struct mps_subflow_view *fast, *slow;
	__u64 fast_us, slow_us, window;

	if (!v || !st)
		return 0;
	fast = mps_at(v, pair);
	slow = mps_at(v, pair >> 8);
	fast_us = mps_delay_us(fast);
	slow_us = mps_delay_us(slow);
	window = mps_bounded_bytes(v->window_bytes);
	st->x[0] = LEARNED_ONE;
	st->x[1] = learned_share(mps_rate(slow), mps_rate(fast));
	st->x[2] = learned_share(mps_bounded_bytes(slow->outstanding_bytes) * 1000 / slow_us,
				 mps_bounded_bytes(fast->outstanding_bytes) * 1000 / fast_us);
	/* How far the send window reaches on the slower one, in its round trips at the rate of both. */
	st->x[3] = learned_share(window, (mps_rate(slow) + mps_rate(fast)) * slow_us / 1000000);
	st->promised = mps_rate(slow) + mps_rate(fast);
	return 1;
}

MPS_CORE_PART __u32 learned_epoch(const struct mps_view *v, struct learned_state *st,
				  const struct learned_params *p, __u32 pair)
{
	__u64 elapsed_us, acked, rate;
	__s32 use, wait;

	if (!v || !st || !p)
		return 0;
	if (!st->ready)
		learned_reset(st);
	acked = learned_acked(v);
	elapsed_us = mps_elapsed_us(v, st->since_us);
	if (st->since_us && elapsed_us && st->promised) {
		rate = mps_bounded_bytes(acked - st->acked_bytes) * 1000000 / elapsed_us;
		rate = rate * LEARNED_ONE / st->promised;
		learned_lesson(st, p->memory, rate < 2 * LEARNED_ONE ? (__s32)rate : 2 * LEARNED_ONE);
	}
	learned_look(v, st, pair);
	use = learned_score(st, LEARNED_USE, p->alpha_pct);
	wait = learned_score(st, LEARNED_WAIT, p->alpha_pct);
	st->action = wait > use ? LEARNED_WAIT : LEARNED_USE;
	/* Numerical Recipes' generator; its upper bits are the good ones. */
	st->random = st->random * 1664525u + 1013904223u + (__u32)v->now_us;
	if ((st->random >> 16) % 100 < p->explore_pct)
		st->action ^= 1;
	st->acked_bytes = acked;
	st->since_us = v->now_us ? v->now_us : 1;
	return 1;
}

MPS_CORE void learned_decide(const struct mps_view *v, struct mps_verdict *out,
			     const struct learned_params *p, struct learned_state *st)
{
	__u32 candidates = mps_welcome(v), fast = mps_quickest(v, candidates, st->fast, p->margin_pct), next;
	__u64 epoch_us;

	out->allowed = candidates;
	if (fast >= MPS_MAX_SUBFLOWS)
		return;
	st->fast = fast + 1;
	next = mps_quickest(v, candidates & ~(1u << fast), 0, 0);
	if (next >= MPS_MAX_SUBFLOWS)
		return;
	/* The end of a transfer: no lesson, and the next one starts where it is quick. */
	if (!v->unsent_bytes && !mps_outstanding_of(v, v->present)) {
		st->since_us = 0;
		out->allowed = 1u << fast;
		return;
	}
	epoch_us = (__u64)LEARNED_EPOCH_RTTS * mps_delay_us(mps_at(v, next));
	epoch_us = epoch_us < 10000 ? 10000 : epoch_us > 1000000 ? 1000000 : epoch_us;
	if (!st->since_us || mps_elapsed_us(v, st->since_us) >= epoch_us) {
		/* What the quickest one takes by itself needs no decision. */
		if (mps_sendable_bytes(v) <= mps_room_bytes(mps_at(v, fast))) {
			st->since_us = 0;
			out->allowed = 1u << fast;
			return;
		}
		learned_epoch(v, st, p, fast | next << 8);
	}
	if (st->action & 1)
		out->allowed = 1u << fast;
}

#endif
