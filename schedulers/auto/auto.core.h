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
 */
#ifndef MPS_AUTO_CORE_H
#define MPS_AUTO_CORE_H

#include "../common/delay.core.h"

#define AUTO_PARAMS(P)                                                                                       \
	P(__u32, margin_pct, 10, 0, 50, "%",                                                                 \
	  "how much earlier a closed subflow must be to be opened; more means fewer flips")
MPS_PARAMS(auto_policy, AUTO_PARAMS)

/* MPTCP_SEND_BURST_SIZE, net/mptcp/protocol.c */
#define AUTO_BURST 65536
#define AUTO_NEVER_US (1u << 28)
/* Rates are in bytes a millisecond; unknown is 10 Gbit/s. */
#define AUTO_RATE_MOST 1250000u
#define AUTO_ROUNDS 10
#define AUTO_TRAIN_US 4000
#define AUTO_TRIALS 3
/*
 * The kernel makes the send buffer of a subflow 2 * 4352 bytes for each segment of its window (tcp_sndbuf_expand()), six times
 * the window, and wakes an application that waits for room when a third is free.
 */
#define AUTO_BUFFER 6
#define AUTO_SPACE 4
#define AUTO_NEAR_PCT 110
/* Limits that are kept in 16 bits, and up to how many bursts they are made for. */
#define AUTO_PACE_UNIT 4096
#define AUTO_BURSTS 8

struct auto_flow {
	__u32 base_us;     /* round trip without our own queue; 0: not known */
	__u32 rate;        /* greatest rate of a train of ACKs, bytes/ms; 0: not known */
	__u32 train_us;    /* when the present train began … */
	__u32 train_acked; /* … and bytes_acked then */
	__u32 acked_us;    /* when bytes_acked last rose */
	__u32 busy_us;     /* since when something has been under way on it; 0: nothing is */
};

struct auto_policy_state {
	struct auto_flow flow[MPS_SUBFLOW_ROWS];
	__u64 written;    /* by the application, counted from an arbitrary start */
	__u64 level_done; /* what was acknowledged when it last wrote */
	__u32 level;      /* what was under way after that */
	__u32 refill;     /* it writes whenever the send buffer has room */
	__u32 size;       /* of the present transfer so far */
	__u32 last_size;
	__u32 present;
	__u16 open;
	__u16 trial;                   /* bit i: open although its window is too small as yet */
	__u16 paced;                   /* bit i: pace[i] is not 0 */
	__u16 best;                    /* index, plus 1; 0: none yet */
	__u16 pace[MPS_SUBFLOW_ROWS];  /* wished for, AUTO_PACE_UNIT bytes/s; 0: none */
	__u8 trials[MPS_SUBFLOW_ROWS]; /* bursts sent on trial since it last helped by itself */
	__u32 looked; /* bytes: the most that could be under way when it last went on in spite of a block */
};

/* What is known of one subflow at a decision. */
struct auto_model {
	__u32 rtt_us;
	__u32 head_us;  /* how long ago what is in flight was sent, as far as it counts */
	__u32 round_us; /* how much of the present round is over, if the window is what limits */
	__u32 inverse;  /* µs << 20 a byte */
	__u32 rate;     /* bytes/ms that it can make now: by window and by what it was seen to carry */
	__u32 window;   /* bytes */
	__u32 ssthresh; /* bytes */
	__u32 queue;    /* bytes on it */
	__u32 unknown;  /* nobody has seen what it can carry */
	__u32 soon;     /* bytes/ms that it can make once slow start is over */
};

