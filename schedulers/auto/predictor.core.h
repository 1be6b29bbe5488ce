/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * When would so many bytes have arrived over a subflow? A model of it is made once for each question, from what the kernel and the estimator say,
 * and is a value: asking it changes nothing.
 */
#ifndef MPS_AUTO_PREDICTOR_H
#define MPS_AUTO_PREDICTOR_H

#include "memory.core.h"

struct auto_model {
	__u32 rtt_us;
	__u32 head_us;  /* how long ago what is in flight was sent, as far as it counts */
	__u32 round_us; /* how much of the present round is over, if the window is what limits */
	__u32 inverse;  /* µs << 20 a byte */
	__u32 rate;     /* bytes/ms that it can make now: by window and by what it was seen to carry */
	__u32 soon;     /* bytes/ms that it can make once slow start is over */
	__u32 window;   /* bytes */
	__u32 ssthresh; /* bytes */
	__u32 queue;    /* bytes on it */
	__u32 unknown;  /* nobody has seen what it can carry */
	__u32 most; /* bytes that it may hold, one burst, until its ACKs have told what it can carry; 0: any */
	__u32 index;
};

/* With the window that there is, or as if that had grown already. */
enum auto_window {
	AUTO_AS_IT_IS = 0,
	AUTO_GROWN = 1,
};

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

/*
 * The window it will have when it sends next: the kernel halves it for each RTO since it last sent (RFC 2861,
 * tcp_cwnd_restart()), which was a round trip before the last ACK.
 */
MPS_CORE __u32 auto_window_segs(const struct mps_subflow_view *sf)
{
	__u32 var_us = sf->rttvar_us * 4, segs = sf->cwnd_segs,
	      rto = sf->srtt_us + (var_us > AUTO_RTO_LEAST_US ? var_us : AUTO_RTO_LEAST_US);
	__u64 idle_us = (__u64)sf->last_rcv_age_us + sf->srtt_us;

	if (sf->outstanding_bytes)
		return segs;
	for (__u32 n = 1; n < 8; n++)
		if (segs > AUTO_WINDOW_SEGS && idle_us / n > rto)
			segs = segs / 2 > AUTO_WINDOW_SEGS ? segs / 2 : AUTO_WINDOW_SEGS;
	return segs;
}

/* What is on it already, and how far that has come. Between messages it will have been delivered. */
MPS_CORE void auto_model_queue(const struct mps_view *v, const struct auto_flow *f,
			       const struct mps_subflow_view *sf, struct auto_model *m)
{
	__u32 flying, since, us;

	m->queue = auto_bytes(sf->outstanding_bytes);
	flying = sf->outstanding_bytes > sf->notsent_bytes ? sf->outstanding_bytes - sf->notsent_bytes : 0;
	us = (__u32)(mps_bounded_bytes(flying) * m->inverse >> 20);
	since = f->busy_us ? auto_since((__u32)v->now_us, f->busy_us) : 0;
	us = us < m->rtt_us ? us : m->rtt_us;
	m->head_us = us < since ? us : since;
	us = auto_since((__u32)v->now_us, f->acked_us);
	us = us < since ? us : since;
	m->round_us = us < m->rtt_us ? us : m->rtt_us;
}

MPS_CORE_PART __u32 auto_model_of(const struct mps_view *v, const struct auto_policy_state *st,
				  const struct auto_question *q, struct auto_model *m, __u32 index)
{
	__u32 i = mps_row(index), rate;
	const struct mps_subflow_view *sf;
	const struct auto_flow *f;
	__u64 bytes;

	if (!v || !st || !q || !m)
		return 0;
	sf = &v->sf[i];
	f = &st->flow[i];
	m->index = i;
	m->rtt_us = f->base_us ? f->base_us : AUTO_RTT_US;
	m->rtt_us = m->rtt_us < MPS_DELAY_MOST ? m->rtt_us : MPS_DELAY_MOST;
	rate = f->rate ? f->rate : AUTO_RATE_MOST;
	rate = rate < AUTO_RATE_MOST ? rate : AUTO_RATE_MOST;
	m->unknown = !f->rate;
	m->inverse = (1000u << 20) / rate;
	bytes = (__u64)auto_window_segs(sf) * sf->mss_bytes;
	m->window = bytes > 1 ? auto_bytes(bytes) : 1;
	m->ssthresh = auto_bytes((__u64)sf->ssthresh_segs * sf->mss_bytes);
	bytes = (__u64)m->window * 1000 / (m->rtt_us ? m->rtt_us : 1);
	m->rate = bytes < rate ? (__u32)(bytes ? bytes : 1) : rate;
	m->soon = m->window >= m->ssthresh ? m->rate : rate;
	m->queue = 0;
	m->head_us = 0;
	m->round_us = 0;
	if (!q->rest)
		auto_model_queue(v, f, sf, m);
	m->most = 0;
	if (q->known && m->unknown && m->queue)
		m->most = m->window > AUTO_BURST ? m->window : AUTO_BURST;
	return 0;
}

