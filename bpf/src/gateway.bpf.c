// SPDX-License-Identifier: GPL-2.0-only
/*
 * `attach --role gateway`: connections of other hosts whose packets pass here, on a box in the middle that has no socket of them. These programs are
 * not part of the data path of hosts, are loaded only where an interface has this role, and stand at TC ingress and egress of it. They know from
 * packets alone which connections there are (gateway_track.bpf.h) and what passes on each subflow (gateway_stats.bpf.h).
 *
 * A packet that is not MPTCP leaves after a handful of loads, one of a connection that is not known after one lookup.
 */
/* Stations that are shared with the data path have functions which hosts alone need. */
#pragma clang diagnostic ignored "-Wunused-function"
#include "entry.bpf.h"
#include "departure.bpf.h"
#include "gateway_track.bpf.h"
#include "gateway_stats.bpf.h"
#include "gateway_meter.bpf.h"
#include "gateway_decide.bpf.h"
#include <linux/pkt_cls.h>

char mps_license[] SEC("license") = "GPL";

/* Whose programs these are, for whoever finds them without their pins. */
const volatile __u64 mps_netns_cookie = 0;

/* The parser stops at what is no packet of an established subflow, but has found TCP by then: what has it there? */
enum gateway_kind {
	GATEWAY_OTHER,
	GATEWAY_SYN,
	GATEWAY_SYNACK,
	GATEWAY_RST,
};

/* A RST has no options mostly, so it would pass for a packet without MPTCP; only over the usual headers. */
static __always_inline bool may_be_reset(void *data, void *data_end, bool l3)
{
	__u8 *ip = data + (l3 ? 0 : sizeof(struct ethhdr)), *tcp;

	if ((void *)(ip + 40 + 20) > data_end) {
		if ((void *)(ip + 20 + 20) > data_end)
			return false;
		return ip[0] == 0x45 && ip[20 + 13] & 4;
	}
	tcp = ip[0] == 0x45 ? ip + 20 : ip + 40;
	return tcp[13] & 4;
}

static __always_inline enum gateway_kind read_kind(struct __sk_buff *skb, struct gateway_work *w)
{
	struct tcphdr tcp;

	if (bpf_skb_load_bytes(skb, w->pkt.tcp_off, &tcp, sizeof(tcp)))
		return GATEWAY_OTHER;
	w->pkt.seq = bpf_ntohl(tcp.seq);
	w->pkt.ack = bpf_ntohl(tcp.ack_seq);
	w->pkt.options_len = tcp.doff * 4 - sizeof(tcp);
	if (tcp.rst)
		return GATEWAY_RST;
	return !tcp.syn ? GATEWAY_OTHER : tcp.ack ? GATEWAY_SYNACK : GATEWAY_SYN;
}

/* A packet of a handshake, or a RST. */
__noinline int mps_gw_unusual(struct __sk_buff *skb)
{
	struct gateway_work *w = get_work();
	struct mps_gateway_flow *flow;
	enum gateway_kind kind;
	__u32 side;
	int len;

	if (!w)
		return 0;
	kind = read_kind(skb, w);
	if (kind == GATEWAY_OTHER || mps_gw_read_key(skb))
		return 0;
	side = w->side & 1;
	if (kind == GATEWAY_RST) {
		flow = bpf_map_lookup_elem(&mps_gw_flows, &w->key);
		/* Only one that its receiver takes for sure (RFC 5961 section 3.2). */
		if (flow &&
		    (w->pkt.seq == flow->way[side].next_seq || w->pkt.seq == flow->way[~side & 1].ack))
			mps_gw_end_flow(flow->conn, flow->index, 0);
		return 0;
	}
	len = find_handshake_option(skb, w, w->pkt.options_len);
	if (!len)
		return 0;
	return kind == GATEWAY_SYN ? mps_gw_syn(len) : mps_gw_synack(len);
}

/* An end has begun anew with the ports of a subflow that we did not see end. */
__noinline int mps_gw_begin_anew(struct __sk_buff *skb)
{
	struct mps_counters *counters = get_counters();
	struct gateway_work *w = get_work();
	struct mps_gateway_flow *flow;
	struct gateway_half *half;
	__u32 side;

	if (!w || !counters)
		return 0;
	COUNT(counters, GW_DOUBT);
	half = bpf_map_lookup_elem(&mps_gw_half, &w->key);
	flow = bpf_map_lookup_elem(&mps_gw_flows, &w->key);
	if (!half || !flow || !half->answered || half->side != (w->side & 1))
		return 0;
	side = bounded_side(w->side);
	if (w->pkt.seq != half->isn[side] + 1 || w->pkt.ack != half->isn[1 - side] + 1)
		return 0;
	mps_gw_end_flow(flow->conn, flow->index, 1);
	return mps_gw_third(skb);
}