struct auto_work {
	struct auto_model m;
	__u64 unsent;
	__u64 waits; /* what is thought to be sent until the transfer ends */
	__u64 space; /* what the receive window holds in all */
	__u64 sent;  /* what the send buffer holds now */
	__u64 windows;
	__u64 queues; /* on those that are open */
	__u64 paces;
	__u64 rate; /* bytes/ms of those that are open */
	__u32 burst;
	__u32 refill;
	__u32 rest;  /* nothing waits */
	__u32 known; /* of one at least it was seen what it can carry */
	__u32 grown;
	__u32 best;
	__u32 doubt_us; /* how much less it may take: of the one asked about only the handshake is known */
	__u32 least; /* µs until the message is complete with the best number of bursts on the one asked about */
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
		pace = ((__u64)sf->cwnd_segs * sf->mss_bytes *
			(sf->cwnd_segs < sf->ssthresh_segs / 2 ? 2000 : 1200) / us * 1000) >>
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
	seen = (__u64)st->flow[mps_row(index)].rate * 6 / 5 * 1000 >> 10;
	return seen && seen < pace ? seen : pace;
}

/*
 * How wrong its delay may be. A handshake that had to wait for an address to be resolved (ARP) took twice the round trip; the
 * deviation is half of it then. Without a sample: any.
 */
MPS_CORE_PART __u32 auto_doubt_us(const struct mps_view *v, __u32 index)
{
	const struct mps_subflow_view *sf;

	if (!v)
		return 0;
	sf = mps_at(v, index);
	return mps_delay_us(sf) == MPS_DELAY_UNKNOWN ? AUTO_NEVER_US : mps_jitter_us(sf, sf) / 2;
}

/* Is the one the kernel's list has before the other? */
MPS_CORE_PART __u32 auto_listed_before(const struct mps_view *v, __u32 one, __u32 other)
{
	return v && mps_at(v, one)->id < mps_at(v, other)->id;
}

/* Bursts on trial so far; after it has helped by itself they are counted anew. */
MPS_CORE_PART __u32 auto_trials(struct auto_policy_state *st, __u32 index, __u32 helps)
{
	if (!st)
		return AUTO_TRIALS;
	if (helps)
		st->trials[mps_row(index)] = 0;
	return st->trials[mps_row(index)];
}

MPS_CORE __u32 auto_bytes(__u64 bytes)
{
	return (__u32)mps_bounded_bytes(bytes);
}

MPS_CORE __u32 auto_since(__u32 now, __u32 then)
{
	__u32 d = now - then;

	return d < 1u << 31 ? d : 0;
}

/* Learns from the ACK at hand: round trip without queue, rate of the train. */
MPS_CORE_PART __u32 auto_learn(const struct mps_view *v, struct auto_policy_state *st, __u32 index)
{
	__u32 i = mps_row(index), now, acked, dt, got, us, rate, queued;
	const struct mps_subflow_view *sf;
	struct auto_flow *f;
	__u64 own;

	if (!v || !st)
		return 0;
	sf = &v->sf[i];
	f = &st->flow[i];
	now = (__u32)v->now_us;
	now += !now;
	if (sf->flags & MPS_SF_FRESH) {
		f->base_us = 0;
		f->rate = 0;
		f->train_us = now;
		f->train_acked = (__u32)sf->bytes_acked;
		f->acked_us = now;
		f->busy_us = 0;
		st->trials[i] = 0;
		st->pace[i] = 0;
	}
	if (!sf->outstanding_bytes)
		f->busy_us = 0;
	else if (!f->busy_us) {
		f->busy_us = now;
		if ((st->trial >> i & 1) && st->trials[i] < AUTO_TRIALS)
			st->trials[i]++;
	}
	us = sf->srtt_us ? sf->srtt_us : sf->min_rtt_us;
	us = us < MPS_DELAY_MOST ? us : MPS_DELAY_MOST;
	if (!f->base_us || us < f->base_us)
		f->base_us = us;
	if (sf->min_rtt_us && !sf->srtt_us)
		f->base_us = us;
	acked = (__u32)sf->bytes_acked;
	if (!(sf->flags & MPS_SF_SELF))
		return !!f->rate;
	dt = auto_since(now, f->acked_us);
	/*
	 * A path may have become longer: the base follows within seconds of traffic, by what a full window of
	 * our own in the bottleneck's queue does not explain.
	 */
	own = f->rate ? (__u64)sf->cwnd_segs * sf->mss_bytes * 1000 / f->rate : 0;
	if (us > f->base_us + own)
		f->base_us += (__u32)((us - own - f->base_us) * (dt < 100000 ? dt : 100000) >> 22);
	got = acked - f->train_acked;
	queued = sf->srtt_us > f->base_us + f->base_us / 4 + 2000;
	if (!f->train_us || (dt > f->base_us / 2 && !queued) || dt > 2000000 || got > 1u << 30) {
		f->train_us = now;
		f->train_acked = acked;
	} else {
		us = auto_since(now, f->train_us);
		us += !us;
		/* Long enough not to be one batch of ACKs; the last of a flight counts as it is. */
		if (sf->outstanding_bytes
			    ? got < 8 * sf->mss_bytes || (us < f->base_us / 8 && us < AUTO_TRAIN_US)
			    : got < 2 * sf->mss_bytes)
			goto out;
		rate = (__u32)((__u64)got * 1000 / us);
		rate = rate < AUTO_RATE_MOST ? rate : AUTO_RATE_MOST;
		rate += !rate;
		if (!f->rate)
			f->rate = rate;
		else if (rate > f->rate)
			f->rate += ((rate / 4 < f->rate ? rate : 4 * f->rate) - f->rate + 3) / 4;
		else if (queued)
			f->rate -= (f->rate - rate) / 4;
		f->train_us = now;
		f->train_acked = acked;
	}
out:
	f->acked_us = now;
	if (!sf->outstanding_bytes)
		f->train_us = 0;
	return !!f->rate;
}

