/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * deadline: the paths of the least cost, and the others only while those alone would deliver a message
 * too late (MP-DASH): on if R·(α·D − t) < what is left, R the rate of the cheap paths, t since the message
 * began, D the deadline.
 *
 * A message begins when data appears on a connection that had none under way, and ends when all of it is
 * acknowledged. Its size is what has been handed to the kernel so far, or `message_bytes` if that is more.
 *
 * Of what the peer sends nobody sees what is left. A message begins with what arrives after a pause and ends with the next one; it is taken to be
 * as large as `message_bytes` or else the one before, and one that is larger, or the first, to have as much to come as came beyond that.
 */
#ifndef MPS_DEADLINE_CORE_H
#define MPS_DEADLINE_CORE_H

#include "../common/receive.core.h"

#define DEADLINE_PARAMS(P)                                                                                   \
	P(__u32, deadline_ms, 4000, 1, 3600000, "ms", "within which each message should be delivered")       \
	P(__u32, message_bytes, 0, 0, 1073741824, "bytes",                                                   \
	  "how large a message is, if that is known; 0 goes by what has been written so far")                \
	P(__u32, alpha_pct, 90, 10, 100, "%", "part of the deadline to aim at")                              \
	P(__u32, margin_pct, 10, 0, 100, "%",                                                                \
	  "how much more than needed the cheap paths must deliver for the others to be left again")
MPS_PARAMS(deadline, DEADLINE_PARAMS)

#define DEADLINE_MOST_US 3600000000ull
/* The rate is measured over windows of a round trip and at least this. */
#define DEADLINE_WINDOW_US 100000

struct deadline_state {
	__u64 start_us;
	__u64 start_bytes; /* acknowledged on all subflows when the message began */
	__u64 window_us;   /* when the present window of the measurement began */
	__u64 window_bytes;
	struct mps_transfer received;
	__u64 last_bytes; /* of what is received: how large the message before was */
	__u64 rate;       /* of the cheap paths, bytes/s, measured; 0: not yet */
	__u32 cheap;      /* that it was measured on */
	__u8 busy;        /* a message is under way */
	__u8 on;          /* the costly paths are in use */
	__u8 reserved[2];
};

/* What the application has said, else the parameter. */
MPS_CORE_PART __u64 deadline_us(const struct mps_view *v, const struct deadline_params *p)
{
	__u64 us;

	if (!v || !p)
		return 0;
	us = v->message.deadline_us ? v->message.deadline_us : (__u64)p->deadline_ms * 1000;
	return us < DEADLINE_MOST_US ? us : DEADLINE_MOST_US;
}

MPS_CORE_PART __u64 deadline_message(const struct mps_view *v, const struct deadline_params *p)
{
	__u64 bytes;

	if (!v || !p)
		return 0;
	bytes = v->message.bytes ? v->message.bytes : p->message_bytes;
	return bytes < 1ull << 50 ? bytes : 1ull << 50;
}

/* Those of `among` that cost least. */
MPS_CORE_PART __u32 deadline_cheapest(const struct mps_view *v, __u32 among)
{
	__u32 least = ~0u, mask = 0;

	if (!v)
		return 0;
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++)
		if ((among >> i & 1) && v->sf[i].cost < least)
			least = v->sf[i].cost;
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++)
		mask |= (__u32)(v->sf[i].cost == least) << i;
	return mask & among;
}

/* By window and round trip, for the time before there is a measurement. */
MPS_CORE_PART __u64 deadline_guess(const struct mps_view *v, __u32 among)
{
	__u64 rate = 0;

	if (!v)
		return 0;
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++)
		rate += (mps_receives(v) ? mps_receive_rate(&v->sf[i], 0) : mps_rate(&v->sf[i])) *
			(among >> i & 1);
	return rate < 1u << 31 ? rate : 1u << 31;
}

