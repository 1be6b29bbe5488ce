/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Telling the peer: MP_PRIO behind the options of a pure ACK that leaves, or in a packet of its own where a subflow has none to
 * send.
 *
 * Data packets of Linux fill all of the option space, pure ACKs never do. Four octets behind all options need no move of what is there; the
 * helper that grows the packet leaves its headers where they are. TCP's checksum covers the length as part of the pseudo header, so that
 * is corrected too, also where the device is to make the sum: then the field holds that of the pseudo header, and the
 * helpers know which of the two it is. (TCP-MD5 and TCP-AO sign the options; Linux has neither on MPTCP subflows.)
 *
 * A packet of its own is a clone of the ACK at hand, sent to the interface of the silent subflow, whose program there turns it into an ACK of
 * that subflow that says nothing new: timestamps and MP_PRIO, no DSS. Both programs run on this CPU, one inside of the other.
 */
#ifndef MPS_PEER_TELL_BPF_H
#define MPS_PEER_TELL_BPF_H

#include "maps.bpf.h"
#include "parse.bpf.h"
#include "peer.bpf.h"
#include "plan.bpf.h"
#include "edit.bpf.h"
#include "wake.bpf.h"
#include "checksum.bpf.h"

/* A longer packet would have to be copied to be cut. */
#define LENDER_MOST 1600

/* A subflow whose last ACK left longer ago than that has none to send. */
#define TELL_SILENT_NS (5 * 1000 * 1000ull)

enum mps_notice_state {
	NOTICE_NONE,
	NOTICE_UNDER_WAY, /* the clone is about to arrive at the egress of notice.ifindex */
	NOTICE_WRITTEN,
	NOTICE_FAILED,
};

/* A packet of its own. The description is that of a wake, the other way round: saddr, sport and the first address of `mac` … are this host's. */
struct mps_notice {
	struct mps_wake w;
	__u32 state; /* enum mps_notice_state */
	__u32 pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct mps_notice);
} mps_notices SEC(".maps");

static __always_inline struct mps_notice *get_notice(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&mps_notices, &zero);
}

static __always_inline __be32 prio_option(__u32 backup)
{
	return bpf_htonl(TCPOPT_MPTCP << 24 | MPTCP_LEN_prio << 16 |
			 (MPTCP_SUB_MP_PRIO << 4 | (backup & 1)) << 8 | TCPOPT_NOP);
}

/* Links of IPv4 and of IPv6 carry packets of that length (RFC 791, RFC 8200). */
#define IPV4_LEAST_MTU 68
#define IPV6_LEAST_MTU 1280

/* The IP header of a packet that was `ip_len` long and has grown. What stands there is read without a call and written by one. */
static __always_inline int grow_ip(struct __sk_buff *skb, const struct mps_packet *pkt, __u32 ip_len)
{
	__u32 net_off = pkt->net_off;
	__be16 *ip, head[5]; /* tot_len … check */

	if (pkt->is_ipv6) {
		head[0] = bpf_htons(ip_len + INSERT_BYTES - sizeof(struct ipv6hdr));
		return bpf_skb_store_bytes(skb, net_off + offsetof(struct ipv6hdr, payload_len), head, 2, 0);
	}
	ip = (void *)(long)skb->data + (net_off & 63);
	if ((void *)(ip + sizeof(struct iphdr) / 2) > (void *)(long)skb->data_end)
		return -1;
	head[0] = bpf_htons(ip_len + INSERT_BYTES);
	head[1] = ip[2];
	head[2] = ip[3];
	head[3] = ip[4];
	head[4] = patch_csum(ip[5], ip[1], head[0]);
	return bpf_skb_store_bytes(skb, net_off + offsetof(struct iphdr, tot_len), head, sizeof(head), 0);
}

