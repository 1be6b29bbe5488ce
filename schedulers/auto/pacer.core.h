/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the kernel puts on a subflow, and the limit on its pacing rate that makes it less. The kernel evens out what is queued by pacing rates, so a limit on
 * one subflow also sets its share of what is written at once.
 */
#ifndef MPS_AUTO_PACER_H
#define MPS_AUTO_PACER_H

#include "predictor.core.h"

/* The subflows that are open so far: bit i, and their sums. */
struct auto_plan {
	struct auto_model best; /* the one that is always open */
	__u32 first_us;         /* when the next burst would have arrived over it */
	__u32 best_pace;        /* KiB/s by which others are paced */
	__u32 open;
	__u32 trial;
	__u32 number; /* that belongs to the reason for the last one asked */
	__u32 paces;  /* KiB/s */
	__u32 rate;   /* bytes/ms by their windows ... */
	__u32 soon;   /* ... and once slow start is over */
	__u64 windows;
	__u64 queues;
};

/* The subflow that is asked about. */
struct auto_offer {
	struct auto_model m;
	__u64 share;    /* bytes that the kernel would put on it */
	__u32 limit_us; /* until when they must have arrived */
	__u32 over;     /* and that is more than it should get: it is paced */
	__u32 doubt_us; /* how much less they may take: only the handshake is known */
	__u32 least_us; /* when the message is complete with the best number of bursts on it */
};

/*
 * What the kernel will divide by, in KiB/s, at least 1: at the first burst on an idle subflow it takes over TCP's pacing
 * rate (tcp_update_pacing_rate()), which the view has then.
 */
MPS_CORE_PART __u64 auto_pace(const struct mps_view *v, const struct auto_policy_state *st, __u32 index,
			      __u32 anew)
{
	const struct mps_subflow_view *sf;
	__u64 pace, us, most;

	if (!v || !st)
		return 1;
	sf = mps_at(v, index);
	pace = sf->pacing_rate >> 10;
	us = mps_delay_us(sf);
	if (anew && sf->outstanding_bytes && us) {
		pace = ((__u64)sf->cwnd_segs * sf->mss_bytes * 10 *
			(sf->cwnd_segs < sf->ssthresh_segs / 2 ? AUTO_PACE_START_PCT : AUTO_PACE_PCT) / us *
			1000) >>
		       10;
		most = (__u64)st->pace[mps_row(index)] * (AUTO_PACE_UNIT / 1024);
		if (most && pace > most)
			pace = most;
	}
	return pace < 1 ? 1 : pace < 1u << 24 ? pace : 1u << 24;
}

/*
 * The rate of the best by which others are paced. It falls while the queue grows: by the end of a message to TCP's 1.2 times
 * what the path carries, and only what a subflow was told at its own last ACK counts when the next message comes.
 */
MPS_CORE_PART __u64 auto_pace_least(const struct mps_view *v, const struct auto_policy_state *st, __u32 index)
{
	__u64 pace, seen;

	if (!v || !st)
		return 1;
	pace = auto_pace(v, st, index, 1);
	seen = (__u64)st->flow[mps_row(index)].rate * AUTO_PACE_PCT / 100 * 1000 >> 10;
	return seen && seen < pace ? seen : pace;
}

/* Is the one the kernel's list has before the other? */
MPS_CORE_PART __u32 auto_listed_before(const struct mps_view *v, __u32 one, __u32 other)
{
	return v && mps_at(v, one)->id < mps_at(v, other)->id;
}

