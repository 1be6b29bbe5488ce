/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Whether a packet is to be believed: only one that TCP itself is going to take may teach us anything, be edited, or
 * cause a decision. Otherwise four numbers that anybody can guess (the addresses and ports) are enough to park a subflow,
 * to move it to another interface in our memory, or to make the stack take an option from a packet whose own
 * option it ignores. And it has to be each such packet: the peer's wish in one that we pass over is undone at the next.
 */
#ifndef MPS_BELIEVE_BPF_H
#define MPS_BELIEVE_BPF_H

#include "maps.bpf.h"
#include "parse.bpf.h"
#include "fingerprint.bpf.h"

#define TCP_PAWS_WINDOW 1
/* tcp_tsval_replay(), net/ipv4/tcp_input.c, at the least RTO of 200 ms and timestamps of 1 ms: it never says less. */
#define TCP_REPLAY_MIN 204

static __always_inline bool is_before(__u32 a, __u32 b)
{
	return (__s32)(a - b) < 0;
}

/* tcp_sequence(): some of it lies between what we acknowledged and the end of our window. */
static __always_inline bool is_in_window(struct tcp_sock *tp, const struct mps_packet *pkt)
{
	__u32 wup = tp->rcv_wup, limit = wup + tp->rcv_wnd, next = tp->rcv_nxt;

	if (is_before(limit, next))
		limit = next;
	return !is_before(pkt->seq + pkt->payload_len + pkt->fin, wup) && !is_before(limit, pkt->seq);
}

/* tcp_ack(), and the first half of RFC 5961 section 5.2: nothing unsent, and nothing older than the largest window. */
static __always_inline bool acknowledges_ours(struct tcp_sock *tp, const struct mps_packet *pkt)
{
	__u32 oldest = tp->snd_una, window = tp->max_window;
	__u64 acked = tp->bytes_acked;

	oldest -= acked < window ? (__u32)acked : window;
	return pkt->ack - oldest <= tp->snd_nxt - oldest;
}

/* tcp_disordered_ack(): a pure ACK overtaken by another one; the stack takes it although its timestamp is old. */
static __always_inline bool was_overtaken(struct tcp_sock *tp, const struct mps_packet *pkt, __u32 age)
{
	/* A window update is no such ACK; one that changes nothing else is rare enough to be passed over. */
	return !pkt->payload_len && !pkt->fin && age <= TCP_REPLAY_MIN && pkt->seq == tp->rcv_nxt &&
	       pkt->ack == tp->snd_una && !is_before(tp->snd_wl1, pkt->seq);
}

/* tcp_paws_check(), but for timestamps that are taken after the wrap of an idle connection's clock (24 days, 35 minutes). */
static __always_inline bool is_recent(struct tcp_sock *tp, const struct mps_packet *pkt)
{
	__u32 recent = tp->rx_opt.ts_recent, age = recent - pkt->tsval;

	/* Without timestamps in the connection `recent` stays 0; a packet without them is taken even so. */
	if (!pkt->has_tstamp || !recent || (__s32)age <= TCP_PAWS_WINDOW)
		return true;
	return was_overtaken(tp, pkt, age);
}

/* What tcp_validate_incoming() and tcp_ack() are going to say; a packet that is not believed is counted with its reason. */
static __noinline bool is_believed(struct tcp_sock *tp, const struct mps_packet *pkt,
				   struct mps_counters *counters)
{
	if (!is_in_window(tp, pkt))
		COUNT(counters, DOUBT_SEQ);
	else if (!acknowledges_ours(tp, pkt))
		COUNT(counters, DOUBT_ACK);
	else if (!is_recent(tp, pkt))
		COUNT(counters, DOUBT_TIME);
	else
		return true;
	return false;
}

/* Whether the MP_PRIO in this packet is what another program of ours wrote into it just before. */
static __noinline bool is_own_edit(const struct mps_conn *conn, const struct mps_packet *pkt, __u64 sk,
				   __u32 place)
{
	__u64 now_ns = bpf_ktime_get_ns();
	__u32 print = edit_print(packet_print(pkt->seq, pkt->ack, pkt->tsval), pkt->prio_off,
				 pkt->prio_backup, place);

	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++) {
		const struct mps_conn_subflow *mine = &conn->sf[i];

		if (mine->sk != sk)
			continue;
		if (now_ns - mine->flip_ns > OWN_EDIT_NS)
			return false;
		for (__u32 k = 0; k < MPS_EDITS_KEPT; k++) {
			__u32 differ = mine->edit[k] ^ print;

			if (differ && differ <= PLACE_MASK)
				return true;
		}
		return false;
	}
	return false;
}

#endif /* MPS_BELIEVE_BPF_H */
