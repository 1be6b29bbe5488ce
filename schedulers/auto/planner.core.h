/* SPDX-License-Identifier: GPL-2.0-only */
/* Which subflows are to be open: the best, and every other one whose burst is not the last to arrive and does not block the rest. */
#ifndef MPS_AUTO_PLANNER_H
#define MPS_AUTO_PLANNER_H

#include "pacer.core.h"

/* Where so many bytes arrive first; MPS_MAX_SUBFLOWS if there is none. */
MPS_CORE_PART __u32 auto_first(const struct mps_view *v, const struct auto_policy_state *st,
			       const struct auto_question *q, __u32 among, __u64 bytes)
{
	__u32 best = MPS_MAX_SUBFLOWS, least = ~0u;

	if (!v || !st || !q)
		return best;
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS && among >> i; i++) {
		__u32 us;

		if (!(among >> i & 1))
			continue;
		us = auto_burst_us(v, st, q, i, bytes);
		if (us < least) {
			least = us;
			best = i;
		}
	}
	return best;
}

/*
 * The one that is always open. By a burst alone, an idle slow path would be the quickest while much is queued on the quick one, and get the whole end of
 * the message; the kernel hands out as many bursts at once as the receive window takes. In bulk there is no end.
 */
MPS_CORE_PART __u32 auto_best(const struct mps_view *v, struct auto_policy_state *st,
			      const struct auto_question *q, __u32 candidates)
{
	__u32 best, held, us;
	__u64 whole;

	if (!v || !st || !q)
		return MPS_MAX_SUBFLOWS;
	whole = q->rest || q->refill ? q->burst : q->waits;
	best = auto_first(v, st, q, candidates, whole);
	if (best >= MPS_MAX_SUBFLOWS)
		return best;
	held = st->best - 1;
	if (held < MPS_MAX_SUBFLOWS && (candidates >> held & 1) && held != best) {
		us = auto_burst_us(v, st, q, best, whole);
		if (auto_burst_us(v, st, q, held, whole) <= (__u64)us * (100 + q->margin_pct) / 100)
			best = held;
	}
	st->best = (__u16)(best + 1);
	return best;
}

/* Opens a subflow. */
MPS_CORE_PART __u32 auto_open(const struct mps_view *v, const struct auto_policy_state *st,
			      const struct auto_question *q, struct auto_plan *plan,
			      const struct auto_model *m)
{
	if (!v || !st || !q || !plan || !m)
		return 0;
	plan->open |= 1u << mps_row(m->index);
	plan->rate += m->rate;
	plan->soon += m->soon;
	plan->windows += m->window;
	plan->queues += m->queue;
	plan->paces += (__u32)auto_pace(v, st, m->index, q->rest);
	return plan->open;
}

/* Until when a burst must have arrived over it: when everything has over those that are open, each by its rate. */
MPS_CORE_PART __u32 auto_limit_us(const struct mps_view *v, const struct auto_policy_state *st,
				  const struct auto_question *q, const struct auto_plan *plan, __u32 next)
{
	__u32 margin, first;
	__u64 limit, near;

	if (!v || !st || !q || !plan)
		return 0;
	limit = auto_arrival_us(&plan->best, auto_part(&plan->best, q->waits, plan->rate), AUTO_AS_IT_IS);
	/* Between messages there is time to get it right; in bulk each flip is paid for at once. */
	margin = q->rest ? q->margin_pct / 2 : q->margin_pct;
	limit = st->open >> mps_row(next) & 1 ? limit * (100 + margin) / 100 : limit * (100 - margin) / 100;
	if (!q->rest)
		return (__u32)limit;
	/*
	 * Of those that are idle the first gets the first burst: a small message must not take a slow path
	 * because the one before was large. One that is about as quick stays open in any case: what is
	 * open takes over soonest when another one dies.
	 */
	near = auto_doubt_us(v, next);
	first = auto_listed_before(v, next, plan->best.index);
	/* The kernel would give a small message to that one, and much is known of it. */
	if (first && near > plan->first_us / 8)
		near = plan->first_us / 8;
	near += (__u64)plan->first_us * AUTO_NEAR_PCT / 100;
	if (near > limit || (first && st->last_size <= AUTO_BURST))
		limit = near;
	return (__u32)limit;
}

/*
 * A window grows only by use. Where that is all it lacks, it is worth a few bursts; for a message of
 * less than one only if that helps much.
 */
MPS_CORE_PART __u32 auto_worth_trial(const struct auto_policy_state *st, const struct auto_question *q,
				     const struct auto_offer *o)
{
	__u32 us, on, i;
	__u64 much;

	if (!st || !q || !o)
		return 0;
	i = mps_row(o->m.index);
	on = st->trial >> i & 1;
	if (st->trials[i] >= AUTO_TRIALS)
		return 0;
	much = (__u64)o->limit_us * AUTO_TRIAL_NUM / AUTO_TRIAL_DEN;
	us = auto_late_us(&o->m, o->share, q->refill, auto_limit(st, i), AUTO_GROWN);
	us = us > o->doubt_us ? us - o->doubt_us : 0;
	if (us > (q->waits > AUTO_BURST || on ? o->limit_us : much))
		return 0;
	return !(q->rest && q->waits > AUTO_BURST && !o->over && !on && o->least_us > much);
}

