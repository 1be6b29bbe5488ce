/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ecf: Earliest Completion First. What the quickest subflow's window holds goes there alone. For more, a
 * slower subflow is used unless waiting for the quickest completes earlier:
 *
 *   (1 + k/Wf)·Rf < (1 + β)·(Ts + δ)  and  (k/Ws)·Rs >= 2·Rf + δ
 *
 * R smoothed RTT, W window, δ the larger RTT deviation, k bytes that wait; β applies only while that
 * subflow is being waited out. Ts is what a whole burst takes there, Rs·max(1, burst/Ws), where the paper
 * has Rs for one segment: that is what the kernel hands to a subflow once it is allowed.
 */
#ifndef MPS_ECF_CORE_H
#define MPS_ECF_CORE_H

#include "../common/delay.core.h"

#define ECF_PARAMS(P)                                                                                        \
	P(__u32, beta_pct, 25, 0, 100, "%",                                                                  \
	  "how much worse waiting may look before it is given up; more means fewer flips")                   \
	P(__u32, burst_bytes, 65536, 0, 16777216, "bytes",                                                   \
	  "what the kernel is expected to put on a slower subflow at once; 0 gives the rule of the paper")
MPS_PARAMS(ecf, ECF_PARAMS)

struct ecf_state {
	struct mps_linger linger;
	__u32 fast;    /* index, plus 1; 0: none yet */
	__u32 waiting; /* bit i: the subflow at index i is being waited out */
};

/* Does the slower one of a pair (fast | slow << 8) help to complete `k` bytes earlier? */
MPS_CORE_PART __u32 ecf_helps(const struct mps_view *v, struct ecf_state *st, const struct ecf_params *p,
			      __u32 pair, __u64 k)
{
	__u32 i = mps_row(pair >> 8);
	const struct mps_subflow_view *fast, *slow;
	__u64 fast_us, slow_us, delta_us, fast_window, slow_window, wait_us, burst_us, rest_us;
	__u64 beta, burst;

	if (!v || !st || !p)
		return 1;
	fast = mps_at(v, pair);
	slow = mps_at(v, i);
	fast_us = mps_delay_us(fast);
	slow_us = mps_delay_us(slow);
	/* Only traffic gives it a sample. */
	if (slow_us == MPS_DELAY_UNKNOWN || fast_us == MPS_DELAY_UNKNOWN)
		return 1;
	delta_us = mps_jitter_us(fast, slow);
	fast_window = mps_window_bytes(fast);
	slow_window = mps_window_bytes(slow);
	k = mps_bounded_bytes(k);
	burst = k < p->burst_bytes ? k : p->burst_bytes;
	wait_us = fast_us * (k + fast_window) / fast_window;
	burst_us = slow_us * (burst > slow_window ? burst : slow_window) / slow_window + delta_us;
	rest_us = slow_us * (k > slow_window ? k : slow_window) / slow_window;
	beta = st->waiting >> i & 1 ? p->beta_pct : 0;
	if (beta > 100)
		beta = 100;
	/* Each side is at most 2^56 and the factors are at most 200. */
	if (wait_us * 100 >= burst_us * (100 + beta)) {
		st->waiting &= ~(1u << i);
		return 1;
	}
	if (rest_us < 2 * fast_us + delta_us)
		return 1;
	st->waiting |= 1u << i;
	return 0;
}

MPS_CORE void ecf_decide(const struct mps_view *v, struct mps_verdict *out, const struct ecf_params *p,
			 struct ecf_state *st)
{
	__u32 candidates = mps_welcome(v), fast = mps_quickest(v, candidates, st->fast, 10), needed = 0;
	__u64 waits;

	out->allowed = candidates;
	if (fast >= MPS_MAX_SUBFLOWS)
		return;
	st->fast = fast + 1;
	waits = mps_sendable_bytes(v);
	if (waits > mps_room_bytes(mps_at(v, fast))) {
		waits += mps_at(v, fast)->notsent_bytes;
		for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++)
			if ((candidates & ~(1u << fast)) >> i & 1)
				needed |= (ecf_helps(v, st, p, fast | i << 8, waits) & 1) << i;
	}
	out->allowed = (mps_still_open(v, &st->linger, needed) & candidates) | 1u << fast;
}

#endif