/* The TCP header that was `header_len` long and has `option` behind it now. */
static __always_inline int grow_tcp(struct __sk_buff *skb, const struct mps_packet *pkt, __u32 header_len,
				    __be32 option)
{
	__u32 tcp_off = pkt->tcp_off, sum_off = tcp_off + offsetof(struct tcphdr, check);
	__be16 *tcp = (void *)(long)skb->data + (tcp_off & 255), before, after;
	__u64 difference;

	if ((void *)(tcp + TCP_LEN_AND_FLAGS / 2 + 1) > (void *)(long)skb->data_end)
		return -1;
	before = tcp[TCP_LEN_AND_FLAGS / 2];
	after = bpf_htons(bpf_ntohs(before) + 0x1000); /* the data offset, in words */
	if (bpf_skb_store_bytes(skb, tcp_off + header_len, &option, sizeof(option), 0) ||
	    bpf_skb_store_bytes(skb, tcp_off + TCP_LEN_AND_FLAGS, &after, sizeof(after), 0))
		return -1;
	difference = (__u64)option + after + (__u16)~before;
	difference = (difference & 0xffffffff) + (difference >> 32);
	bpf_l4_csum_replace(skb, sum_off, 0, difference, 0);
	bpf_l4_csum_replace(skb, sum_off, bpf_htons(header_len), bpf_htons(header_len + INSERT_BYTES),
			    2 | BPF_F_PSEUDO_HDR);
	return 0;
}

/* Returns enum mps_edit_result. */
__noinline int mps_append_prio(struct __sk_buff *skb, const struct mps_packet *pkt, __u32 backup)
{
	__u32 tcp_off, net_off, header_len, ip_len, mtu = 0;

	if (!pkt)
		return EDIT_FAILED;
	tcp_off = pkt->tcp_off;
	net_off = pkt->net_off;
	header_len = sizeof(struct tcphdr) + pkt->options_len;
	if (tcp_off > HEADERS_MAX || net_off > 32 || header_len > 60)
		return EDIT_FAILED;
	if (header_len > 60 - INSERT_BYTES)
		return EDIT_NO_ROOM;
	ip_len = tcp_off - net_off + header_len;
	/* Nothing but the packet: no padding behind it. */
	if (skb->len != net_off + ip_len)
		return EDIT_FAILED;
	if (ip_len + INSERT_BYTES > (pkt->is_ipv6 ? IPV6_LEAST_MTU : IPV4_LEAST_MTU) &&
	    bpf_check_mtu(skb, 0, &mtu, INSERT_BYTES, 0))
		return EDIT_MTU;
	if (bpf_skb_change_tail(skb, net_off + ip_len + INSERT_BYTES, 0) || grow_ip(skb, pkt, ip_len) ||
	    grow_tcp(skb, pkt, header_len, prio_option(backup)))
		return EDIT_FAILED;
	return EDIT_DONE;
}

/* What was told, or was seen to be told by the kernel itself. */
static __always_inline void note_told(struct mps_peer *peer, __u32 index, __u64 now_ns, __u32 backup)
{
	struct mps_peer_subflow *told = &peer->sf[index & (MPS_SUBFLOW_ROWS - 1)];
	struct mps_conn_subflow *mine = &peer->conn.sf[index & (MPS_SUBFLOW_ROWS - 1)];
	__u32 bit = 1u << (index & (MPS_SUBFLOW_ROWS - 1)), now = backup ? MPS_TOLD_BACKUP : MPS_TOLD_ACTIVE;

	mine->flip_ns = now_ns;
	mine->flip_value = backup;
	peer->pending &= ~bit;
	if (told->told == now)
		return;
	told->told = now;
	told->tries = 0;
	told->looks = 0;
	told->given_up = 0;
	if (backup == mine->peer_backup) {
		peer->told &= ~bit;
		told->check_ns = now_ns + PEER_BACK_NS;
	} else {
		peer->told |= bit;
		told->check_ns = now_ns + PEER_DRAIN_NS;
	}
	peer->checks |= bit;
}

static __always_inline void count_told(struct mps_counters *counters, const struct mps_peer_subflow *told,
				       __u32 backup)
{
	COUNT(counters, TOLD);
	if (backup)
		COUNT(counters, TOLD_BACKUP);
	if (told->told == (backup ? MPS_TOLD_BACKUP : MPS_TOLD_ACTIVE))
		COUNT(counters, TOLD_AGAIN);
}

