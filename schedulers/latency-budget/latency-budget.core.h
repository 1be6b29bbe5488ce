/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * latency-budget: every path whose round trip stays within a budget. One that breaks it for `hold_ms` without
 * a break is parked, and tried again after `retry_s`, twice as long after each failure. If no path keeps the
 * budget, the quickest is used alone.
 *
 * A parked path has no traffic and therefore no new samples: its RTT says what it was, not what it is. So
 * only time brings it back, and an RTT counts only while packets arrive.
 *
 * Of what the peer sends the round trip is known that this host's own segments took, which may be few and long ago; and, where contents have
 * arrived without a pause for some round trips, that of its ACKs and what is sent upon them, with the queue that the peer fills. A pause would
 * count as delay.
 */
#ifndef MPS_LATENCY_BUDGET_CORE_H
#define MPS_LATENCY_BUDGET_CORE_H

#include "../common/receive.core.h"

#define LATENCY_BUDGET_PARAMS(P)                                                                             \
	P(__u32, budget_ms, 100, 1, 60000, "ms", "round trip that a path should stay within")                \
	P(__u32, hold_ms, 500, 0, 60000, "ms", "how long it must exceed that without a break to be parked")  \
	P(__u32, retry_s, 10, 1, 3600, "s",                                                                  \
	  "how long it stays parked; twice as long after each failed return, up to 16 times")
MPS_PARAMS(latency_budget, LATENCY_BUDGET_PARAMS)

#define LATENCY_BUDGET_MOST_DOUBLINGS 4
/* A pause is longer than that and than a round trip; after that many times as long without one it has left the average. */
#define LATENCY_BUDGET_PAUSE_MS 50
#define LATENCY_BUDGET_STEADY 4

struct latency_budget_state {
	__u64 over_since_us[MPS_SUBFLOW_ROWS]; /* 0: within the budget */
	__u64 change_us[MPS_SUBFLOW_ROWS];     /* when it was parked, or allowed again */
	__u32 failures[MPS_SUBFLOW_ROWS];
	/* Of what the peer sends: when contents last arrived, and since when they have without a pause. */
	__u32 heard_ms[MPS_SUBFLOW_ROWS];
	__u32 steady_ms[MPS_SUBFLOW_ROWS];
	__u32 parked;   /* bit i: index i */
	__u32 quickest; /* index, plus 1, of the one in use when none keeps the budget; 0: none yet */
};

/* The round trip of one subflow, of what is received. */
MPS_CORE_PART __u32 latency_budget_received_us(const struct mps_view *v, struct latency_budget_state *st,
					       __u32 index)
{
	__u32 i = mps_row(index), us, heard_ms, pause_ms;

	if (!v || !st)
		return MPS_DELAY_UNKNOWN;
	us = mps_delay_us(&v->sf[i]);
	pause_ms = us != MPS_DELAY_UNKNOWN && us > LATENCY_BUDGET_PAUSE_MS * 1000 ? us / 1000
										  : LATENCY_BUDGET_PAUSE_MS;
	heard_ms = (__u32)((v->now_us - v->sf[i].last_rcv_age_us) / 1000);
	if ((__s32)(heard_ms - st->heard_ms[i]) > (__s32)pause_ms || (v->sf[i].flags & MPS_SF_FRESH)) {
		st->steady_ms[i] = heard_ms;
		st->over_since_us[i] = 0;
	}
	st->heard_ms[i] = heard_ms;
	if (!v->receipt[i].rtt_us ||
	    (__s32)(heard_ms - st->steady_ms[i]) < (__s32)(LATENCY_BUDGET_STEADY * pause_ms))
		return us;
	return v->receipt[i].rtt_us < MPS_DELAY_MOST ? v->receipt[i].rtt_us : MPS_DELAY_MOST;
}

/* Brings the account of one subflow up to date; is it to be used? */
MPS_CORE_PART __u32 latency_budget_keeps(const struct mps_view *v, struct latency_budget_state *st,
					 const struct latency_budget_params *p, __u32 index)
{
	__u32 i = mps_row(index), failures, us, over;
	__u64 hold_us, retry_us;

	if (!v || !st || !p)
		return 1;
	if (v->sf[i].flags & MPS_SF_FRESH) {
		st->parked &= ~(1u << i);
		st->failures[i] = 0;
		st->over_since_us[i] = 0;
	}
	failures = st->failures[i] < LATENCY_BUDGET_MOST_DOUBLINGS ? st->failures[i]
								   : LATENCY_BUDGET_MOST_DOUBLINGS;
	hold_us = (__u64)p->hold_ms * 1000;
	retry_us = (__u64)p->retry_s * 1000000;
	if (st->parked >> i & 1) {
		if (mps_elapsed_us(v, st->change_us[i]) < retry_us << failures)
			return 0;
		st->parked &= ~(1u << i);
		st->change_us[i] = v->now_us;
		st->over_since_us[i] = 0;
		return 1;
	}
	us = mps_receives(v) ? latency_budget_received_us(v, st, i) : mps_delay_us(&v->sf[i]);
	over = us != MPS_DELAY_UNKNOWN && us > (__u64)p->budget_ms * 1000 &&
	       v->sf[i].last_rcv_age_us <= hold_us + us;
	if (!over) {
		st->over_since_us[i] = 0;
		if (mps_elapsed_us(v, st->change_us[i]) >= retry_us)
			st->failures[i] = 0;
		return 1;
	}
	if (!st->over_since_us[i])
		st->over_since_us[i] = v->now_us ? v->now_us : 1;
	if (mps_elapsed_us(v, st->over_since_us[i]) < hold_us)
		return 1;
	/* The first time it waits for retry_s itself. */
	if (st->change_us[i] && mps_elapsed_us(v, st->change_us[i]) < retry_us)
		st->failures[i] = failures + 1;
	st->parked |= 1u << i;
	st->change_us[i] = v->now_us;
	return 0;
}

MPS_CORE void latency_budget_decide(const struct mps_view *v, struct mps_verdict *out,
				    const struct latency_budget_params *p, struct latency_budget_state *st)
{
	__u32 candidates = mps_welcome(v), quickest;

	out->allowed = 0;
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++)
		out->allowed |= (latency_budget_keeps(v, st, p, i) & 1) << i;
	out->allowed &= candidates;
	if (out->allowed) {
		st->quickest = 0;
		return;
	}
	quickest = mps_quickest(v, candidates, st->quickest, 10);
	if (quickest >= MPS_MAX_SUBFLOWS)
		return;
	st->quickest = quickest + 1;
	out->allowed = 1u << quickest;
}

#endif