/* Rounds of a window that grows in slow start until `left` bytes are sent. */
MPS_CORE __u64 auto_rounds_us(const struct auto_model *m, __u64 left, __u64 window)
{
	__u64 us = 0, flow;

	for (__u32 n = 0; n < AUTO_ROUNDS; n++) {
		if (left <= window)
			break;
		flow = window * m->inverse >> 20;
		us += flow > m->rtt_us ? flow : m->rtt_us;
		left -= window;
		if (window < m->ssthresh)
			window = window * 2 < m->ssthresh ? window * 2 : m->ssthresh;
	}
	if (left > window) {
		flow = window * m->inverse >> 20;
		us += left / window * (flow > m->rtt_us ? flow : m->rtt_us);
		left = left % window;
	}
	return us + (left * m->inverse >> 20);
}

/* When `bytes`, and what is ahead of them, have arrived; `grown`: enum auto_window. */
MPS_CORE_PART __u32 auto_arrival_us(const struct auto_model *m, __u64 bytes, __u32 grown)
{
	__u64 left, window, us, own, head, done;

	if (!m)
		return AUTO_NEVER_US;
	if (m->most && m->queue + bytes > m->most)
		return AUTO_NEVER_US;
	window = m->window;
	if (grown && window < bytes + m->queue)
		window = mps_bounded_bytes(bytes + m->queue);
	window += !window;
	bytes = mps_bounded_bytes(bytes);
	left = bytes + m->queue;
	head = m->head_us;
	/* Where the window limits, what does not fit leaves when the present round's ACKs are there, not when its bytes have passed. */
	if (left > window && (window * m->inverse >> 20) < m->rtt_us) {
		done = m->round_us * (m->queue < window ? m->queue : window) / window;
		head = head > done ? head : done;
	}
	us = auto_rounds_us(m, left, window);
	us = us > head ? us - head : 0;
	own = bytes * m->inverse >> 20;
	us = (us > own ? us : own) + m->rtt_us / 2;
	return us < AUTO_NEVER_US ? (__u32)us : AUTO_NEVER_US;
}

/* The same of a subflow of which no more is to be known. */
MPS_CORE_PART __u32 auto_burst_us(const struct mps_view *v, const struct auto_policy_state *st,
				  const struct auto_question *q, __u32 index, __u64 bytes)
{
	struct auto_model m = {};

	if (!v || !st || !q)
		return AUTO_NEVER_US;
	auto_model_of(v, st, q, &m, index);
	return auto_arrival_us(&m, bytes, AUTO_AS_IT_IS);
}

/*
 * When a share of the message has arrived over a subflow that gets it in bursts, and sends at most `limit` bytes/ms (0: any). Each burst ends with less than a
 * segment, and a second such end is held back until the first has been acknowledged (tcp_minshall_check()); bulk ends never.
 */
MPS_CORE_PART __u32 auto_late_us(const struct auto_model *m, __u64 share, __u32 bulk, __u32 limit,
				 __u32 grown)
{
	__u32 us = 0, whole;
	__u64 slowed;

	if (!m)
		return AUTO_NEVER_US;
	if (share > AUTO_BURST && !bulk)
		us = auto_arrival_us(m, AUTO_BURST, grown) + m->rtt_us;
	whole = auto_arrival_us(m, share, grown);
	us = us > whole ? us : whole;
	if (limit && limit < m->soon) {
		slowed = share * 1000 / limit - share * 1000 / m->soon;
		us += slowed < AUTO_NEVER_US ? (__u32)slowed : AUTO_NEVER_US;
	}
	return us;
}

/* Its part of so many bytes that are shared by rate; `rate` is that of all. */
MPS_CORE __u64 auto_part(const struct auto_model *m, __u64 bytes, __u32 rate)
{
	return bytes * m->rate / (rate ? rate : 1);
}

#endif