/* What became of the edit of the packet at hand, which is subflow `index`'s. */
__noinline int mps_account_append(struct mps_peer *peer, struct mps_counters *counters, __u32 index,
				  __u64 now_ns, __u32 result_and_backup)
{
	__u32 result = result_and_backup >> 1, backup = result_and_backup & 1;

	if (!peer || !counters)
		return 0;
	index &= MPS_SUBFLOW_ROWS - 1;
	if (result == EDIT_DONE) {
		count_told(counters, &peer->sf[index], backup);
		note_told(peer, index, now_ns, backup);
	} else if (result == EDIT_NO_ROOM || result == EDIT_MTU) {
		COUNT(counters, TELL_NO_ROOM);
	} else {
		COUNT(counters, TELL_FAILED);
	}
	return 0;
}

/*
 * The timestamp that the kernel would write now without reading its clock (__tcp_transmit_skb(), net/ipv4/tcp_output.c): never older than
 * what it wrote last, and never newer than what it writes next, which the peer would drop for that (PAWS).
 */
static __always_inline __u32 own_tsval(const struct tcp_sock *tp)
{
	__u64 sent_ns = 0, clock_ns = 0;
	__u32 offset = 0;

	bpf_core_read(&sent_ns, sizeof(sent_ns), &tp->tcp_wstamp_ns);
	bpf_core_read(&clock_ns, sizeof(clock_ns), &tp->tcp_clock_cache);
	bpf_core_read(&offset, sizeof(offset), &tp->tsoffset);
	if (sent_ns < clock_ns)
		sent_ns = clock_ns;
	if (bpf_core_field_exists(tp->tcp_usec_ts) && READ_BITS(tp, tcp_usec_ts, false))
		return (__u32)(sent_ns / 1000) + offset;
	return (__u32)(sent_ns / 1000000) + offset;
}

/* An ACK of the subflow that repeats what it said last: sequence number, right edge of the window. */
__noinline int mps_describe_notice(struct mps_wake *w, const struct mps_conn_subflow *mine, __u32 backup)
{
	__u32 rcv_wup = 0, rcv_wnd = 0, wscale;
	struct tcp_sock *tp;
	struct sock *sk;
	__u16 family = 0, num = 0;

	if (!w || !mine)
		return 0;
	tp = (struct tcp_sock *)mine->sk;
	sk = (struct sock *)mine->sk;
	bpf_core_read(&family, sizeof(family), &sk->__sk_common.skc_family);
	w->is_ipv6 = 0;
	if (family == AF_INET6) {
		struct in6_addr a;

		bpf_core_read(&a, sizeof(a), &sk->__sk_common.skc_v6_daddr);
		w->is_ipv6 =
			!(a.s6_addr32[0] == 0 && a.s6_addr32[1] == 0 && a.s6_addr32[2] == bpf_htonl(0xffff));
	}
	if (w->is_ipv6) {
		bpf_core_read(&w->saddr, sizeof(w->saddr), &sk->__sk_common.skc_v6_rcv_saddr);
		bpf_core_read(&w->daddr, sizeof(w->daddr), &sk->__sk_common.skc_v6_daddr);
	} else {
		bpf_core_read(&w->saddr[0], sizeof(__be32), &sk->__sk_common.skc_rcv_saddr);
		bpf_core_read(&w->daddr[0], sizeof(__be32), &sk->__sk_common.skc_daddr);
	}
	bpf_core_read(&num, sizeof(num), &sk->__sk_common.skc_num);
	w->sport = bpf_htons(num);
	bpf_core_read(&w->dport, sizeof(w->dport), &sk->__sk_common.skc_dport);
	bpf_core_read(&w->seq, sizeof(w->seq), &tp->snd_nxt);
	bpf_core_read(&w->ack, sizeof(w->ack), &tp->rcv_nxt);
	bpf_core_read(&w->tsecr, sizeof(w->tsecr), &tp->rx_opt.ts_recent);
	w->tsval = own_tsval(tp);
	w->has_tstamp = READ_BITS(tp, rx_opt.tstamp_ok, false);
	bpf_core_read(&rcv_wup, sizeof(rcv_wup), &tp->rcv_wup);
	bpf_core_read(&rcv_wnd, sizeof(rcv_wnd), &tp->rcv_wnd);
	rcv_wnd = (__s32)(rcv_wup + rcv_wnd - w->ack) > 0 ? rcv_wup + rcv_wnd - w->ack : 0;
	wscale = READ_BITS(tp, rx_opt.rcv_wscale, false) & 15;
	rcv_wnd >>= wscale;
	w->window = rcv_wnd > 0xffff ? 0xffff : rcv_wnd;
	w->backup = backup;
	w->ifindex = mine->ifindex;
	w->nr_vlans = mine->nr_vlans;
	for (int i = 0; i < MPS_MAX_VLANS; i++) {
		w->vlan_tci[i] = mine->vlan_tci[i];
		w->vlan_proto[i] = mine->vlan_proto[i];
	}
	return 1;
}