/* What the kernel will put on it: it evens out what is queued by pacing rate, in whole bursts. */
MPS_CORE_PART __u64 auto_share(const struct mps_view *v, const struct auto_policy_state *st,
			       const struct auto_question *q, const struct auto_plan *plan,
			       const struct auto_model *m)
{
	__u64 share, pace, room, here;
	const struct mps_subflow_view *sf;

	if (!v || !st || !q || !plan || !m)
		return 0;
	sf = mps_at(v, m->index);
	pace = auto_pace(v, st, m->index, q->rest);
	/*
	 * It can only hand out what is there, and of that what the receive window takes. In bulk that opens a little with each ACK, and
	 * each time it is asked again; but one that is to be opened gets its share of the whole, in the end.
	 */
	here = q->rest ? q->waits : q->unsent;
	if (q->refill && (st->open >> mps_row(m->index) & 1))
		here = here < v->window_bytes ? here : v->window_bytes;
	here = here > q->burst ? here : q->burst;
	share = (here + m->queue + plan->queues) * pace / (plan->paces + pace);
	share = share > m->queue ? share - m->queue : 0;
	share = share > q->burst ? share : q->burst;
	/* A send buffer that has grown stays so. */
	room = (__u64)sf->cwnd_segs * sf->mss_bytes * AUTO_BUFFER;
	room = room > AUTO_BUFFER_LEAST ? room : AUTO_BUFFER_LEAST;
	room = room > m->queue ? room - m->queue : 0;
	room = room > q->burst ? room : q->burst;
	share = share < room ? share : room;
	/* The first in the list gets a whole burst, and of two bursts the other one what is left. */
	if (q->rest && q->waits > AUTO_BURST && q->waits < 2 * AUTO_BURST)
		share = auto_listed_before(v, m->index, plan->best.index) ? AUTO_BURST
									  : q->waits - AUTO_BURST;
	return share < here ? share : here;
}

/* When a message of so many bytes is complete with `bursts` of it on the one asked about, and it is paced to get no more. */
MPS_CORE_PART __u32 auto_split_us(const struct auto_offer *o, const struct auto_plan *plan, __u64 waits,
				  __u32 bursts)
{
	__u64 bytes = (__u64)bursts * AUTO_BURST, left, most;
	__u32 us, rest, held;

	if (!o || !plan)
		return AUTO_NEVER_US;
	left = auto_part(&plan->best, waits - bytes, plan->rate);
	left += !left;
	rest = auto_arrival_us(&plan->best, left, AUTO_GROWN);
	if (!bursts)
		return rest;
	us = auto_arrival_us(&o->m, bytes, AUTO_GROWN);
	if (bursts > 1) {
		held = auto_arrival_us(&o->m, AUTO_BURST, AUTO_GROWN) + o->m.rtt_us;
		us = us < held ? held : us;
	}
	us = us > o->doubt_us ? us - o->doubt_us : 0;
	most = (__u64)plan->best_pace * bytes / left;
	if (most && most < o->m.soon)
		us += (__u32)(bytes * 1000 / most) - (__u32)(bytes * 1000 / o->m.soon);
	return us < rest ? rest : us;
}

/* With how many bursts that is soonest. */
MPS_CORE_PART __u32 auto_bursts(const struct auto_offer *o, const struct auto_plan *plan, __u64 waits)
{
	__u32 bursts = 0, least = AUTO_NEVER_US, us;

	if (!o || !plan)
		return 0;
	for (__u32 n = 0; n <= AUTO_BURSTS; n++) {
		if ((__u64)n * AUTO_BURST >= waits)
			break;
		us = auto_split_us(o, plan, waits, n);
		if (us < least) {
			least = us;
			bursts = n;
		}
	}
	return bursts;
}

/*
 * The limit with which the kernel puts so many bursts of the message on it; none with 0. With AUTO_BURSTS, or more, in the proportion of what
 * the paths carry. `has` is the one that it has, and keeps unless another is an eighth away. (KiB/s are taken for bytes/ms.)
 */