static __always_inline void note_pure_ack(struct __sk_buff *skb, struct mps_gateway_way *way,
					  const struct mps_packet *pkt, __u64 now_ns)
{
	void *data = (void *)(long)skb->data, *data_end = (void *)(long)skb->data_end;
	__u32 *mac = (__u32 *)way->mac, *frame = data;
	struct tcphdr *tcp;

	way->ack_ns = now_ns;
	way->has_mac = 0;
	if (pkt->net_off == sizeof(struct ethhdr) && data + MPS_MACS_LEN <= data_end) {
		mac[0] = frame[0];
		mac[1] = frame[1];
		mac[2] = frame[2];
		way->has_mac = !pkt->nr_vlans && !skb->vlan_present;
	}
	tcp = data + (pkt->tcp_off & 255);
	if ((void *)(tcp + 1) <= data_end)
		way->window = bpf_ntohs(tcp->window);
}

/* What a packet that is believed tells of the way that it goes. Returns how many octets of contents are new. */
static __always_inline __u32 note_forward(struct __sk_buff *skb, struct mps_gateway_way *way,
					  struct mps_gateway_way *back, const struct mps_packet *pkt,
					  __u64 now_ns, bool arrives)
{
	__u32 tsecr, fresh;

	note_waiting(way, back, pkt, now_ns);
	fresh = count_contents(way, pkt);
	if (pkt->has_tstamp) {
		tsecr = echoed_timestamp(pkt, (void *)(long)skb->data, (void *)(long)skb->data_end);
		if (tsecr)
			measure_forward(way, back, pkt, tsecr, arrives);
		if (arrives)
			mps_gw_note_arrival(way, pkt->tsval);
		if (!way->has_tstamp || (__s32)(pkt->tsval - way->tsval) > 0)
			way->tsval = pkt->tsval;
		way->tsecr = tsecr;
		way->has_tstamp = 1;
	}
	if ((__s32)(pkt->ack - way->ack) > 0)
		way->ack = pkt->ack;
	way->last_ns = now_ns;
	way->seen = 1;
	if (pkt->has_prio)
		way->backup = pkt->prio_backup;
	return fresh;
}

/* The subflow of an MPTCP packet that is no part of a handshake, or that completes one. */
static __always_inline struct mps_gateway_flow *find_subflow_of(struct __sk_buff *skb, struct gateway_work *w)
{
	struct mps_gateway_flow *flow = bpf_map_lookup_elem(&mps_gw_flows, &w->key);

	if (flow || !mps_gw_third(skb))
		return flow;
	/* Its own numbers, in case that nothing else follows for long. */
	return bpf_map_lookup_elem(&mps_gw_flows, &w->key);
}

static __always_inline int handle_forward(struct __sk_buff *skb, bool l3, __u32 out)
{
	void *data = (void *)(long)skb->data, *data_end = (void *)(long)skb->data_end;
	struct mps_gateway_way *way, *back;
	struct mps_gateway_flow *flow;
	struct gateway_work *w;
	struct mps_packet *pkt;
	__u32 fresh;
	int parsed;

	/* Our own (gateway_tell.bpf.h): it goes where packets of its subflow go. */
	if (skb->mark == mps_wake_magic) {
		skb->mark = 0;
		return l3 && out ? hop_on(skb) : TC_ACT_UNSPEC;
	}
	if (has_no_mptcp(data, data_end, l3) && !may_be_reset(data, data_end, l3))
		return TC_ACT_UNSPEC;
	w = get_work();
	if (!w)
		return TC_ACT_UNSPEC;
	pkt = &w->pkt;
	__builtin_memset(pkt, 0, sizeof(*pkt));
	w->out = out;
	w->ifindex = skb->ifindex;
	w->mark = skb->mark;
	parsed = out ? mps_parse_out(skb, pkt, l3) : mps_parse_tc(skb, pkt, l3);
	if (parsed == PARSE_MALFORMED || !pkt->tcp_off)
		return TC_ACT_UNSPEC;
	w->now_ns = bpf_ktime_get_coarse_ns();
	if (parsed != PARSE_MPTCP) {
		mps_gw_unusual(skb);
		return TC_ACT_UNSPEC;
	}
	flow = mps_gw_read_key(skb) ? NULL : find_subflow_of(skb, w);
	/* Or it is seen at the other interface as well. */
	if (!flow || flow->ifindex != skb->ifindex)
		return TC_ACT_UNSPEC;
	way = &flow->way[w->side & 1];
	back = &flow->way[~w->side & 1];
	if (!forward_is_believed(way, back, pkt, w->now_ns)) {
		mps_gw_begin_anew(skb);
		return TC_ACT_UNSPEC;
	}
	fresh = note_forward(skb, way, back, pkt, w->now_ns, !out && flow->grouped);
	if (fresh && flow->grouped)
		note_order(skb, flow, way, pkt, w->side ^ flow->initiator, fresh);
	note_uplink(flow, pkt, w->now_ns, out);
	meter_forward(skb, flow, pkt, is_pure_ack(pkt) || pkt->fin);
	if (is_pure_ack(pkt)) {
		note_pure_ack(skb, way, pkt, w->now_ns);
		if (flow->grouped && mps_gw_steer(skb) < 0)
			return TC_ACT_SHOT; /* what could not be written back must go nowhere */
	}
	if (pkt->fin) {
		way->fin = 1;
		if (back->fin)
			mps_gw_end_flow(flow->conn, flow->index, 1);
	}
	return TC_ACT_UNSPEC;
}

