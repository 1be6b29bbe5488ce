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

/*
 * Our own edits. While an interface changes between XDP and TC both programs are there, and what the first has written must
 * not be the peer's wish for the second; it stayed on the subflow for good, also behind a detach. Nothing in the
 * packet can tell, since whatever we write the peer can write too. So beside the subflow stay the fingerprints of its last
 * edits and wakes: which packet, which place in it, what was written, and by the program of which interface and hook. What
 * has been written by the very program that meets it now is another packet, the peer's: none meets a packet twice.
 */
#define OWN_EDIT_NS (250 * 1000 * 1000ull)
#define PLACE_MASK 0xff

/* Where a program runs, as far as eight bits can tell. */
static __always_inline __u32 place_of(__u32 ifindex, bool xdp)
{
	return (ifindex << 1 | xdp) & PLACE_MASK;
}

static __always_inline __u32 packet_print(__u32 seq, __u32 ack, __u32 tsval)
{
	__u64 mixed = (((__u64)seq << 32 | ack) ^ (__u64)tsval << 16) * 0x9e3779b97f4a7c15ull;

	return mixed >> 32;
}

/* `where`: of the option, as in mps_packet.prio_off. */
static __always_inline __u32 edit_print(__u32 packet, __u32 where, __u32 backup, __u32 place)
{
	return (((packet ^ (where << 1 | backup)) * 0x9e3779b1u) & ~PLACE_MASK) | place;
}

static __always_inline void remember_edit(struct mps_conn_subflow *mine, __u32 print)
{
	mine->edit[mine->next_edit++ & (MPS_EDITS_KEPT - 1)] = print;
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