/*
 * The window it will have when it sends next: the kernel halves it for each RTO since it last sent (RFC 2861,
 * tcp_cwnd_restart()), which was a round trip before the last ACK.
 */
MPS_CORE __u32 auto_window_segs(const struct mps_subflow_view *sf)
{
	__u32 segs = sf->cwnd_segs,
	      rto = sf->srtt_us + (sf->rttvar_us * 4 > 200000 ? sf->rttvar_us * 4 : 200000);
	__u64 idle_us = (__u64)sf->last_rcv_age_us + sf->srtt_us;

	if (sf->outstanding_bytes)
		return segs;
	for (__u32 n = 1; n < 8; n++)
		if (segs > 10 && idle_us / n > rto)
			segs = segs / 2 > 10 ? segs / 2 : 10;
	return segs;
}

MPS_CORE_PART __u32 auto_model_of(const struct mps_view *v, const struct auto_policy_state *st,
				  struct auto_model *m, __u32 index)
{
	__u32 i = mps_row(index), rate, since, flying, us;
	const struct mps_subflow_view *sf;
	const struct auto_flow *f;
	__u64 bytes;

	if (!v || !st || !m)
		return 0;
	sf = &v->sf[i];
	f = &st->flow[i];
	m->rtt_us = f->base_us ? f->base_us : 100000;
	if (m->rtt_us > MPS_DELAY_MOST)
		m->rtt_us = MPS_DELAY_MOST;
	rate = f->rate ? f->rate : AUTO_RATE_MOST;
	rate = rate < AUTO_RATE_MOST ? rate : AUTO_RATE_MOST;
	m->inverse = (1000u << 20) / rate;
	bytes = (__u64)auto_window_segs(sf) * sf->mss_bytes;
	m->window = bytes > 1 ? auto_bytes(bytes) : 1;
	bytes = (__u64)sf->ssthresh_segs * sf->mss_bytes;
	m->ssthresh = auto_bytes(bytes);
	m->queue = auto_bytes(sf->outstanding_bytes);
	flying = sf->outstanding_bytes > sf->notsent_bytes ? sf->outstanding_bytes - sf->notsent_bytes : 0;
	us = (__u32)(mps_bounded_bytes(flying) * m->inverse >> 20);
	since = f->busy_us ? auto_since((__u32)v->now_us, f->busy_us) : 0;
	us = us < m->rtt_us ? us : m->rtt_us;
	m->head_us = us < since ? us : since;
	us = auto_since((__u32)v->now_us, f->acked_us);
	us = us < since ? us : since;
	m->round_us = us < m->rtt_us ? us : m->rtt_us;
	bytes = (__u64)m->window * 1000 / (m->rtt_us ? m->rtt_us : 1);
	m->unknown = !f->rate;
	m->soon = rate;
	m->rate = bytes < rate ? (__u32)(bytes ? bytes : 1) : rate;
	if (m->window >= m->ssthresh)
		m->soon = m->rate;
	return 0;
}