MPS_CORE_PART __u32 auto_limit_for(const struct auto_model *m, const struct auto_plan *plan, __u64 waits,
				   __u32 bursts, __u32 has)
{
	__u64 pace, here, there, most, rate, bytes = (__u64)bursts * AUTO_BURST;

	if (!m || !plan || !bursts)
		return 0;
	pace = plan->best_pace;
	here = m->queue + bytes;
	rate = m->unknown ? 0 : m->soon;
	there = plan->best.queue + auto_part(&plan->best, waits > bytes ? waits - bytes : 1, plan->rate);
	there += !there;
	if (bursts < AUTO_BURSTS) {
		most = pace * here / there * 9 / 10;
		pace = pace * (here - AUTO_BURST / 2) / there;
		/* It must not be held back by that. */
		if (pace < rate)
			pace = rate < most ? rate : most;
	} else {
		pace = rate ? pace * rate / (plan->best.rate ? plan->best.rate : 1) : 0;
	}
	pace /= AUTO_PACE_UNIT / 1024;
	pace = pace < 65536 ? pace : 0;
	return pace > has + has / 8 || pace < has - has / 8 ? (__u32)pace : has;
}

/* The limit it has, in bytes/ms. */
MPS_CORE __u32 auto_limit(const struct auto_policy_state *st, __u32 index)
{
	return (__u32)((__u64)st->pace[mps_row(index)] * AUTO_PACE_UNIT / 1000);
}

/* When all of it is complete with such a share on it, if its window were as large. */
MPS_CORE_PART __u32 auto_whole_us(const struct auto_offer *o, const struct auto_plan *plan, __u64 waits,
				  __u32 limit)
{
	__u32 us, rest;

	if (!o || !plan)
		return AUTO_NEVER_US;
	us = auto_late_us(&o->m, o->share, 0, limit, AUTO_GROWN);
	rest = auto_arrival_us(&plan->best,
			       auto_part(&plan->best, waits > o->share ? waits - o->share : 0, plan->rate),
			       AUTO_AS_IT_IS);
	return us > rest ? us : rest;
}

/* Paces the one asked about if the kernel would put more of the next message on it than is good, and tells its share then. */
MPS_CORE_PART __u32 auto_pace_offer(const struct mps_view *v, struct auto_policy_state *st,
				    const struct auto_question *q, const struct auto_plan *plan,
				    struct auto_offer *o)
{
	__u32 i, bursts, paced;
	const struct mps_subflow_view *best;

	if (!v || !st || !q || !plan || !o)
		return 0;
	i = mps_row(o->m.index);
	paced = st->paced >> i & 1;
	if (q->rest && q->waits > AUTO_BURST) {
		/* Not while it writes: what has been pushed of bulk so far looks like a message. */
		best = mps_at(v, plan->best.index);
		o->doubt_us = o->m.unknown && !best->outstanding_bytes ? auto_doubt_us(v, i) : 0;
		bursts = auto_bursts(o, plan, q->waits);
		o->least_us = auto_split_us(o, plan, q->waits, bursts);
		o->over = bursts && bursts < AUTO_BURSTS && o->share > (__u64)bursts * AUTO_BURST &&
			  (__u64)o->least_us * 100 <
				  (__u64)auto_whole_us(o, plan, q->waits, auto_limit(st, i)) * AUTO_WORTH_PCT;
		if (o->over)
			o->share = (__u64)bursts * AUTO_BURST;
		if (o->over || paced)
			st->pace[i] = (__u16)auto_limit_for(&o->m, plan, q->waits, bursts, st->pace[i]);
	}
	if (q->refill && paced && !(st->paced >> mps_row(plan->best.index) & 1))
		st->pace[i] = (__u16)auto_limit_for(&o->m, plan, q->waits, AUTO_BURSTS, st->pace[i]);
	return o->over;
}

/* `unpaced`: the one that is not, whatever was wished before; MPS_MAX_SUBFLOWS if there is none. */
MPS_CORE_PART __u32 auto_write_levers(struct mps_verdict *out, struct auto_policy_state *st, __u32 unpaced)
{
	__u32 paced = 0;

	if (!out || !st)
		return 0;
	st->pace[mps_row(unpaced)] = 0;
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++) {
		paced |= (__u32)mps_is_less(0, st->pace[i]) << i;
		out->lever[i].lowat_bytes = 0;
		out->lever[i].pace_bytes_s = (__u32)st->pace[i] * AUTO_PACE_UNIT;
	}
	st->paced = (__u16)paced;
	if (paced)
		out->flags |= MPS_VERDICT_LEVERS;
	return 0;
}

#endif