/*
 * Goes on in spite of a block, with `room` bytes that can be under way? Once more only where that has grown by it: a receive buffer of a fixed size
 * blocks every time. Such a try lasts for some round trips of the path, since one ACK later there is no answer yet: closed at each of them it got so
 * little that its window was never full, and did not grow. After that it lasts until the best one has been seen to run dry: while its window is more than
 * half full (as for tcp_is_cwnd_limited()), there is no block.
 */
MPS_CORE __u32 auto_looks(struct auto_policy_state *st, const struct auto_question *q,
			  const struct auto_plan *plan, const struct auto_model *m, __u64 room)
{
	if (m->unknown || room > (__u64)st->looked + st->looked / AUTO_GROWTH) {
		st->looked = auto_bytes(room);
		st->looked_us = q->now_us;
		return 1;
	}
	if (!(st->open >> mps_row(m->index) & 1))
		return 0;
	return plan->best.queue * 2 >= plan->best.window ||
	       auto_since(q->now_us, st->looked_us) <= (__u64)m->rtt_us * AUTO_LOOK_ROUNDS;
}

/*
 * By how many bytes would those that are open run out of send buffer or receive window while its share is on the way? 0: they would not. That is guessed from the windows there are, and those of
 * a connection that keeps to one path never grow. In bulk that goes on for longer than the block, finding out costs less.
 */
MPS_CORE_PART __u32 auto_blocks(struct auto_policy_state *st, const struct auto_question *q,
				const struct auto_plan *plan, const struct auto_offer *o, __u32 late_us)
{
	__u64 room, sends;

	if (!st || !q || !plan || !o)
		return 1;
	if (q->rest)
		return 0;
	room = plan->windows + o->m.window + q->burst;
	room = q->refill ? (room * AUTO_SPACE > q->sent ? room * AUTO_SPACE : q->sent) : q->space;
	room = room < q->space ? room : q->space;
	/* What those that are open will send until then, if there is as much. */
	sends = (__u64)plan->soon * late_us / 1000;
	sends = sends < q->waits + plan->queues ? sends : q->waits + plan->queues;
	if (st->open >> mps_row(o->m.index) & 1)
		sends = sends * AUTO_STAY_NUM / AUTO_STAY_DEN;
	if (sends + o->share <= plan->queues + room)
		return 0;
	sends = sends + o->share - plan->queues - room;
	if (!q->refill || q->waits <= (__u64)plan->soon * late_us * AUTO_BLOCKS / 1000)
		return auto_bytes(sends);
	return auto_looks(st, q, plan, &o->m, room) ? 0 : auto_bytes(sends);
}

/* How much later than the best's its burst would arrive. Where only one burst at a time is trusted to it, nobody can tell. */
MPS_CORE __u32 auto_why_later(const struct auto_question *q, struct auto_plan *plan,
			      const struct auto_model *m)
{
	__u32 us = auto_arrival_us(m, q->burst, AUTO_AS_IT_IS);

	plan->number = us > plan->first_us ? us - plan->first_us : 0;
	return us < AUTO_NEVER_US ? MPS_REASON_LATER : MPS_REASON_UNKNOWN;
}

/* Asks the next subflow, and opens it if it helps. Returns why it is open or not, enum mps_reason_code; the number for it is left in the plan. */
MPS_CORE_PART __u32 auto_consider(const struct mps_view *v, struct auto_policy_state *st,
				  const struct auto_question *q, struct auto_plan *plan, __u32 next)
{
	__u32 late, i = mps_row(next), why;
	struct auto_offer o = {};

	if (!v || !st || !q || !plan)
		return MPS_REASON_NONE;
	plan->number = 0;
	auto_model_of(v, st, q, &o.m, next);
	o.limit_us = auto_limit_us(v, st, q, plan, next);
	o.share = auto_share(v, st, q, plan, &o.m);
	auto_pace_offer(v, st, q, plan, &o);
	late = auto_late_us(&o.m, o.share, q->refill, auto_limit(st, i), AUTO_AS_IT_IS);
	if (late <= o.limit_us && !o.over) {
		st->trials[i] = 0; /* it helps by itself */
		why = MPS_REASON_HELPS;
	} else if (auto_worth_trial(st, q, &o)) {
		why = MPS_REASON_TRIED;
	} else {
		return auto_why_later(q, plan, &o.m);
	}
	plan->number = auto_blocks(st, q, plan, &o, late);
	if (plan->number)
		return MPS_REASON_WINDOW;
	plan->trial |= (__u32)(why == MPS_REASON_TRIED) << i;
	auto_open(v, st, q, plan, &o.m);
	return why;
}

#endif