/* When `bytes`, and what is ahead of them, have arrived: rounds of the window, which grows in slow start. */
MPS_CORE_PART __u32 auto_arrival_us(const struct auto_model *m, __u64 bytes)
{
	__u64 left, window, rtt, us = 0, flow, own, head;

	if (!m)
		return AUTO_NEVER_US;
	bytes = mps_bounded_bytes(bytes);
	left = bytes + m->queue;
	window = m->window ? m->window : 1;
	rtt = m->rtt_us;
	head = m->head_us;
	/* Where the window limits, what does not fit leaves when the present round's ACKs are there, not when its bytes have passed. */
	if (left > window && (window * m->inverse >> 20) < rtt) {
		__u64 done = m->round_us * (m->queue < window ? m->queue : window) / window;

		head = head > done ? head : done;
	}
	for (__u32 n = 0; n < AUTO_ROUNDS; n++) {
		if (left <= window)
			break;
		flow = window * m->inverse >> 20;
		us += flow > rtt ? flow : rtt;
		left -= window;
		if (window < m->ssthresh)
			window = window * 2 < m->ssthresh ? window * 2 : m->ssthresh;
	}
	if (left > window) {
		flow = window * m->inverse >> 20;
		us += left / window * (flow > rtt ? flow : rtt);
		left = left % window;
	}
	us += left * m->inverse >> 20;
	us = us > head ? us - head : 0;
	own = bytes * m->inverse >> 20;
	us = (us > own ? us : own) + rtt / 2;
	return us < AUTO_NEVER_US ? (__u32)us : AUTO_NEVER_US;
}

/* Is our own data waiting in a bottleneck's queue? Then the application writes faster than that path carries. */
MPS_CORE_PART __u32 auto_pressed(const struct mps_view *v, const struct auto_policy_state *st)
{
	__u32 pressed = 0;

	if (!v || !st)
		return 0;
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++) {
		__u32 base = st->flow[i].base_us < MPS_DELAY_MOST ? st->flow[i].base_us : MPS_DELAY_MOST;

		pressed |= (v->present >> i & 1) && v->sf[i].outstanding_bytes &&
			   v->sf[i].srtt_us > base + base / 4 + 2000;
	}
	return pressed;
}