SEC("tc") int mps_gin_eth(struct __sk_buff *skb)
{
	return handle_forward(skb, false, 0);
}

SEC("tc") int mps_gin_l3(struct __sk_buff *skb)
{
	return handle_forward(skb, true, 0);
}

SEC("tc") int mps_gout_eth(struct __sk_buff *skb)
{
	return handle_forward(skb, false, 1);
}

SEC("tc") int mps_gout_l3(struct __sk_buff *skb)
{
	return handle_forward(skb, true, 1);
}

static __always_inline void take_lender(struct __sk_buff *skb, struct gateway_work *w)
{
	__builtin_memset(&w->pkt, 0, sizeof(w->pkt));
	w->mark = 0;
	w->ifindex = skb->ifindex;
	mps_parse_out(skb, &w->pkt, 0);
}

/* Global for the sake of 6.1, which would walk all of it for each way through a loop. `what`: the index, and 16 more if the host began the
 * connection. Returns 1 if that was sent. */
__noinline int mps_gw_restore(struct __sk_buff *skb, struct mps_peer *peer, __u32 conn, __u32 what)
{
	__u32 i = what & (MPS_SUBFLOW_ROWS - 1), backup;
	struct mps_counters *counters = get_counters();

	if (!peer || !counters)
		return 0;
	backup = is_set(peer->conn.sf[i].peer_backup);
	if (mps_gw_notice(skb, conn, i, (what >> 4 & 1) << 1 | backup) <= 0)
		return 0;
	count_told(counters, &peer->sf[i], backup);
	COUNT(counters, TOLD_ALONE);
	note_told(peer, i, bpf_ktime_get_ns(), backup);
	return 1;
}

/*
 * Run by commands, with the token of a receiving host in cb[0] and a mask of its subflows in cb[1]: the other host gets to know again what that
 * one itself says of them, although no packet passes. Returns the mask of those of which that was sent.
 */
SEC("tc") int mps_gw_back(struct __sk_buff *skb)
{
	__u32 token = skb->cb[0], todo = skb->cb[1], done = 0, conn, began;
	struct mps_peer *peer = bpf_map_lookup_elem(&mps_gw_peers, &token);
	struct mps_gateway_token *named = bpf_map_lookup_elem(&mps_gw_tokens, &token);
	struct gateway_work *w = get_work();

	if (!peer || !named || !w)
		return 0;
	conn = named->conn;
	began = 1 - is_set(named->responder);
	take_lender(skb, w);
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++)
		if (todo >> i & 1)
			done |= (mps_gw_restore(skb, peer, conn, i | began << 4) & 1) << i;
	return done;
}

/*
 * Run by who follows: a decision for the host with the token in cb[0], although no packet passes. Returns the mask of subflows of which is to be
 * told something still.
 */
SEC("tc") int mps_gw_look(struct __sk_buff *skb)
{
	struct gateway_work *w = get_work();
	__u32 token = skb->cb[0];

	if (!w)
		return 0;
	take_lender(skb, w);
	return mps_gw_look_at(skb, token);
}

/* For tests of mps_key_token(): the key is in cb[0] and cb[1], the more significant half first. */
SEC("tc") int mps_gw_token(struct __sk_buff *skb)
{
	skb->cb[2] = mps_key_token((__u64)skb->cb[0] << 32 | skb->cb[1]);
	return 0;
}