/* Sends a packet of its own on sf[index]; `skb` lends its body. Returns 1 if it left. */
__noinline int mps_send_notice(struct __sk_buff *skb, struct mps_peer *peer, struct mps_counters *counters,
			       __u32 index_and_backup)
{
	__u32 index = index_and_backup >> 1 & (MPS_SUBFLOW_ROWS - 1), backup = index_and_backup & 1, key;
	struct mps_notice *n = get_notice();
	struct mps_conn_subflow *mine;
	struct mps_path *path;
	__u64 now_ns;

	if (!peer || !counters || !n)
		return 0;
	mine = &peer->conn.sf[index];
	key = mine->path & (MPS_MAX_PATHS - 1);
	path = bpf_map_lookup_elem(&mps_paths, &key);
	if (!path || !(path->flags & MPS_PATH_ATTACHED) || !mps_describe_notice(&n->w, mine, backup))
		return 0;
	n->w.l3 = is_set(path->flags & MPS_PATH_L3);
	if (!n->w.l3 && !mine->has_mac) {
		COUNT(counters, TELL_UNREACHABLE);
		return 0;
	}
	__builtin_memcpy(n->w.mac, mine->mac, sizeof(n->w.mac));
	n->state = NOTICE_UNDER_WAY;
	if (bpf_clone_redirect(skb, n->w.ifindex, 0) || n->state != NOTICE_WRITTEN) {
		n->state = NOTICE_NONE;
		COUNT(counters, TELL_FAILED);
		return 0;
	}
	n->state = NOTICE_NONE;
	now_ns = bpf_ktime_get_ns();
	count_told(counters, &peer->sf[index], backup);
	COUNT(counters, TOLD_ALONE);
	note_told(peer, index, now_ns, backup);
	return 1;
}

/* The subflows that are to be told something and have no packet to do it with. */
__noinline int mps_send_notices(struct __sk_buff *skb, struct mps_peer *peer, struct mps_counters *counters,
				const struct mps_config *config, struct mps_pass *p)
{
	__u32 todo;

	if (!peer || !counters || !config || !p)
		return 0;
	todo = peer->pending;
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS && todo >> i; i++) {
		struct mps_conn_subflow *mine = &peer->conn.sf[i];

		if (!(todo >> i & 1) || !mine->sk)
			continue;
		if (mine->seen_ns && p->now_ns - mine->seen_ns < TELL_SILENT_NS)
			continue;
		if (p->now_ns - mine->flip_ns < (__u64)config->dwell_us * 1000 + TELL_SILENT_NS)
			continue;
		mps_send_notice(skb, peer, counters, i << 1 | (peer->want >> i & 1));
	}
	return 0;
}

/*
 * May a clone of this packet become a notice? Its headers have the usual length. What it carries is cut off, which changes a complete
 * checksum by what nobody has summed up; where the device is to complete it, as everywhere but below some stacked devices, the field holds
 * the sum of the pseudo header alone, which is told by computing it.
 */
