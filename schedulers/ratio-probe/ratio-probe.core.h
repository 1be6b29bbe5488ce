/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ratio-probe: shares the bytes in the ratio that gives the highest rate of the whole, found by trying (MuSher).
 *
 * Every subflow has a share of 1/1024ths and an account as in `weighted`; one that leads is parked. In turn, one period
 * measures the rate with the shares as they are, and the next with some of them moved to the subflow that had
 * to wait most. What made the whole faster twice in a row stays, since one period's bursts of 64 KiB can be
 * more than what is to be found; what did not is taken back and tried again later, up to 16 periods later. A
 * rate that falls by a quarter has another cause, and the shares start over from what each window and delay
 * promise. A subflow that has data in flight and has not been heard of for some round trips is left out at
 * once, long before its retransmission timer, and is back with its first packet.
 */
#ifndef MPS_RATIO_PROBE_CORE_H
#define MPS_RATIO_PROBE_CORE_H

#include "../common/delay.core.h"

#define RATIO_PROBE_PARAMS(P)                                                                                \
	P(__u32, period_ms, 100, 10, 10000, "ms", "how long a rate is measured; at least two round trips")   \
	P(__u32, step_pct, 10, 1, 50, "%", "of all bytes that a trial moves to another subflow")             \
	P(__u32, gain_pct, 3, 0, 100, "%", "by which the whole must be faster for a trial to be kept")       \
	P(__u32, lead_bytes, 65536, 1024, 16777216, "bytes",                                                 \
	  "how far a subflow may run ahead of its share before it is parked")                                \
	P(__u32, silent_rtts, 4, 2, 100, "RTTs",                                                             \
	  "a subflow not heard of for that long, with data in flight, is taken for blocked")                 \
	P(__u32, lowat_bytes, 16384, 0, 16777216, "bytes",                                                   \
	  "how much may wait unsent in a subflow; 0 leaves it to the kernel")
MPS_PARAMS(ratio_probe, RATIO_PROBE_PARAMS)

#define RATIO_PROBE_WHOLE 1024u
#define RATIO_PROBE_LEAST 8u
#define RATIO_PROBE_MOST_REST 16u
#define RATIO_PROBE_MOST_BYTES (1ull << 50)

enum ratio_probe_phase {
	RATIO_PROBE_MEASURES = 0,
	RATIO_PROBE_TRIES = 1,
	RATIO_PROBE_CONFIRMS = 2,
};

struct ratio_probe_state {
	__u64 base[MPS_SUBFLOW_ROWS]; /* given bytes at which the account starts */
	__u64 since_us;
	__u64 acked_bytes;              /* of all, when the period began */
	__u64 rate;                     /* bytes/s of the last measured period; 0: none */
	__u32 parked[MPS_SUBFLOW_ROWS]; /* decisions of this period that parked it */
	__u16 share[MPS_SUBFLOW_ROWS];
	__u16 kept[MPS_MAX_SUBFLOWS]; /* shares before the trial */
	__u32 running;
	__u8 phase;
	__u8 rest; /* periods until the next trial */
	__u8 last_rest;
	__u8 waited; /* data waited at every decision of this period */
};

MPS_CORE __u64 ratio_probe_share(__u64 share)
{
	return share < RATIO_PROBE_LEAST   ? RATIO_PROBE_LEAST
	       : share > RATIO_PROBE_WHOLE ? RATIO_PROBE_WHOLE
					   : share;
}

/* Those of `among` that are not blocked; all of them if all are. */
MPS_CORE_PART __u32 ratio_probe_heard(const struct mps_view *v, __u32 among, __u32 silent_rtts)
{
	__u32 heard = 0;

	if (!v)
		return among;
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++) {
		const struct mps_subflow_view *sf = &v->sf[i];
		__u64 patience_us = (__u64)mps_delay_us(sf) * silent_rtts + 20000;

		heard |= (__u32)(!sf->in_flight_segs || sf->last_rcv_age_us == ~0u ||
				 sf->last_rcv_age_us < patience_us)
			 << i;
	}
	return heard & among ? heard & among : among;
}

/* mps_rate(), on its own: 7.2 follows the range of a quotient, and adding up all of them takes it 900,000 steps. */
MPS_CORE_PART __u64 ratio_probe_rate(const struct mps_view *v, __u32 i)
{
	return v ? mps_rate(mps_at(v, i)) : 0;
}

