/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Telling the ends of a connection that passes: MP_PRIO behind the options of a pure ACK of theirs, as peer_tell.bpf.h does it; where a
 * subflow is silent, in a packet that repeats what its end said last.
 *
 * Such a packet is made of the pure ACK at hand: it is rewritten, without a change of its length, cloned to where the silent subflow's packets
 * pass, and written back. So one program does it for both directions: what is for the end beyond the uplink leaves there, and what is for the other
 * one arrives there once more and is routed as its packets are. The clone bears a mark by which our programs leave it alone and take it off.
 *
 * The kernel takes a link-layer header off where the device has none. To put one before it is for a clone only, whose length may change: from a
 * device without link layer it first goes to the egress of that one, whose program does it and sends it on.
 */
#ifndef MPS_GATEWAY_TELL_BPF_H
#define MPS_GATEWAY_TELL_BPF_H

#include "gateway_maps.bpf.h"
#include "peer_tell.bpf.h"

/* Timestamps and MP_PRIO. */
#define NOTICE_OPTIONS 16
/* The longest TCP header, and as much as bpf_csum_diff() takes at once. */
#define NOTICE_TCP 60

struct gateway_headers {
	__u8 tcp[64];
	__be32 address[8]; /* source and destination; of IPv4 the first and the fifth word */
	__u8 mac[MPS_MACS_LEN];
	__be16 ip_check;
	__u16 pad;
};

struct gateway_notice {
	struct gateway_headers before, after;
	__u32 hop_from; /* a clone at the egress of this interface … */
	__u32 hop_to;   /* … is to get a link-layer header, and to go there */
	__u32 hop_flags;
	__u32 hopped;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct gateway_notice);
} mps_gw_notices SEC(".maps");

static __always_inline __u32 notice_tcp_len(const struct mps_packet *pkt)
{
	__u32 len = pkt->options_len - NOTICE_OPTIONS;

	barrier_var(len); /* see bounded() in option_rules.bpf.c */
	return (len & 28) + sizeof(struct tcphdr) + NOTICE_OPTIONS;
}

/* Can the packet lend its body? */
static __always_inline bool can_become_notice(const struct __sk_buff *skb, const struct mps_packet *pkt)
{
	return (!pkt->net_off || pkt->net_off == sizeof(struct ethhdr)) && !pkt->unusual && !pkt->nr_vlans &&
	       !skb->vlan_present && !pkt->payload_len && pkt->options_len >= NOTICE_OPTIONS &&
	       pkt->options_len <= TCP_OPTIONS_MAX &&
	       skb->len == pkt->tcp_off + sizeof(struct tcphdr) + pkt->options_len;
}

static __always_inline __u32 address_off(const struct mps_packet *pkt)
{
	return pkt->net_off +
	       (pkt->is_ipv6 ? offsetof(struct ipv6hdr, saddr) : offsetof(struct iphdr, saddr));
}

static __always_inline int load_addresses(struct __sk_buff *skb, const struct mps_packet *pkt,
					  struct gateway_headers *h)
{
	__u32 off = address_off(pkt);

	if (pkt->is_ipv6)
		return bpf_skb_load_bytes(skb, off, h->address, 32);
	return bpf_skb_load_bytes(skb, off, &h->address[0], 4) ||
	       bpf_skb_load_bytes(skb, off + 4, &h->address[4], 4) ||
	       bpf_skb_load_bytes(skb, pkt->net_off + offsetof(struct iphdr, check), &h->ip_check, 2);
}

static __always_inline int store_addresses(struct __sk_buff *skb, const struct mps_packet *pkt,
					   const struct gateway_headers *h)
{
	__u32 off = address_off(pkt);

	if (pkt->is_ipv6)
		return bpf_skb_store_bytes(skb, off, h->address, 32, BPF_F_INVALIDATE_HASH);
	return bpf_skb_store_bytes(skb, off, &h->address[0], 4, BPF_F_INVALIDATE_HASH) ||
	       bpf_skb_store_bytes(skb, off + 4, &h->address[4], 4, 0);
}