__noinline int mps_can_lend(struct __sk_buff *skb, const struct mps_packet *pkt, __u32 l3)
{
	__be32 word[9] = {};
	__u16 check = 0;
	__u32 tcp_off;

	if (!pkt || pkt->unusual || pkt->net_off != (l3 ? 0 : sizeof(struct ethhdr)) ||
	    skb->len > LENDER_MOST || skb->gso_segs > 1)
		return 0;
	if (!pkt->payload_len)
		return 1;
	tcp_off = pkt->tcp_off;
	if (pkt->is_ipv6) {
		if (bpf_skb_load_bytes(skb, tcp_off - 32, word, 32))
			return 0;
	} else if (bpf_skb_load_bytes(skb, tcp_off - 8, word, 8)) {
		return 0;
	}
	word[8] = bpf_htonl(skb->len - tcp_off);
	if (bpf_skb_load_bytes(skb, tcp_off + offsetof(struct tcphdr, check), &check, sizeof(check)))
		return 0;
	return fold_csum(bpf_csum_diff(NULL, 0, word, sizeof(word), bpf_htonl(IPPROTO_TCP))) == check;
}

/* TCP header and options of a notice, and room for what the lender had: compared with it, the rest is gone. */
struct notice_tcp {
	struct tcphdr tcp;
	__u8 options[40];
};

/* What the pseudo header holds beside the protocol, which stays: addresses and length. */
struct notice_pseudo {
	__be32 word[9];
};

/* By how much the sum of the pseudo header changes; the addresses and the length of the lender are in the packet. */
static __always_inline int pseudo_difference(struct __sk_buff *skb, const struct mps_wake *w, __u32 net_off,
					     bool was_ipv6, __u32 old_len, __u32 new_len, __s64 *difference)
{
	struct notice_pseudo before = {}, after = {};

	if (was_ipv6) {
		if (bpf_skb_load_bytes(skb, net_off + offsetof(struct ipv6hdr, saddr), &before.word[0], 32))
			return -1;
	} else if (bpf_skb_load_bytes(skb, net_off + offsetof(struct iphdr, saddr), &before.word[0], 8)) {
		return -1;
	}
	before.word[8] = bpf_htonl(old_len);
	if (w->is_ipv6) {
		__builtin_memcpy(&after.word[0], w->saddr, 16);
		__builtin_memcpy(&after.word[4], w->daddr, 16);
	} else {
		after.word[0] = w->saddr[0];
		after.word[1] = w->daddr[0];
	}
	after.word[8] = bpf_htonl(new_len);
	*difference = bpf_csum_diff(before.word, sizeof(before), after.word, sizeof(after), 0);
	return *difference < 0 ? -1 : 0;
}

static __always_inline int store_notice_ip(struct __sk_buff *skb, const struct mps_wake *w, __u32 net_off,
					   __u32 tcp_len)
{
	if (w->is_ipv6) {
		struct ipv6hdr ip = {};

		ip.version = 6;
		ip.payload_len = bpf_htons(tcp_len);
		ip.nexthdr = IPPROTO_TCP;
		ip.hop_limit = 64;
		__builtin_memcpy(&ip.saddr, w->saddr, 16);
		__builtin_memcpy(&ip.daddr, w->daddr, 16);
		return bpf_skb_store_bytes(skb, net_off, &ip, sizeof(ip), BPF_F_INVALIDATE_HASH);
	}

	struct iphdr ip = {};

	ip.version = 4;
	ip.ihl = 5;
	ip.tot_len = bpf_htons(sizeof(ip) + tcp_len);
	ip.frag_off = bpf_htons(0x4000);
	ip.ttl = 64;
	ip.protocol = IPPROTO_TCP;
	ip.saddr = w->saddr[0];
	ip.daddr = w->daddr[0];
	ip.check = ~fold_csum(bpf_csum_diff(NULL, 0, (__be32 *)&ip, sizeof(ip), 0));
	return bpf_skb_store_bytes(skb, net_off, &ip, sizeof(ip), BPF_F_INVALIDATE_HASH);
}

/* An ACK with an MP_PRIO, in place of the lender's header `before`. */
static __always_inline void make_notice(struct notice_tcp *after, const struct notice_tcp *before,
					const struct mps_wake *w, __u32 new_len)
{
	__be32 *o = (__be32 *)after->options;

	__builtin_memset(after, 0, sizeof(*after));
	after->tcp.source = w->sport;
	after->tcp.dest = w->dport;
	after->tcp.seq = bpf_htonl(w->seq);
	after->tcp.ack_seq = bpf_htonl(w->ack);
	after->tcp.window = bpf_htons(w->window);
	after->tcp.ack = 1;
	after->tcp.doff = new_len / 4;
	after->tcp.check = before->tcp.check;
	if (w->has_tstamp) {
		o[0] = TCPOPT_ALIGNED_TIMESTAMP;
		o[1] = bpf_htonl(w->tsval);
		o[2] = bpf_htonl(w->tsecr);
		o[3] = prio_option(w->backup);
	} else {
		o[0] = prio_option(w->backup);
	}
}