MPS_CORE_PART __u32 deadline_measure(const struct mps_view *v, struct deadline_state *st)
{
	__u64 elapsed_us, acked, bytes, rate, least_us = DEADLINE_WINDOW_US;

	if (!v || !st)
		return 0;
	if (mps_longest_rtt_us(v, st->cheap) > least_us)
		least_us = mps_longest_rtt_us(v, st->cheap);
	elapsed_us = mps_elapsed_us(v, st->window_us);
	if (elapsed_us < least_us)
		return 0;
	acked = mps_acked_of(v, st->cheap);
	bytes = acked - st->window_bytes;
	st->window_us = v->now_us;
	st->window_bytes = acked;
	/* A subflow went, or nothing was decided for long. */
	if (bytes >> 40 || elapsed_us >> 40 || elapsed_us > 8 * least_us)
		return 0;
	rate = bytes * 1000000 / (elapsed_us ? elapsed_us : 1);
	/* A path that delivers nothing is measured, too. */
	rate = rate < 1 ? 1 : rate < 1u << 31 ? rate : 1u << 31;
	st->rate = st->rate && st->rate <= 1u << 31 ? (st->rate + rate) / 2 : rate;
	return 0;
}

/* What is left of the message that is being received, at least 1; 0: there is none. */
MPS_CORE_PART __u64 deadline_to_come(const struct mps_view *v, struct deadline_state *st,
				     const struct deadline_params *p)
{
	__u64 before, done, expected;

	if (!v || !st || !p)
		return 0;
	before = st->received.total;
	if (!mps_follow_transfer(v, &st->received, mps_transfer_gap_us(v))) {
		done = before - st->start_bytes;
		if (st->busy && done && !(done >> 50))
			st->last_bytes = done;
		st->busy = 0;
		/* What is seen now may have come in the pause. */
		if (st->received.grown_us != v->now_us)
			return 0;
	}
	done = st->busy ? st->received.total - st->start_bytes : 0;
	if (done >> 50)
		done = 0; /* a subflow went and took its count along */
	expected = deadline_message(v, p);
	if (!expected)
		expected = st->last_bytes;
	return expected > done ? expected - done : done - expected + 1;
}

/* Are the costly paths needed? */
MPS_CORE_PART __u32 deadline_late(const struct mps_view *v, const struct deadline_state *st,
				  const struct deadline_params *p, __u64 left)
{
	__u64 aim_us, elapsed_us, rate, can;
	__u32 margin, alpha;

	if (!v || !st || !p)
		return 1;
	margin = p->margin_pct < 100 ? p->margin_pct : 100;
	alpha = p->alpha_pct < 100 ? p->alpha_pct : 100;
	aim_us = deadline_us(v, p) / 100 * alpha;
	elapsed_us = mps_elapsed_us(v, st->start_us);
	if (elapsed_us >= aim_us)
		return 1;
	rate = st->rate && st->rate <= 1u << 31 ? st->rate : deadline_guess(v, st->cheap);
	can = rate * (aim_us - elapsed_us) / 1000000;
	left = left < 1ull << 50 ? left : 1ull << 50;
	return can < (st->on ? left * (100 + margin) / 100 : left);
}

MPS_CORE void deadline_decide(const struct mps_view *v, struct mps_verdict *out,
			      const struct deadline_params *p, struct deadline_state *st)
{
	__u32 candidates = mps_candidates(v), cheap = deadline_cheapest(v, candidates);
	__u64 acked = mps_acked_of(v, v->present), left, costly;

	if (mps_receives(v))
		left = deadline_to_come(v, st, p);
	else
		left = v->unsent_bytes + mps_outstanding_of(v, v->present);

	out->allowed = cheap;
	if (cheap != st->cheap) {
		st->cheap = cheap;
		st->rate = 0;
		st->window_us = v->now_us;
		st->window_bytes = mps_acked_of(v, cheap);
	}
	if (!left) {
		st->busy = 0;
		st->on = 0;
		return;
	}
	if (!st->busy) {
		/* This ACK is the first that we see of the message: it began a round trip ago. */
		__u64 rtt_us = mps_longest_rtt_us(v, cheap);

		st->busy = 1;
		st->start_us = v->now_us > rtt_us ? v->now_us - rtt_us : 0;
		st->start_bytes = acked;
		st->window_us = v->now_us;
		st->window_bytes = mps_acked_of(v, cheap);
	}
	deadline_measure(v, st);
	if (!mps_receives(v)) {
		__u64 done = acked - st->start_bytes, bytes = deadline_message(v, p);

		if (!(done >> 63) && done < bytes && bytes - done > left)
			left = bytes - done;
	}
	/* What is on the costly paths already arrives over them, whatever is decided now. */
	costly = mps_outstanding_of(v, candidates & ~cheap);
	st->on = deadline_late(v, st, p, left > costly ? left - costly : 0) & 1;
	if (st->on)
		out->allowed = candidates;
}

#endif