/* What the end at `side` of this subflow said last, once more and with MP_PRIO. */
static __always_inline void describe_forward(struct gateway_headers *h, const struct gateway_headers *lender,
					     const struct mps_gateway_key *key,
					     const struct mps_gateway_way *way, __u32 side, bool is_ipv6,
					     __u32 doff, __u32 backup)
{
	struct tcphdr *tcp = (struct tcphdr *)h->tcp;
	__be32 *option = (__be32 *)(h->tcp + sizeof(*tcp));

	__builtin_memset(h, 0, sizeof(*h));
	tcp->source = key->port[side & 1];
	tcp->dest = key->port[~side & 1];
	tcp->seq = bpf_htonl(way->next_seq);
	tcp->ack_seq = bpf_htonl(way->ack);
	tcp->doff = doff;
	tcp->ack = 1;
	tcp->window = bpf_htons(way->window);
	tcp->check = ((const struct tcphdr *)lender->tcp)->check;
	for (int i = 0; i < TCP_OPTIONS_MAX / 4; i++)
		option[i] = i + 5u < doff ? bpf_htonl(0x01010101) : 0;
	if (way->has_tstamp) {
		option[0] = TCPOPT_ALIGNED_TIMESTAMP;
		option[1] = bpf_htonl(way->tsval);
		option[2] = bpf_htonl(way->tsecr);
	}
	option[3] = prio_option(backup);
	for (int i = 0; i < 4; i++) {
		h->address[i] = is_ipv6 ? key->address[side & 1][i] : 0;
		h->address[4 + i] = is_ipv6 ? key->address[~side & 1][i] : 0;
	}
	if (!is_ipv6) {
		h->address[0] = key->address[side & 1][3];
		h->address[4] = key->address[~side & 1][3];
	}
	__builtin_memcpy(h->mac, way->mac, sizeof(h->mac));
}

/* Returns 0 if all of it is written. */
static __always_inline int write_forward(struct __sk_buff *skb, const struct mps_packet *pkt,
					 struct gateway_notice *n)
{
	__u32 check = pkt->tcp_off + offsetof(struct tcphdr, check);
	__s64 header, pseudo;

	header = bpf_csum_diff((__be32 *)n->before.tcp, NOTICE_TCP, (__be32 *)n->after.tcp, NOTICE_TCP, 0);
	pseudo = bpf_csum_diff(n->before.address, sizeof(n->before.address), n->after.address,
			       sizeof(n->after.address), 0);
	if (header < 0 || pseudo < 0 ||
	    bpf_skb_store_bytes(skb, pkt->tcp_off, n->after.tcp, notice_tcp_len(pkt), 0) ||
	    store_addresses(skb, pkt, &n->after) || bpf_l4_csum_replace(skb, check, 0, header, 0) ||
	    bpf_l4_csum_replace(skb, check, 0, pseudo, BPF_F_PSEUDO_HDR))
		return -1;
	if (!pkt->is_ipv6 &&
	    bpf_l3_csum_replace(skb, pkt->net_off + offsetof(struct iphdr, check), 0, pseudo, 0))
		return -1;
	return pkt->net_off ? bpf_skb_store_bytes(skb, 0, n->after.mac, MPS_MACS_LEN, 0) : 0;
}

static __always_inline int write_back(struct __sk_buff *skb, const struct mps_packet *pkt,
				      struct gateway_notice *n)
{
	if (bpf_skb_store_bytes(skb, pkt->tcp_off, n->before.tcp, notice_tcp_len(pkt), 0) ||
	    store_addresses(skb, pkt, &n->before) ||
	    (pkt->net_off && bpf_skb_store_bytes(skb, 0, n->before.mac, MPS_MACS_LEN, 0)))
		return -1;
	return pkt->is_ipv6 ? 0
			    : bpf_skb_store_bytes(skb, pkt->net_off + offsetof(struct iphdr, check),
						  &n->before.ip_check, 2, 0);
}