/*
 * The clone becomes the notice. Whether its checksum is complete or is to be completed by the device no program can see, so the field is
 * changed by what was changed, which is right in both cases.
 */
__noinline int mps_write_notice(struct __sk_buff *skb, struct mps_wake *w, __u32 l3)
{
	__u32 net_off = l3 ? 0 : sizeof(struct ethhdr), tcp_off, old_len, new_len;
	__be16 proto, old_proto = skb->protocol;
	struct notice_tcp before, after;
	__s64 pseudo, header;

	if (!w)
		return -1;
	proto = w->is_ipv6 ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP);
	tcp_off = net_off +
		  (old_proto == bpf_htons(ETH_P_IPV6) ? sizeof(struct ipv6hdr) : sizeof(struct iphdr));
	for (int i = 0; i < MPS_MAX_VLANS; i++)
		if (skb->vlan_present && bpf_skb_vlan_pop(skb))
			return -1;
	if (skb->len < tcp_off + sizeof(struct tcphdr))
		return -1;
	old_len = skb->len - tcp_off;
	/* As long as TCP headers get: what the lender lacks is zeroes, which add nothing to a sum. */
	if (bpf_skb_change_tail(skb, tcp_off + sizeof(before), 0) ||
	    bpf_skb_load_bytes(skb, tcp_off, &before, sizeof(before)))
		return -1;
	new_len = sizeof(struct tcphdr) + 4 + (w->has_tstamp ? 12 : 0);
	if (pseudo_difference(skb, w, net_off, old_proto == bpf_htons(ETH_P_IPV6), old_len, new_len, &pseudo))
		return -1;
	make_notice(&after, &before, w, new_len);
	header = bpf_csum_diff((__be32 *)&before, sizeof(before), (__be32 *)&after, sizeof(after), 0);
	if (header < 0)
		return -1;
	if (old_proto != proto && bpf_skb_change_proto(skb, proto, 0))
		return -1;
	tcp_off = net_off + (w->is_ipv6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr));
	if (bpf_skb_store_bytes(skb, tcp_off, &after, sizeof(after), 0) ||
	    bpf_skb_change_tail(skb, tcp_off + new_len, 0) || store_notice_ip(skb, w, net_off, new_len) ||
	    bpf_l4_csum_replace(skb, tcp_off + offsetof(struct tcphdr, check), 0, header, 0) ||
	    bpf_l4_csum_replace(skb, tcp_off + offsetof(struct tcphdr, check), 0, pseudo, BPF_F_PSEUDO_HDR))
		return -1;
	if (!l3 && (bpf_skb_store_bytes(skb, 0, w->mac, MPS_MACS_LEN, 0) ||
		    bpf_skb_store_bytes(skb, offsetof(struct ethhdr, h_proto), &proto, sizeof(proto), 0)))
		return -1;
	for (int i = MPS_MAX_VLANS - 1; i >= 0; i--)
		if (i < w->nr_vlans && bpf_skb_vlan_push(skb, w->vlan_proto[i], w->vlan_tci[i]))
			return -1;
	return 0;
}

/* A packet without a socket: forwarded, somebody's raw one, or our clone. Only what this very CPU is just sending is ours. */
static __always_inline int receive_notice(struct __sk_buff *skb, bool l3)
{
	struct mps_notice *n = get_notice();

	if (!n || n->state != NOTICE_UNDER_WAY || n->w.ifindex != skb->ifindex)
		return TC_ACT_UNSPEC;
	if (mps_write_notice(skb, &n->w, l3)) {
		n->state = NOTICE_FAILED;
		return TC_ACT_SHOT; /* a half-written clone must go nowhere */
	}
	n->state = NOTICE_WRITTEN;
	return TC_ACT_UNSPEC;
}

#endif /* MPS_PEER_TELL_BPF_H */
