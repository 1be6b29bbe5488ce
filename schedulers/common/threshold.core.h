/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Thresholds of ATSSS steering modes (3GPP TS 23.501, 5.32.8; TS 24.193): the longest round trip and the greatest loss that a path may have. One
 * that exceeds either is left out while another one keeps within both; if none does, all are used as without thresholds.
 *
 * Loss is what the kernel took for lost of what was sent, over the last 256 to 512 segments; three segments at least, so that one is no rate. A round trip counts
 * when it has been too long for half a second, and only while packets arrive. A path that is left out carries nothing, so that nothing more is heard of
 * it: after `retry_s` it is used again, and measured anew.
 *
 * Only for what this host sends: a receiver sees neither what was lost nor the sender's round trips.
 */
#ifndef MPS_THRESHOLD_CORE_H
#define MPS_THRESHOLD_CORE_H

#include "delay.core.h"

#define MPS_THRESHOLD_PARAMS(P)                                                                                     \
	P(__u32, max_rtt_ms, 0, 0, 60000, "ms",                                                                     \
	  "a path with a longer round trip is not used while another one keeps within; 0 is no limit")              \
	P(__u32, max_loss_permille, 0, 0, 1000, "permille",                                                         \
	  "a path that loses more of what is sent on it is not used while another one keeps within; 0 is no limit") \
	P(__u32, retry_s, 10, 1, 3600, "s", "after how long a path that exceeded one of these is tried again")

#define MPS_THRESHOLD_HOLD_MS 500
#define MPS_THRESHOLD_WINDOW_SEGS 512
#define MPS_THRESHOLD_LEAST_SEGS 128
#define MPS_THRESHOLD_LEAST_LOST 3

struct mps_threshold {
	__u32 since_ms; /* left out: since when; else since when its round trip has been too long, 0 = it is not */
	__u32 delivered; /* as the counters were when the window began */
	__u32 lost;
	__u32 why; /* it is left out for this, enum mps_reason_code; 0 = it is used */
};

struct mps_thresholds {
	struct mps_threshold of[MPS_MAX_SUBFLOWS];
};

/* One number, as the verifier takes five arguments. */
MPS_CORE __u64 mps_threshold_limits(__u32 max_rtt_ms, __u32 max_loss_permille, __u32 retry_s)
{
	return (__u64)(retry_s & 0xffff) << 32 | (max_loss_permille & 0xffff) << 16 | (max_rtt_ms & 0xffff);
}

/* More was lost in the window than may be; moves the window. */
MPS_CORE __u32 mps_threshold_lossy(const struct mps_subflow_view *sf, struct mps_threshold *t,
				   __u32 max_permille)
{
	__u32 lost = sf->lost_segs - t->lost, delivered = sf->delivered_segs - t->delivered;
	__u64 sent = (__u64)lost + delivered;

	/* As it was before, or after some time without a decision. */
	if (lost >> 16 || delivered >> 16) {
		t->lost = sf->lost_segs;
		t->delivered = sf->delivered_segs;
		return 0;
	}
	if (sent >= MPS_THRESHOLD_WINDOW_SEGS) {
		t->lost += lost / 2;
		t->delivered += delivered / 2;
	}
	return max_permille && lost >= MPS_THRESHOLD_LEAST_LOST && sent >= MPS_THRESHOLD_LEAST_SEGS &&
	       (__u64)lost * 1000 > sent * max_permille;
}

/* Its round trip has been longer than it may be for a while. */
MPS_CORE __u32 mps_threshold_slow(const struct mps_subflow_view *sf, struct mps_threshold *t, __u32 max_ms,
				  __u32 now_ms)
{
	__u32 us = mps_delay_us(sf);

	if (!max_ms || us == MPS_DELAY_UNKNOWN || us <= max_ms * 1000 ||
	    sf->last_rcv_age_us > MPS_THRESHOLD_HOLD_MS * 1000 + us) {
		t->since_ms = 0;
		return 0;
	}
	if (!t->since_ms)
		t->since_ms = now_ms;
	/* Decisions of two CPUs may come out of order. */
	return (__s32)(now_ms - t->since_ms) >= MPS_THRESHOLD_HOLD_MS;
}

/* Brings the account of one subflow up to date. Returns why it is to be left out, 0 if it is not. */
MPS_CORE_PART __u32 mps_threshold_exceeded(const struct mps_subflow_view *sf, struct mps_threshold *t,
					   __u32 now_ms, __u64 limits)
{
	__u32 lossy, slow;

	if (!sf || !t)
		return 0;
	now_ms |= 1; /* 0 is "not" */
	if ((sf->flags & MPS_SF_FRESH) ||
	    (t->why && (__s32)(now_ms - t->since_ms) >= (__s32)(limits >> 32 & 0xffff) * 1000)) {
		t->since_ms = 0;
		t->why = 0;
		t->lost = sf->lost_segs;
		t->delivered = sf->delivered_segs;
	}
	if (t->why)
		return t->why;
	lossy = mps_threshold_lossy(sf, t, (__u32)(limits >> 16) & 0xffff);
	slow = mps_threshold_slow(sf, t, (__u32)limits & 0xffff, now_ms);
	if (!lossy && !slow)
		return 0;
	t->since_ms = now_ms;
	t->why = lossy ? MPS_REASON_LOSSY : MPS_REASON_OVER_BUDGET;
	return t->why;
}

/* Those of `among` that keep within, or all of them if none does; says why the others are left out. */
MPS_CORE __u32 mps_within_thresholds(const struct mps_view *v, struct mps_verdict *out, __u32 among,
				     struct mps_thresholds *st, __u64 limits)
{
	__u32 within = among;

	if (!(__u32)limits || v->direction == MPS_DIRECTION_RX)
		return among;
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++) {
		__u32 why = mps_threshold_exceeded(&v->sf[i], &st->of[i], (__u32)(v->now_us / 1000), limits);

		within &= ~((__u32)mps_is_less(0, why) << i);
		if (why && (among >> i & 1))
			mps_say(out, i, why & 0xff);
	}
	return mps_narrow(among, within);
}

#endif