/* Sends what is written to where packets of the subflow pass. Returns 1 if it went. */
static __always_inline int send_forward(struct __sk_buff *skb, const struct gateway_work *w,
					struct gateway_notice *n, const struct mps_gateway_flow *flow,
					__u32 flags)
{
	__u32 hops = !w->pkt.net_off && !flow->l3;
	int sent;

	n->hop_from = w->ifindex;
	n->hop_to = hops ? flow->ifindex : 0;
	n->hop_flags = flags;
	n->hopped = 0;
	skb->mark = mps_wake_magic;
	sent = !bpf_clone_redirect(skb, hops ? w->ifindex : flow->ifindex, hops ? 0 : flags);
	skb->mark = w->mark;
	n->hop_to = 0;
	return sent && (!hops || n->hopped);
}

/* One of our clones at the egress of a device without link layer. */
static __always_inline int hop_on(struct __sk_buff *skb)
{
	__be16 proto = skb->protocol;
	struct gateway_notice *n;
	__u32 zero = 0, to;

	n = bpf_map_lookup_elem(&mps_gw_notices, &zero);
	if (!n || !n->hop_to || n->hop_from != skb->ifindex)
		return TC_ACT_UNSPEC;
	to = n->hop_to;
	n->hop_to = 0;
	if (bpf_skb_change_head(skb, sizeof(struct ethhdr), 0) ||
	    bpf_skb_store_bytes(skb, 0, n->after.mac, MPS_MACS_LEN, 0) ||
	    bpf_skb_store_bytes(skb, offsetof(struct ethhdr, h_proto), &proto, sizeof(proto), 0))
		return TC_ACT_SHOT;
	skb->mark = mps_wake_magic;
	n->hopped = 1;
	return bpf_redirect(to, n->hop_flags);
}

/*
 * Says for the end that receives on subflow[index] of a connection what that one wishes of it: `what` is its B bit, and 2 more if that end began the
 * connection. The packet at hand lends its body. Returns 1 if it was sent, 0 if not, and a negative number if the packet at hand could not be
 * written back, and must not go on.
 */
__noinline int mps_gw_notice(struct __sk_buff *skb, __u32 token, __u32 index, __u32 what)
{
	struct mps_gateway_conn *conn = bpf_map_lookup_elem(&mps_gw_conns, &token);
	struct gateway_work *w = get_work();
	struct mps_gateway_flow *flow;
	struct mps_gateway_key *key;
	struct gateway_notice *n;
	__u32 zero = 0, side;
	int sent = 0;

	n = bpf_map_lookup_elem(&mps_gw_notices, &zero);
	if (!conn || !w || !n || !can_become_notice(skb, &w->pkt))
		return 0;
	key = &conn->subflow[index & (MPS_SUBFLOW_ROWS - 1)];
	flow = bpf_map_lookup_elem(&mps_gw_flows, key);
	if (!flow)
		return 0;
	side = what & 2 ? flow->initiator : 1 - flow->initiator;
	side &= 1;
	if ((!flow->l3 && !flow->way[side].has_mac) || !flow->way[side].window ||
	    !w->pkt.is_ipv6 != (key->address[0][2] == bpf_htonl(0xffff) && !key->address[0][0]))
		return 0;
	__builtin_memset(&n->before, 0, sizeof(n->before));
	if (bpf_skb_load_bytes(skb, w->pkt.tcp_off, n->before.tcp, notice_tcp_len(&w->pkt)) ||
	    load_addresses(skb, &w->pkt, &n->before) ||
	    (w->pkt.net_off && bpf_skb_load_bytes(skb, 0, n->before.mac, MPS_MACS_LEN)))
		return 0;
	describe_forward(&n->after, &n->before, key, &flow->way[side], side, w->pkt.is_ipv6,
			 (sizeof(struct tcphdr) + w->pkt.options_len) / 4, what & 1);
	if (!write_forward(skb, &w->pkt, n))
		sent = send_forward(skb, w, n, flow, flow->out == side ? 0 : BPF_F_INGRESS);
	return write_back(skb, &w->pkt, n) ? -1 : sent;
}

#endif /* MPS_GATEWAY_TELL_BPF_H */
