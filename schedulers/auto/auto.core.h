/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * auto: the set of subflows with which what waits is complete earliest.
 *
 * The kernel hands out bursts of up to 64 KiB. So each subflow is asked when such a burst would have arrived
 * over it, behind what it already has, in rounds of its present window:
 *
 *   T(b)   the one over which everything that waits would be complete first is always allowed
 *   T_S    when everything that waits would have arrived over those allowed so far
 *
 * The next one is allowed if T(b) < T_S, that is if its burst is not the last to arrive, and if those allowed so
 * far do not run out of send buffer or receive window while they wait for it. When nothing waits, the question
 * is where the next transfer had better start: it is thought to be like the last one.
 *
 *   estimator   what the ACKs tell: round trips, rates, how the application writes
 *   predictor   from that, when so many bytes would have arrived over a subflow
 *   planner     which subflows are open
 *   pacer       what the kernel will put on each, and the limit with which it is less
 *   reasons     what is said of it
 *   receiver    the same question about what the peer sends
 */
#ifndef MPS_AUTO_CORE_H
#define MPS_AUTO_CORE_H

#include "estimator.core.h"
#include "planner.core.h"
#include "reasons.core.h"
#include "receiver.core.h"

#define AUTO_PARAMS(P)                                                                                       \
	P(__u32, margin_pct, 10, 0, 50, "%",                                                                 \
	  "how much earlier a closed subflow must be to be opened; more means fewer flips")
MPS_PARAMS(auto_policy, AUTO_PARAMS)

MPS_CORE void auto_policy_decide(const struct mps_view *v, struct mps_verdict *out,
				 const struct auto_policy_params *p, struct auto_policy_state *st)
{
	__u32 candidates = mps_welcome(v), best, left, next, silent, why;
	struct auto_question q = {};
	struct auto_plan plan = {};

	if (v->direction == MPS_DIRECTION_RX) {
		out->allowed = auto_receive(v, &st->received);
		return;
	}
	out->allowed = candidates;
	q.now_us = (__u32)v->now_us;
	q.margin_pct = p->margin_pct < 50 ? p->margin_pct : 50;
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS && v->present >> i; i++)
		if (v->present >> i & 1)
			q.known |= auto_learn(v, st, i);
	silent = auto_silent(v, st);
	auto_say_left_out(v, st, out, candidates, silent);
	candidates = mps_narrow(candidates, ~silent);
	auto_ask(v, st, &q);
	best = auto_best(v, st, &q, candidates);
	if (best >= MPS_MAX_SUBFLOWS)
		return;
	auto_model_of(v, st, &q, &plan.best, best);
	plan.first_us = auto_arrival_us(&plan.best, q.burst, AUTO_AS_IT_IS);
	plan.best_pace = (__u32)auto_pace_least(v, st, best);
	auto_open(v, st, &q, &plan, &plan.best);
	auto_say(out, best, MPS_REASON_EARLIEST, plan.first_us, best);
	left = candidates & ~plan.open;
	for (__u32 round = 1; round < MPS_MAX_SUBFLOWS; round++) {
		next = auto_first(v, st, &q, left, q.burst);
		if (next >= MPS_MAX_SUBFLOWS)
			break;
		left &= ~(1u << next);
		why = auto_consider(v, st, &q, &plan, next);
		auto_say(out, next, why, plan.number, best);
	}
	auto_write_levers(out, st, q.rest ? best : MPS_MAX_SUBFLOWS);
	st->open = (__u16)plan.open;
	st->trial = (__u16)(plan.trial & plan.open);
	out->allowed = plan.open;
}

#endif