/* Follows the application: is it filling the send buffer as fast as it empties, how long are its transfers? */
MPS_CORE_PART __u32 auto_follow(const struct mps_view *v, struct auto_policy_state *st)
{
	__u64 backlog, written, grown, done;

	if (!v || !st)
		return 0;
	backlog = v->unsent_bytes + mps_outstanding_of(v, ~0u);
	written = mps_acked_of(v, ~0u) + backlog;
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
		/*
		 * A small send buffer drains by more than half before a writer that has to be woken has filled it
		 * again. While there is a queue in the network, what was written before has to be gone to call it a new message.
		 */
		if (auto_pressed(v, st) ? backlog <= grown
					: backlog < grown + st->level / 2 || backlog < AUTO_BURST) {
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

MPS_CORE_PART __u32 auto_burst_us(const struct mps_view *v, const struct auto_policy_state *st,
				  struct auto_work *w, __u32 index, __u64 bytes)
{
	if (!v || !st || !w)
		return AUTO_NEVER_US;
	auto_model_of(v, st, &w->m, index);
	if (w->rest) {
		w->m.queue = 0;
		w->m.head_us = 0;
		w->m.round_us = 0;
	}
	/* One burst at a time, until its ACKs have told what it can carry. */
	if (w->known && w->m.unknown && w->m.queue &&
	    w->m.queue + bytes > (w->m.window > AUTO_BURST ? w->m.window : AUTO_BURST))
		return AUTO_NEVER_US;
	/* As if its window had grown already. */
	if (w->grown && w->m.window < bytes + w->m.queue)
		w->m.window = auto_bytes(bytes + w->m.queue);
	return auto_arrival_us(&w->m, bytes);
}

/* Subflows that should have been heard of by now: bit i. About when the kernel's tail-loss probe leaves. */
MPS_CORE_PART __u32 auto_silent(const struct mps_view *v, const struct auto_policy_state *st)
{
	__u32 silent = 0;

	if (!v || !st)
		return 0;
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++) {
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

/* What the kernel will put on it: it evens out what is queued by pacing rate, in whole bursts. */
MPS_CORE_PART __u64 auto_share(const struct mps_view *v, const struct auto_policy_state *st,
			       const struct auto_work *w, __u32 index)
{
	__u64 share, pace, room, here;

	if (!v || !st || !w)
		return 0;
	pace = auto_pace(v, st, index, w->rest);
	/*
	 * It can only hand out what is there, and of that what the receive window takes. In bulk that opens a little with each ACK, and
	 * each time it is asked again; but one that is to be opened gets its share of the whole, in the end.
	 */
	here = w->rest ? w->waits : w->unsent;
	if (w->refill && (st->open >> (mps_row(index)) & 1))
		here = here < v->window_bytes ? here : v->window_bytes;
	here = here > w->burst ? here : w->burst;
	share = (here + w->m.queue + w->queues) * pace / (w->paces + pace);
	share = share > w->m.queue ? share - w->m.queue : 0;
	share = share > w->burst ? share : w->burst;
	/* A send buffer that has grown stays so. */
	room = (__u64)mps_at(v, index)->cwnd_segs * mps_at(v, index)->mss_bytes * AUTO_BUFFER;
	room = room > 87040 ? room : 87040;
	room = room > w->m.queue ? room - w->m.queue : 0;
	room = room > w->burst ? room : w->burst;
	share = share < room ? share : room;
	/* The first in the list gets a whole burst, and of two bursts the other one what is left. */
	if (w->rest && w->waits > AUTO_BURST && w->waits < 2 * AUTO_BURST)
		share = auto_listed_before(v, index, w->best) ? AUTO_BURST : w->waits - AUTO_BURST;
	return share < here ? share : here;
}

/* Where so many bytes arrive first. */
MPS_CORE_PART __u32 auto_first(const struct mps_view *v, const struct auto_policy_state *st,
			       struct auto_work *w, __u32 among, __u64 bytes)
{
	__u32 best = MPS_MAX_SUBFLOWS, least = ~0u;

	if (!v || !st || !w)
		return best;
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++) {
		__u32 us;

		if (!(among >> i & 1))
			continue;
		us = auto_burst_us(v, st, w, i, bytes);
		if (us < least) {
			least = us;
			best = i;
		}
	}
	return best;
}

/*
 * When a share of the message has arrived over a subflow that gets it in bursts. Each burst ends with less than a segment, and a second such end is held
 * back until the first has been acknowledged (tcp_minshall_check()).
 */
MPS_CORE_PART __u32 auto_late_us(const struct mps_view *v, const struct auto_policy_state *st,
				 struct auto_work *w, __u32 index, __u64 share)
{
	__u32 us = 0, held;
	__u64 pace; /* bytes/ms */

	if (!v || !st || !w)
		return AUTO_NEVER_US;
	if (share > AUTO_BURST && !w->refill)
		us = auto_burst_us(v, st, w, index, AUTO_BURST) + w->m.rtt_us;
	held = auto_burst_us(v, st, w, index, share);
	us = us > held ? us : held;
	pace = (__u64)st->pace[mps_row(index)] * AUTO_PACE_UNIT / 1000;
	if (pace && pace < w->m.soon) {
		pace = share * 1000 / pace - share * 1000 / w->m.soon;
		us += pace < AUTO_NEVER_US ? (__u32)pace : AUTO_NEVER_US;
	}
	return us;
}

/*
 * With how many bursts of the message on it all would be complete soonest, and when (w->least). To get so many and no more it is
 * paced, relative to the best, which must not hold it back.
 */
MPS_CORE_PART __u32 auto_bursts(const struct mps_view *v, const struct auto_policy_state *st,
				struct auto_work *w, __u32 index)
{
	__u64 left, bytes, most, pace;
	__u32 bursts = 0, held, us, rest;

	if (!v || !st || !w)
		return 0;
	pace = auto_pace_least(v, st, w->best);
	w->grown = 1;
	held = auto_burst_us(v, st, w, index, AUTO_BURST) + w->m.rtt_us;
	w->least = AUTO_NEVER_US;
	for (__u32 n = 0; n <= AUTO_BURSTS; n++) {
		bytes = (__u64)n * AUTO_BURST;
		if (bytes >= w->waits)
			break;
		left = w->waits - bytes;
		auto_burst_us(v, st, w, w->best, 0);
		left = left * w->m.rate / (w->rate ? w->rate : 1);
		left += !left;
		rest = auto_burst_us(v, st, w, w->best, left);
		us = n ? auto_burst_us(v, st, w, index, bytes) : 0;
		us = n > 1 && us < held ? held : us;
		us = us > w->doubt_us ? us - w->doubt_us : 0;
		most = pace * bytes / left;
		if (n && most && most < w->m.soon)
			us += (__u32)(bytes * 1000 / most) - (__u32)(bytes * 1000 / w->m.soon);
		us = us < rest ? rest : us;
		if (us < w->least) {
			w->least = us;
			bursts = n;
		}
	}
	w->grown = 0;
	return bursts;
}

/*
 * Wishes for the pacing rate with which the kernel puts so many bursts of the message on it; none with 0. With AUTO_BURSTS, or more, for
 * the one in the proportion of what the paths carry. (KiB/s are taken for bytes/ms.)
 */
MPS_CORE_PART __u32 auto_wish_pace(const struct mps_view *v, struct auto_policy_state *st,
				   struct auto_work *w, __u32 index, __u32 bursts)
{
	__u64 pace, here, there, most, rate;
	__u32 has;

	if (!v || !st || !w)
		return 0;
	index = mps_row(index);
	if (!bursts) {
		st->pace[index] = 0;
		return 0;
	}
	pace = auto_pace_least(v, st, w->best);
	auto_burst_us(v, st, w, index, 0);
	here = w->m.queue + (__u64)bursts * AUTO_BURST;
	rate = w->m.unknown ? 0 : w->m.soon;
	auto_burst_us(v, st, w, w->best, 0);
	there = w->waits > (__u64)bursts * AUTO_BURST ? w->waits - (__u64)bursts * AUTO_BURST : 1;
	there = w->m.queue + there * w->m.rate / (w->rate ? w->rate : 1);
	there += !there;
	if (bursts < AUTO_BURSTS) {
		most = pace * here / there * 9 / 10;
		pace = pace * (here - AUTO_BURST / 2) / there;
		/* It must not be held back by that. */
		if (pace < rate)
			pace = rate < most ? rate : most;
	} else {
		pace = rate ? pace * rate / (w->m.rate ? w->m.rate : 1) : 0;
	}
	pace /= AUTO_PACE_UNIT / 1024;
	pace = pace < 65536 ? pace : 0;
	has = st->pace[index];
	if (pace > has + has / 8 || pace < has - has / 8)
		st->pace[index] = (__u16)pace;
	return 0;
}

/* When all of it is complete with such a share on it, if its window were as large. */
MPS_CORE_PART __u32 auto_whole_us(const struct mps_view *v, const struct auto_policy_state *st,
				  struct auto_work *w, __u32 index, __u32 share)
{
	__u32 us, rest;

	if (!v || !st || !w)
		return AUTO_NEVER_US;
	w->grown = 1;
	us = auto_late_us(v, st, w, index, share);
	w->grown = 0;
	auto_burst_us(v, st, w, w->best, 0);
	rest = auto_burst_us(v, st, w, w->best,
			     (w->waits > share ? w->waits - share : 0) * w->m.rate / (w->rate ? w->rate : 1));
	return us > rest ? us : rest;
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

MPS_CORE void auto_policy_decide(const struct mps_view *v, struct mps_verdict *out,
				 const struct auto_policy_params *p, struct auto_policy_state *st)
{
	__u32 candidates = mps_welcome(v), best, left, open, next, us, first_us, late, held, silent, over,
	      bursts, trial = 0, margin = p->margin_pct;
	struct auto_work w = {};
	__u64 whole, rate, soon, ahead, limit, near, room, share, sends;

	out->allowed = candidates;
	margin = margin < 50 ? margin : 50;
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++)
		if (v->present >> i & 1)
			w.known |= auto_learn(v, st, i);
	silent = auto_silent(v, st);
	if (candidates & ~silent)
		candidates &= ~silent;
	w.refill = auto_follow(v, st);
	w.unsent = mps_bounded_bytes(v->unsent_bytes);
	w.waits = w.unsent + (w.refill ? st->size : 0);
	w.rest = !w.waits;
	if (w.rest)
		w.waits = st->size;
	w.burst = w.waits < AUTO_BURST ? (__u32)w.waits : AUTO_BURST;
	w.space = mps_bounded_bytes(v->window_bytes + v->unacked_bytes);
	w.sent = mps_bounded_bytes(v->unsent_bytes + v->unacked_bytes);
	/*
	 * By a burst alone, an idle slow path would be the quickest while much is queued on the quick one, and get the whole end of
	 * the message; the kernel hands out as many bursts at once as the receive window takes. In bulk there is no end.
	 */
	whole = w.rest || w.refill ? w.burst : w.waits;
	best = auto_first(v, st, &w, candidates, whole);
	if (best >= MPS_MAX_SUBFLOWS)
		return;
	us = auto_burst_us(v, st, &w, best, whole);
	held = st->best - 1;
	if (held < MPS_MAX_SUBFLOWS && (candidates >> held & 1) && held != best &&
	    auto_burst_us(v, st, &w, held, whole) <= (__u64)us * (100 + margin) / 100)
		best = held;
	st->best = (__u16)(best + 1);
	first_us = auto_burst_us(v, st, &w, best, w.burst);
	rate = w.m.rate;
	soon = w.m.soon;
	ahead = w.m.queue;
	w.windows = w.m.window;
	w.queues = w.m.queue;
	w.paces = auto_pace(v, st, best, w.rest);
	open = 1u << best;
	left = candidates & ~open;
	for (__u32 round = 1; round < MPS_MAX_SUBFLOWS; round++) {
		next = auto_first(v, st, &w, left, w.burst);
		if (next >= MPS_MAX_SUBFLOWS)
			break;
		left &= ~(1u << next);
		/* Everything over those that are open, each by its rate. */
		auto_burst_us(v, st, &w, best, 0);
		limit = auto_burst_us(v, st, &w, best, w.waits * w.m.rate / (rate ? rate : 1));
		/* Between messages there is time to get it right; in bulk each flip is paid for at once. */
		us = w.rest ? margin / 2 : margin;
		limit = st->open >> next & 1 ? limit * (100 + us) / 100 : limit * (100 - us) / 100;
		/*
		 * Of those that are idle the first gets the first burst: a small message must not take a slow path
		 * because the one before was large. One that is about as quick stays open in any case: what is
		 * open takes over soonest when another one dies.
		 */
		near = auto_doubt_us(v, next);
		/* The kernel would give a small message to that one, and much is known of it. */
		if (auto_listed_before(v, next, best) && near > first_us / 8)
			near = first_us / 8;
		near += (__u64)first_us * AUTO_NEAR_PCT / 100;
		if (w.rest &&
		    (near > limit || (auto_listed_before(v, next, best) && st->last_size <= AUTO_BURST)))
			limit = near;
		auto_burst_us(v, st, &w, next, 0);
		w.best = best;
		w.rate = rate;
		share = auto_share(v, st, &w, next);
		over = 0;
		w.doubt_us = 0;
		if (w.rest && w.waits > AUTO_BURST) {
			/* Not while it writes: what has been pushed of bulk so far looks like a message. */
			w.doubt_us = w.m.unknown && !mps_at(v, best)->outstanding_bytes
					     ? auto_doubt_us(v, next)
					     : 0;
			bursts = auto_bursts(v, st, &w, next);
			over = bursts && bursts < AUTO_BURSTS && share > bursts * AUTO_BURST &&
			       (__u64)w.least * 100 <
				       (__u64)auto_whole_us(v, st, &w, next, (__u32)share) * 95;
			if (over)
				share = bursts * AUTO_BURST;
			if (over || (st->paced >> next & 1))
				auto_wish_pace(v, st, &w, next, bursts);
			auto_burst_us(v, st, &w, next, 0);
		}
		if (w.refill && (st->paced >> next & 1) && !(st->paced >> best & 1)) {
			auto_wish_pace(v, st, &w, next, AUTO_BURSTS);
			auto_burst_us(v, st, &w, next, 0);
		}
		late = auto_late_us(v, st, &w, next, share);
		if (late <= limit && !over) {
			auto_trials(st, next, 1);
		} else {
			/*
			 * A window grows only by use. Where that is all it lacks, it is worth a few bursts; for a message of
			 * less than one only if that helps much.
			 */
			if (auto_trials(st, next, 0) >= AUTO_TRIALS)
				continue;
			w.grown = 1;
			us = auto_late_us(v, st, &w, next, share);
			w.grown = 0;
			us = us > w.doubt_us ? us - w.doubt_us : 0;
			auto_burst_us(v, st, &w, next, share);
			if (us > (w.waits > AUTO_BURST || (st->trial >> next & 1) ? limit : limit * 3 / 4))
				continue;
			if (w.rest && w.waits > AUTO_BURST && !over && !(st->trial >> next & 1) &&
			    w.least > limit * 3 / 4)
				continue;
			trial |= 1u << next;
		}
		room = w.windows + w.m.window + w.burst;
		room = w.refill ? (room * AUTO_SPACE > w.sent ? room * AUTO_SPACE : w.sent) : w.space;
		room = room < w.space ? room : w.space;
		/* What those that are open will send until then, if there is as much. */
		sends = soon * late / 1000;
		sends = sends < w.waits + ahead ? sends : w.waits + ahead;
		if (st->open >> next & 1)
			sends = sends * 3 / 4;
		/*
		 * What would block is guessed from the windows there are, and those of a connection that keeps to one path never grow. In
		 * bulk that goes on for longer than the block, finding out costs less. Once more only where they have grown by it: a receive
		 * buffer of a fixed size blocks every time.
		 */
		if (!w.rest && sends + share > ahead + room) {
			if (!w.refill || w.waits <= 2 * soon * late / 1000 ||
			    (!w.m.unknown && room <= (__u64)st->looked + st->looked / 8))
				continue;
			st->looked = auto_bytes(room);
		}
		open |= 1u << next;
		rate += w.m.rate;
		soon += w.m.soon;
		ahead += w.m.queue;
		w.windows += w.m.window;
		w.queues += w.m.queue;
		w.paces += auto_pace(v, st, next, w.rest);
	}
	auto_write_levers(out, st, w.rest ? best : MPS_MAX_SUBFLOWS);
	st->open = (__u16)open;
	st->trial = (__u16)(trial & open);
	out->allowed = open;
}

#endif
