/* SPDX-License-Identifier: GPL-2.0-only */
/* What the ACKs tell: of each subflow its round trip without queue and its rate, of the application how it writes. */
#ifndef MPS_AUTO_ESTIMATOR_H
#define MPS_AUTO_ESTIMATOR_H

#include "memory.core.h"

/* A subflow that is new at this index. */
MPS_CORE void auto_start_over(struct auto_policy_state *st, __u32 i, __u32 now, __u32 acked)
{
	struct auto_flow *f = &st->flow[i];

	f->base_us = 0;
	f->rate = 0;
	f->train_us = now;
	f->train_acked = acked;
	f->acked_us = now;
	f->busy_us = 0;
	st->trials[i] = 0;
	st->pace[i] = 0;
}

/*
 * A path may have become longer: the base follows within seconds of traffic, by what a full window of our own in the bottleneck's
 * queue does not explain.
 */
MPS_CORE void auto_follow_base(const struct mps_subflow_view *sf, struct auto_flow *f, __u32 us, __u32 dt)
{
	__u64 own = f->rate ? (__u64)sf->cwnd_segs * sf->mss_bytes * 1000 / f->rate : 0;

	if (us > f->base_us + own)
		f->base_us +=
			(__u32)((us - own - f->base_us) * (dt < 100000 ? dt : 100000) >> AUTO_FOLLOW_SHIFT);
}

/* A train of ACKs went on for `us` and acknowledged `got`: long enough not to be one batch; the last of a flight counts as it is. */
MPS_CORE __u32 auto_tells_rate(const struct mps_subflow_view *sf, const struct auto_flow *f, __u32 us,
			       __u32 got)
{
	if (!sf->outstanding_bytes)
		return got >= 2 * sf->mss_bytes;
	return got >= 8 * sf->mss_bytes && (us >= f->base_us / 8 || us >= AUTO_TRAIN_US);
}

MPS_CORE __u32 auto_rate_after(__u32 known, __u32 rate, __u32 queued)
{
	rate = rate < AUTO_RATE_MOST ? rate : AUTO_RATE_MOST;
	rate += !rate;
	if (!known)
		return rate;
	if (rate > known)
		return known + ((rate / 4 < known ? rate : 4 * known) - known + 3) / 4;
	return queued ? known - (known - rate) / 4 : known;
}

/* The train that this ACK belongs to, or begins. */
MPS_CORE void auto_learn_rate(const struct mps_subflow_view *sf, struct auto_flow *f, __u32 now, __u32 dt)
{
	__u32 acked = (__u32)sf->bytes_acked, got = acked - f->train_acked, us;
	__u32 queued = sf->srtt_us > f->base_us + f->base_us / 4 + AUTO_QUEUE_US;

	if (f->train_us && (dt <= f->base_us / 2 || queued) && dt <= 2000000 && got <= 1u << 30) {
		us = auto_since(now, f->train_us);
		us += !us;
		if (!auto_tells_rate(sf, f, us, got))
			return;
		f->rate = auto_rate_after(f->rate, (__u32)((__u64)got * 1000 / us), queued);
	}
	f->train_us = now;
	f->train_acked = acked;
}

/* Learns from the ACK at hand: round trip without queue, rate of the train. Is its rate known? */
MPS_CORE_PART __u32 auto_learn(const struct mps_view *v, struct auto_policy_state *st, __u32 index)
{
	__u32 i = mps_row(index), now, dt, us;
	const struct mps_subflow_view *sf;
	struct auto_flow *f;

	if (!v || !st)
		return 0;
	sf = &v->sf[i];
	f = &st->flow[i];
	now = (__u32)v->now_us;
	now += !now;
	if (sf->flags & MPS_SF_FRESH)
		auto_start_over(st, i, now, (__u32)sf->bytes_acked);
	if (!sf->outstanding_bytes) {
		f->busy_us = 0;
	} else if (!f->busy_us) {
		f->busy_us = now;
		if ((st->trial >> i & 1) && st->trials[i] < AUTO_TRIALS)
			st->trials[i]++;
	}
	us = sf->srtt_us ? sf->srtt_us : sf->min_rtt_us;
	us = us < MPS_DELAY_MOST ? us : MPS_DELAY_MOST;
	if (!f->base_us || us < f->base_us || (sf->min_rtt_us && !sf->srtt_us))
		f->base_us = us;
	if (!(sf->flags & MPS_SF_SELF))
		return !!f->rate;
	dt = auto_since(now, f->acked_us);
	auto_follow_base(sf, f, us, dt);
	auto_learn_rate(sf, f, now, dt);
	f->acked_us = now;
	if (!sf->outstanding_bytes)
		f->train_us = 0;
	return !!f->rate;
}