/* Shares by what each window carries in a round trip; all accounts start level. */
MPS_CORE_PART __u32 ratio_probe_start(const struct mps_view *v, struct ratio_probe_state *st, __u32 among)
{
	__u64 sum = 0;

	if (!v || !st)
		return 0;
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++)
		sum += among >> i & 1 ? ratio_probe_rate(v, i) : 0;
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++) {
		__u64 share = sum ? ratio_probe_rate(v, i) * RATIO_PROBE_WHOLE / sum : 0;

		st->share[i] = (__u16)ratio_probe_share(share);
		st->base[i] = mps_given_bytes(&v->sf[i]);
		st->parked[i] = 0;
	}
	st->running = among;
	st->phase = RATIO_PROBE_MEASURES;
	st->rate = 0;
	st->rest = 1;
	st->last_rest = 1;
	st->waited = 1;
	st->since_us = v->now_us;
	st->acked_bytes = mps_acked_of(v, among);
	return 0;
}

/* Moves a step of the whole to the subflow that was parked most; 0 if none was. */
MPS_CORE_PART __u32 ratio_probe_shift(struct ratio_probe_state *st, __u32 among, __u32 step_pct)
{
	__u32 most = 0, to = MPS_MAX_SUBFLOWS, step;

	if (!st)
		return 0;
	step = RATIO_PROBE_WHOLE * (step_pct < 50 ? step_pct : 50) / 100;
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++) {
		st->kept[i] = st->share[i];
		if ((among >> i & 1) && st->parked[i] > most) {
			most = st->parked[i];
			to = i;
		}
	}
	if (to == MPS_MAX_SUBFLOWS)
		return 0;
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++) {
		__u32 share = st->share[i];

		if (i == to)
			share += step;
		else
			share = share * RATIO_PROBE_WHOLE / (RATIO_PROBE_WHOLE + step);
		st->share[i] = (__u16)ratio_probe_share(share);
	}
	return 1;
}

MPS_CORE_PART __u64 ratio_probe_time(const struct mps_view *v, const struct ratio_probe_state *st,
				     __u32 index)
{
	__u32 i = mps_row(index);
	__u64 bytes;

	if (!v || !st)
		return 0;
	bytes = mps_given_bytes(&v->sf[i]) - st->base[i];
	if (bytes >> 63)
		bytes = 0;
	return (bytes < RATIO_PROBE_MOST_BYTES ? bytes : RATIO_PROBE_MOST_BYTES) * RATIO_PROBE_WHOLE /
	       (st->share[i] ? st->share[i] : 1);
}

/* Who is furthest behind, in virtual time. */
MPS_CORE_PART __u64 ratio_probe_behind(const struct mps_view *v, const struct ratio_probe_state *st,
				       __u32 among)
{
	__u64 behind = ~0ull;

	if (!v || !st)
		return 0;
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++) {
		__u64 time = ratio_probe_time(v, st, i);

		if ((among >> i & 1) && time < behind)
			behind = time;
	}
	return behind;
}

/* By how much it leads the one furthest behind, in virtual time. */
MPS_CORE_PART __u64 ratio_probe_lead(const struct mps_view *v, const struct ratio_probe_state *st, __u32 i,
				     __u64 behind)
{
	__u64 time;

	if (!v || !st)
		return 0;
	time = ratio_probe_time(v, st, i);
	return time > behind ? time - behind : 0;
}

/* Does it lead by no more than that many bytes of all? Else it is noted as parked. */
MPS_CORE_PART __u32 ratio_probe_may_send(const struct mps_view *v, struct ratio_probe_state *st, __u32 index,
					 __u64 behind, __u32 lead_bytes)
{
	__u32 i = mps_row(index);

	if (!v || !st)
		return 1;
	if (ratio_probe_lead(v, st, i, behind) <=
	    (__u64)lead_bytes * RATIO_PROBE_WHOLE / (st->share[i] ? st->share[i] : 1))
		return 1;
	st->parked[i]++;
	return 0;
}

/* Back to the shares of before the trial. */
MPS_CORE void ratio_probe_take_back(struct ratio_probe_state *st)
{
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++)
		st->share[i] = st->kept[i];
}