/* Subflows that should have been heard of by now: bit i. About when the kernel's tail-loss probe leaves. */
MPS_CORE_PART __u32 auto_silent(const struct mps_view *v, const struct auto_policy_state *st)
{
	__u32 silent = 0;

	if (!v || !st)
		return 0;
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS && v->present >> i; i++) {
		const struct mps_subflow_view *sf = &v->sf[i];
		__u32 now = (__u32)v->now_us, patience;

		if (!(v->present >> i & 1) || !sf->outstanding_bytes || !st->flow[i].busy_us || !sf->srtt_us)
			continue;
		patience = mps_delay_us(sf);
		patience += patience / 2 + 4 * mps_jitter_us(sf, sf) + 10000;
		silent |= (__u32)(auto_since(now, st->flow[i].busy_us) > patience &&
				  auto_since(now, st->flow[i].acked_us) > patience)
			  << i;
	}
	return silent;
}

/* Is our own data waiting in a bottleneck's queue? Then the application writes faster than that path carries. */
MPS_CORE_PART __u32 auto_pressed(const struct mps_view *v, const struct auto_policy_state *st)
{
	__u32 pressed = 0;

	if (!v || !st)
		return 0;
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS && v->present >> i; i++) {
		__u32 base = st->flow[i].base_us < MPS_DELAY_MOST ? st->flow[i].base_us : MPS_DELAY_MOST;

		pressed |= (v->present >> i & 1) && v->sf[i].outstanding_bytes &&
			   v->sf[i].srtt_us > base + base / 4 + AUTO_QUEUE_US;
	}
	return pressed;
}

/*
 * Is what was written now a new message? A small send buffer drains by more than half before a writer that has to be woken has filled it
 * again. While there is a queue in the network, what was written before has to be gone to call it one.
 */
MPS_CORE __u32 auto_new_message(const struct mps_view *v, const struct auto_policy_state *st, __u64 backlog,
				__u64 grown)
{
	if (auto_pressed(v, st))
		return backlog <= grown;
	return backlog < grown + st->level / 2 || backlog < AUTO_BURST;
}

/* Follows the application: is it filling the send buffer as fast as it empties, how long are its transfers? */
MPS_CORE_PART __u32 auto_follow(const struct mps_view *v, struct auto_policy_state *st)
{
	__u64 backlog, written, grown, done;

	if (!v || !st)
		return 0;
	backlog = v->unsent_bytes + mps_outstanding_of(v, v->present);
	written = mps_acked_of(v, v->present) + backlog;
	done = written - backlog;
	if (v->present != st->present || written < st->written) {
		st->present = v->present;
		st->written = written;
		st->refill = 0;
		st->level = 0;
	}
	grown = written - st->written;
	st->written = written;
	/* An application that waits for room in the send buffer writes again when a third of it is free. */
	if (grown) {
		if (auto_new_message(v, st, backlog, grown)) {
			st->last_size = st->size;
			st->looked = 0;
			st->size = auto_bytes(grown);
			st->refill = 0;
		} else {
			st->size = auto_bytes(st->size + grown);
			st->refill = 1;
		}
		st->level = auto_bytes(backlog);
		st->level_done = done;
	}
	if (st->refill && done - st->level_done >= st->level / 2)
		st->refill = 0;
	return st->refill;
}

/* What this decision is about. When nothing waits, the next transfer is thought to be like the last one. */
MPS_CORE_PART __u32 auto_ask(const struct mps_view *v, struct auto_policy_state *st, struct auto_question *q)
{
	if (!v || !st || !q)
		return 0;
	q->refill = auto_follow(v, st);
	q->unsent = mps_bounded_bytes(v->unsent_bytes);
	q->waits = q->unsent + (q->refill ? st->size : 0);
	q->rest = !q->waits;
	if (q->rest)
		q->waits = st->size;
	q->burst = q->waits < AUTO_BURST ? (__u32)q->waits : AUTO_BURST;
	q->space = mps_bounded_bytes(v->window_bytes + v->unacked_bytes);
	q->sent = mps_bounded_bytes(v->unsent_bytes + v->unacked_bytes);
	return q->rest;
}

#endif