/* A period is over: keep or take back, and what next. */
MPS_CORE_PART __u32 ratio_probe_turn(const struct mps_view *v, struct ratio_probe_state *st, __u32 among,
				     const struct ratio_probe_params *p)
{
	__u64 now, elapsed_us, acked, rate, behind, lead[MPS_MAX_SUBFLOWS];

	if (!v || !st || !p)
		return 0;
	behind = ratio_probe_behind(v, st, among);
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++)
		lead[i] = ratio_probe_lead(v, st, i, behind);
	elapsed_us = mps_elapsed_us(v, st->since_us);
	now = mps_acked_of(v, among);
	acked = now - st->acked_bytes;
	if (acked > RATIO_PROBE_MOST_BYTES >> 10)
		acked = 0;
	rate = elapsed_us ? acked * 1000000 / elapsed_us : 0;
	st->since_us = v->now_us;
	st->acked_bytes = now;
	/* The application set the pace: says nothing about the paths. */
	if (!st->waited) {
		if (st->phase != RATIO_PROBE_MEASURES)
			ratio_probe_take_back(st);
		st->phase = RATIO_PROBE_MEASURES;
	} else if (st->phase != RATIO_PROBE_MEASURES) {
		__u32 faster = rate >= st->rate + st->rate / 100 * (p->gain_pct < 100 ? p->gain_pct : 100);

		if (faster && st->phase == RATIO_PROBE_TRIES) {
			st->phase = RATIO_PROBE_CONFIRMS;
		} else {
			st->phase = RATIO_PROBE_MEASURES;
			if (faster) {
				st->rate = rate;
				st->last_rest = 1;
			} else {
				ratio_probe_take_back(st);
				st->last_rest = (__u8)(st->last_rest < RATIO_PROBE_MOST_REST / 2
							       ? st->last_rest * 2
							       : RATIO_PROBE_MOST_REST);
			}
			st->rest = st->last_rest;
		}
	} else if (st->rate && rate < st->rate / 4 * 3) {
		return ratio_probe_start(v, st, among);
	} else {
		st->rate = rate;
		if (st->rest)
			st->rest--;
		if (!st->rest && ratio_probe_shift(st, among, p->step_pct))
			st->phase = RATIO_PROBE_TRIES;
	}
	/*
	 * New shares speak of what comes, but who leads still leads: the kernel gives several bursts at once, and forgiving
	 * that at each turn would fill one path's queue, and in the end the receive window.
	 */
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++) {
		st->base[i] = mps_given_bytes(&v->sf[i]) - lead[i] / RATIO_PROBE_WHOLE * st->share[i];
		st->parked[i] = 0;
	}
	st->waited = 1;
	return 1;
}

/* Those that do not lead, in accounts of their shares. */
MPS_CORE_PART __u32 ratio_probe_in_turn(const struct mps_view *v, struct ratio_probe_state *st, __u32 among,
					__u32 lead_bytes)
{
	__u64 behind;
	__u32 allowed = 0;

	if (!v || !st)
		return among;
	behind = ratio_probe_behind(v, st, among);
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++)
		if (among >> i & 1)
			allowed |= (ratio_probe_may_send(v, st, i, behind, lead_bytes) & 1) << i;
	return allowed ? allowed : among;
}

MPS_CORE void ratio_probe_decide(const struct mps_view *v, struct mps_verdict *out,
				 const struct ratio_probe_params *p, struct ratio_probe_state *st)
{
	__u32 among = ratio_probe_heard(v, mps_welcome(v), p->silent_rtts), fresh = 0;
	__u64 period_us = (__u64)p->period_ms * 1000, rtts_us = 2 * (__u64)mps_longest_rtt_us(v, among);

	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++)
		fresh |= v->sf[i].flags & MPS_SF_FRESH ? 1u << i : 0;
	/* Who comes, goes, is blocked or is back changes the whole. */
	if (among != st->running || (fresh & among))
		ratio_probe_start(v, st, among);
	if (!mps_sendable_bytes(v) && !mps_notsent_of(v, among))
		st->waited = 0;
	if (mps_elapsed_us(v, st->since_us) >= (period_us > rtts_us ? period_us : rtts_us))
		ratio_probe_turn(v, st, among, p);
	out->allowed = ratio_probe_in_turn(v, st, among, p->lead_bytes) & among;
	if (!out->allowed)
		out->allowed = among;
	mps_wish_lowat(out, p->lowat_bytes);
}

#endif
