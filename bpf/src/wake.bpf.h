/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Wakes: MP_PRIO for a subflow that has no traffic, so no ACK to carry it.
 *
 * A decision fills an entry of mps_wakes. The next packet at TC ingress of any attached interface lends its
 * body: a clone of it, marked with the entry's index, is redirected to the ingress of the idle subflow's
 * interface, where our TC program turns it into a pure ACK with MP_PRIO.
 *
 *   FREE → FILLING → READY → SENT → FREE      each step by compare-and-swap, so each wake is used once
 *
 * Nothing of it may leave this host: a bridge floods what is addressed to nobody it knows, a router forwards it, and TCP answers
 * a segment without a socket. So the clone gets the link-layer addresses of its own subflow, and where it arrives it is
 * looked at once more (mps_is_still_wanted()).
 *
 * The ACK repeats what the connection already knows (seq = rcv_nxt, ack = snd_una, the last timestamps and
 * window). It carries no DSS on purpose: a data ACK would make the kernel take this subflow's old window
 * for the connection's.
 *
 * It may also follow a packet of its own subflow that had no room for the option: an answer of a Linux peer never has
 * (timestamps, and a DSS with 64-bit numbers). Then it has to fit behind that packet: the sequence number is the one
 * after its contents, and there are no timestamps, since those of the packet will have made ours old (PAWS). Linux takes
 * a segment without them (tcp_validate_incoming(), net/ipv4/tcp_input.c).
 */
#ifndef MPS_WAKE_BPF_H
#define MPS_WAKE_BPF_H

#include "maps.bpf.h"
#include "view.bpf.h"
#include "believe.bpf.h"
#include "checksum.bpf.h"
#include "wake_fill.bpf.h"

#define TC_ACT_UNSPEC (-1)
#define TC_ACT_SHOT 2
#define TC_ACT_REDIRECT 7
#define PACKET_HOST 0

#define WAKE_EXPIRE_NS (200 * 1000 * 1000ull)
/* A clone sits in the backlog for microseconds; one that has not arrived by then was dropped there. */
#define WAKE_FLIGHT_NS (20 * 1000 * 1000ull)
#define WAKES_PER_PACKET 4
#define WAKE_INDEX_MASK (MPS_MAX_WAKES - 1)

/* Upper half of the mark of our clones; chosen at random by the loader for each installation. */
const volatile __u32 mps_wake_magic = 0x6d700000;

static __always_inline bool swap_state(struct mps_wake *w, __u32 from, __u32 to)
{
	return __sync_val_compare_and_swap(&w->state, from, to) == from;
}

static __always_inline __u32 wake_index(__u64 sk)
{
	/* Sockets are slab objects: mix so that the low bits differ. */
	return (__u32)((sk * 0x9e3779b97f4a7c15ull) >> 58) & WAKE_INDEX_MASK;
}

/* when_ns may be in the future: see mps_wake_order.patience_ns. */
static __always_inline bool is_overdue(const struct mps_wake *w, __u64 now_ns)
{
	return (__s64)(now_ns - w->when_ns) > (__s64)WAKE_EXPIRE_NS;
}

/* Takes the entry of this subflow if it is free or was left behind. */
static __always_inline bool claim_wake(struct mps_wake *w, __u32 index, __u64 now_ns,
				       struct mps_counters *counters)
{
	__u32 state = w->state;

	if (state != MPS_WAKE_FREE && state != MPS_WAKE_FILLING && is_overdue(w, now_ns)) {
		if (!swap_state(w, state, MPS_WAKE_FREE))
			return false;
		__sync_fetch_and_and(&mps_wakes_ready, ~(1ull << index));
		__sync_fetch_and_and(&mps_wakes_sent, ~(1ull << index));
		COUNT(counters, WAKE_EXPIRED);
	}
	return swap_state(w, MPS_WAKE_FREE, MPS_WAKE_FILLING);
}

/*
 * The link-layer addresses of the wake. Its destination has to be what this host answers to now, which is the address of
 * the device that the socket sends through if it also received there: a bridge's own address changes with its ports. Else it is that
 * of the subflow's last packet. The source is that of the same packet; before the first one a locally
 * administered address that no device has. Returns 0 if nothing is known.
 */
__noinline int mps_address_wake(struct mps_wake *w, const struct mps_conn_subflow *mine)
{
	struct dst_entry *dst = NULL;
	struct sock *sk;
	__u32 own = 0;

	if (!w || !mine)
		return 0;
	sk = (struct sock *)mine->sk;
	__builtin_memcpy(w->mac, mine->mac, sizeof(w->mac));
	if (!mine->has_mac) {
		static const __u8 nobody[6] = {0x02, 'm', 'p', 's', 0, 1};

		__builtin_memcpy(w->mac + 6, nobody, sizeof(nobody));
	}
	w->ip_ifindex = socket_ifindex(sk);
	bpf_core_read(&dst, sizeof(dst), &sk->sk_dst_cache);
	if (dst && (__u32)BPF_CORE_READ(dst, dev, ifindex) == w->ip_ifindex &&
	    BPF_CORE_READ(dst, dev, addr_len) == 6)
		own = !bpf_probe_read_kernel(w->mac, 6, BPF_CORE_READ(dst, dev, dev_addr));
	return own || mine->has_mac;
}

/* The backup bit of a subflow is about to be changed anew, by a wake or in a packet: a wake before it came to nothing. */
static __always_inline void note_flip(struct mps_conn_subflow *mine, struct mps_counters *counters,
				      __u64 now_ns, __u32 backup)
{
	if (mine->woken)
		COUNT(counters, WAKE_LOST);
	mine->flip_ns = now_ns;
	mine->flip_value = backup;
}

/* Queues a wake for sf[i]; returns true if it is under way. */
__noinline int mps_queue_wake(struct mps_conn_subflow *mine, struct mps_counters *counters,
			      const struct mps_wake_order *order)
{
	struct mps_wake *w;
	__u32 index;

	if (!mine || !counters || !order)
		return 0;
	index = wake_index(mine->sk);
	w = bpf_map_lookup_elem(&mps_wakes, &index);
	if (!w)
		return 0;
	if (!claim_wake(w, index, order->now_ns, counters)) {
		COUNT(counters, WAKE_BUSY);
		return 0;
	}
	if (!mps_address_wake(w, mine) && !order->l3) {
		COUNT(counters, WAKE_UNREACHABLE);
		swap_state(w, MPS_WAKE_FILLING, MPS_WAKE_FREE);
		return 0;
	}
	address_as_peer(w, (struct sock *)mine->sk);
	number_as_peer(w, (struct tcp_sock *)mine->sk, order);
	w->backup = order->backup;
	w->ifindex = mine->ifindex;
	w->l3 = order->l3;
	w->hop = 0;
	w->nr_vlans = mine->nr_vlans;
	for (int i = 0; i < MPS_MAX_VLANS; i++) {
		w->vlan_tci[i] = mine->vlan_tci[i];
		w->vlan_proto[i] = mine->vlan_proto[i];
	}
	w->when_ns = order->now_ns + order->patience_ns;
	note_flip(mine, counters, order->now_ns, order->backup);
	mine->woken = 1;
	remember_edit(mine, edit_print(packet_print(w->seq, w->ack, w->has_tstamp ? w->tsval : 0),
				       w->has_tstamp ? 12 : 0, order->backup, place_of(w->ifindex, false)));
	swap_state(w, MPS_WAKE_FILLING, MPS_WAKE_READY);
	__sync_fetch_and_or(&mps_wakes_ready, 1ull << index);
	COUNT(counters, WAKE_QUEUED);
	return 1;
}

enum mps_clone {
	WAKE_NONE = 0,
	WAKE_OF_OTHER_DEVICES = 1, /* what lent them its body is another device's packet */
	WAKE_OF_THIS_DEVICE = 2,
};

/* Are clones of ours about to arrive here? Generic XDP would take them for packets of this interface. */
__noinline int mps_wake_in_flight(__u32 ifindex)
{
	__u64 now = bpf_ktime_get_ns();
	int found = WAKE_NONE;

	for (__u32 i = 0; i < MPS_MAX_WAKES; i++) {
		__u32 key = i;
		struct mps_wake *w;

		if (!(mps_wakes_sent >> (i & 63) & 1))
			continue;
		w = bpf_map_lookup_elem(&mps_wakes, &key);
		if (!w || w->ifindex != ifindex || now - w->when_ns >= WAKE_FLIGHT_NS)
			continue;
		if (w->from_ifindex == ifindex)
			return WAKE_OF_THIS_DEVICE;
		found = WAKE_OF_OTHER_DEVICES;
	}
	return found;
}

static __always_inline __u32 lowest_bit(__u64 word)
{
	__u32 n = 0;

	if (!(word & 0xffffffff)) {
		n += 32;
		word >>= 32;
	}
	if (!(word & 0xffff)) {
		n += 16;
		word >>= 16;
	}
	if (!(word & 0xff)) {
		n += 8;
		word >>= 8;
	}
	if (!(word & 0xf)) {
		n += 4;
		word >>= 4;
	}
	if (!(word & 3)) {
		n += 2;
		word >>= 2;
	}
	return n + !(word & 1);
}

/*
 * Generic XDP may replace an skb by a copy (skb_pp_cow_data(), seen on 6.18 for every packet of a veth)
 * whose mac_len is 0: TC ingress then starts at the IP header although the interface is an Ethernet one,
 * and a redirect would eat 14 bytes of it. Putting the link-layer header back in front makes it an ordinary
 * packet again. Returns 0 if the packet starts with its link-layer header now.
 */
__noinline int mps_restore_mac(struct __sk_buff *skb)
{
	__u64 first[2] = {}, mac[2] = {};

	if (bpf_skb_load_bytes(skb, 0, first, sizeof(struct ethhdr)) ||
	    bpf_skb_load_bytes_relative(skb, 0, mac, sizeof(struct ethhdr), BPF_HDR_START_MAC))
		return -1;
	if (first[0] == mac[0] && first[1] == mac[1])
		return 0;
	if (bpf_skb_load_bytes_relative(skb, 0, first + 1, 4, BPF_HDR_START_NET) ||
	    (__u32)first[0] != (__u32)first[1])
		return -1;
	if (bpf_skb_change_head(skb, sizeof(struct ethhdr), 0))
		return -1;
	return bpf_skb_store_bytes(skb, 0, mac, sizeof(struct ethhdr), 0);
}

/* Sends what is ready; `skb` lends its body. `from_l3`: the packet has no link-layer header. */
__noinline int mps_send_wakes(struct __sk_buff *skb, struct mps_counters *counters, __u32 from_l3)
{
	__u64 now = bpf_ktime_get_ns();

	if (!counters || (!from_l3 && mps_restore_mac(skb)))
		return 0;
	for (int i = 0; i < WAKES_PER_PACKET; i++) {
		__u64 ready = mps_wakes_ready;
		__u32 index, mark, target;
		struct mps_wake *w;

		if (!ready)
			break;
		index = lowest_bit(ready) & WAKE_INDEX_MASK;
		__sync_fetch_and_and(&mps_wakes_ready, ~(1ull << index));
		w = bpf_map_lookup_elem(&mps_wakes, &index);
		if (!w)
			break;
		if (is_overdue(w, now)) {
			if (swap_state(w, MPS_WAKE_READY, MPS_WAKE_FREE))
				COUNT(counters, WAKE_EXPIRED);
			continue;
		}
		target = w->ifindex;
		w->hop = from_l3 && !w->l3;
		w->from_ifindex = skb->ifindex;
		w->when_ns = now;
		if (!swap_state(w, MPS_WAKE_READY, MPS_WAKE_SENT))
			continue;
		__sync_fetch_and_or(&mps_wakes_sent, 1ull << index);
		mark = skb->mark;
		skb->mark = mps_wake_magic | index;
		if (bpf_clone_redirect(skb, w->hop ? skb->ifindex : target, BPF_F_INGRESS)) {
			__sync_fetch_and_and(&mps_wakes_sent, ~(1ull << index));
			swap_state(w, MPS_WAKE_SENT, MPS_WAKE_FREE);
			COUNT(counters, WAKE_FAILED);
		} else {
			COUNT(counters, WAKE_SENT);
		}
		skb->mark = mark;
	}
	return 0;
}

struct wake_tcp {
	struct tcphdr tcp;
	__u8 options[16];
};

struct wake_ipv4 {
	struct iphdr ip;
	struct wake_tcp t;
};

struct wake_ipv6 {
	struct ipv6hdr ip;
	struct wake_tcp t;
};

/* Writes TCP header and options; returns their length. */
static __always_inline __u32 write_wake_tcp(struct wake_tcp *t, const struct mps_wake *w)
{
	__u32 len = w->has_tstamp ? 12 : 0;
	__u8 *o = t->options;
	__u8 *prio = w->has_tstamp ? o + 12 : o;

	__builtin_memset(t, 0, sizeof(*t));
	t->tcp.source = w->sport;
	t->tcp.dest = w->dport;
	t->tcp.seq = bpf_htonl(w->seq);
	t->tcp.ack_seq = bpf_htonl(w->ack);
	t->tcp.window = bpf_htons(w->window);
	t->tcp.ack = 1;
	if (w->has_tstamp) {
		*(__be32 *)o = TCPOPT_ALIGNED_TIMESTAMP;
		*(__be32 *)(o + 4) = bpf_htonl(w->tsval);
		*(__be32 *)(o + 8) = bpf_htonl(w->tsecr);
	}
	prio[0] = TCPOPT_MPTCP;
	prio[1] = MPTCP_LEN_prio;
	prio[2] = MPTCP_SUB_MP_PRIO << 4 | (w->backup & 1);
	prio[3] = TCPOPT_NOP;
	len += 4 + sizeof(struct tcphdr);
	t->tcp.doff = len / 4;
	return len;
}

static __always_inline int store_wake_ipv4(struct __sk_buff *skb, const struct mps_wake *w, __u32 net_off)
{
	struct wake_ipv4 p;
	__u32 len = write_wake_tcp(&p.t, w), total = len + sizeof(p.ip);
	__u64 sum;

	__builtin_memset(&p.ip, 0, sizeof(p.ip));
	p.ip.version = 4;
	p.ip.ihl = 5;
	p.ip.tot_len = bpf_htons(total);
	p.ip.frag_off = bpf_htons(0x4000);
	p.ip.ttl = 64;
	p.ip.protocol = IPPROTO_TCP;
	p.ip.saddr = w->saddr[0];
	p.ip.daddr = w->daddr[0];
	p.ip.check = ~fold_csum(bpf_csum_diff(NULL, 0, (__be32 *)&p.ip, sizeof(p.ip), 0));
	sum = bpf_csum_diff(NULL, 0, (__be32 *)&p.t, sizeof(p.t), 0);
	sum += p.ip.saddr;
	sum += p.ip.daddr;
	sum += bpf_htons(IPPROTO_TCP) + bpf_htons(len);
	p.t.tcp.check = ~fold_csum(sum);
	if (bpf_skb_change_tail(skb, net_off + total, 0))
		return -1;
	if (len == sizeof(p.t))
		return bpf_skb_store_bytes(skb, net_off, &p, sizeof(p),
					   BPF_F_RECOMPUTE_CSUM | BPF_F_INVALIDATE_HASH);
	return bpf_skb_store_bytes(skb, net_off, &p, sizeof(p) - 12,
				   BPF_F_RECOMPUTE_CSUM | BPF_F_INVALIDATE_HASH);
}

static __always_inline int store_wake_ipv6(struct __sk_buff *skb, const struct mps_wake *w, __u32 net_off)
{
	struct wake_ipv6 p;
	__u32 len = write_wake_tcp(&p.t, w);
	__u64 sum;

	__builtin_memset(&p.ip, 0, sizeof(p.ip));
	p.ip.version = 6;
	p.ip.payload_len = bpf_htons(len);
	p.ip.nexthdr = IPPROTO_TCP;
	p.ip.hop_limit = 64;
	__builtin_memcpy(&p.ip.saddr, w->saddr, 16);
	__builtin_memcpy(&p.ip.daddr, w->daddr, 16);
	sum = bpf_csum_diff(NULL, 0, (__be32 *)&p.t, sizeof(p.t), 0);
	sum = bpf_csum_diff(NULL, 0, (__be32 *)w->saddr, 16, sum);
	sum = bpf_csum_diff(NULL, 0, (__be32 *)w->daddr, 16, sum);
	sum += bpf_htons(IPPROTO_TCP) + bpf_htons(len);
	p.t.tcp.check = ~fold_csum(sum);
	if (bpf_skb_change_tail(skb, net_off + sizeof(p.ip) + len, 0))
		return -1;
	if (len == sizeof(p.t))
		return bpf_skb_store_bytes(skb, net_off, &p, sizeof(p),
					   BPF_F_RECOMPUTE_CSUM | BPF_F_INVALIDATE_HASH);
	return bpf_skb_store_bytes(skb, net_off, &p, sizeof(p) - 12,
				   BPF_F_RECOMPUTE_CSUM | BPF_F_INVALIDATE_HASH);
}

/* Turns the clone into the wake. Returns 0, or -1 if some helper refused. */
__noinline int mps_write_wake(struct __sk_buff *skb, struct mps_wake *w, __u32 l3)
{
	__be16 proto;
	__u32 net_off = l3 ? 0 : sizeof(struct ethhdr);

	if (!w || (!l3 && mps_restore_mac(skb)))
		return -1;
	proto = w->is_ipv6 ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP);
	for (int i = 0; i < MPS_MAX_VLANS; i++)
		if (skb->vlan_present && bpf_skb_vlan_pop(skb))
			return -1;
	if (skb->protocol != proto && bpf_skb_change_proto(skb, proto, 0))
		return -1;
	if (!l3 && (bpf_skb_store_bytes(skb, 0, w->mac, MPS_MACS_LEN, 0) ||
		    bpf_skb_store_bytes(skb, offsetof(struct ethhdr, h_proto), &proto, sizeof(proto), 0)))
		return -1;
	if (w->is_ipv6 ? store_wake_ipv6(skb, w, net_off) : store_wake_ipv4(skb, w, net_off))
		return -1;
	/* Innermost first: a push adds outside of what is there. */
	for (int i = MPS_MAX_VLANS - 1; i >= 0; i--)
		if (i < w->nr_vlans && bpf_skb_vlan_push(skb, w->vlan_proto[i], w->vlan_tci[i]))
			return -1;
	skb->mark = 0;
	return bpf_skb_change_type(skb, PACKET_HOST);
}

/* A clone from an L3 interface on its first stop: give it a link-layer header and send it on. */
static __always_inline int hop_wake(struct __sk_buff *skb, struct mps_wake *w)
{
	__be16 proto = skb->protocol;

	w->hop = 0;
	if (bpf_skb_change_head(skb, sizeof(struct ethhdr), 0) ||
	    bpf_skb_store_bytes(skb, offsetof(struct ethhdr, h_proto), &proto, sizeof(proto), 0))
		return TC_ACT_SHOT;
	return bpf_redirect(w->ifindex, BPF_F_INGRESS);
}

/* The socket is there, and can be told something. Otherwise TCP would answer. */
static __always_inline bool has_socket(struct __sk_buff *skb, const struct mps_wake *w)
{
	struct bpf_sock_tuple tuple;
	struct bpf_sock *sk;
	__u32 len, state;

	if (w->is_ipv6) {
		__builtin_memcpy(tuple.ipv6.saddr, w->saddr, 16);
		__builtin_memcpy(tuple.ipv6.daddr, w->daddr, 16);
		tuple.ipv6.sport = w->sport;
		tuple.ipv6.dport = w->dport;
		len = sizeof(tuple.ipv6);
	} else {
		tuple.ipv4.saddr = w->saddr[0];
		tuple.ipv4.daddr = w->daddr[0];
		tuple.ipv4.sport = w->sport;
		tuple.ipv4.dport = w->dport;
		len = sizeof(tuple.ipv4);
	}
	sk = bpf_skc_lookup_tcp(skb, &tuple, len, BPF_F_CURRENT_NETNS, 0);
	if (!sk)
		return false;
	state = sk->state;
	bpf_sk_release(sk);
	return state == TCP_ESTABLISHED_STATE || state == TCP_CLOSE_WAIT_STATE;
}

/* Its address is this host's. The lookup has three answers: ours, would be forwarded, and forwarding is off. */
static __always_inline bool is_local(struct __sk_buff *skb, const struct mps_wake *w)
{
	struct bpf_fib_lookup fib = {};
	long answer;

	fib.family = w->is_ipv6 ? AF_INET6 : AF_INET;
	fib.l4_protocol = IPPROTO_TCP;
	fib.sport = w->sport;
	fib.dport = w->dport;
	fib.ifindex = w->ip_ifindex ? w->ip_ifindex : skb->ifindex;
	__builtin_memcpy(fib.ipv6_src, w->saddr, 16);
	__builtin_memcpy(fib.ipv6_dst, w->daddr, 16);
	answer = bpf_fib_lookup(skb, &fib, sizeof(fib), 0);
	return answer == BPF_FIB_LKUP_RET_NOT_FWDED || answer == BPF_FIB_LKUP_RET_FWD_DISABLED;
}

/* The moment before it is handed to the stack: up to WAKE_EXPIRE_NS have passed since it was asked for. */
__noinline int mps_is_still_wanted(struct __sk_buff *skb, const struct mps_wake *w)
{
	if (!w)
		return 0;
	return is_local(skb, w) && has_socket(skb, w);
}

/*
 * A packet with our mark. Only an entry that we set to SENT for this interface makes it a wake: the mark
 * alone (which some other program may have set on a packet from the wire) never does.
 */
__noinline int mps_receive_wake(struct __sk_buff *skb, struct mps_counters *counters, __u32 l3)
{
	__u32 index = skb->mark & 0xffff;
	struct mps_wake *w;

	if (!counters)
		return TC_ACT_UNSPEC;

	if (index >= MPS_MAX_WAKES)
		goto stray;
	w = bpf_map_lookup_elem(&mps_wakes, &index);
	if (!w || w->state != MPS_WAKE_SENT)
		goto stray;
	if (l3 && w->hop) {
		int verdict = hop_wake(skb, w);

		if (verdict == TC_ACT_SHOT) {
			swap_state(w, MPS_WAKE_SENT, MPS_WAKE_FREE);
			__sync_fetch_and_and(&mps_wakes_sent, ~(1ull << index));
			COUNT(counters, WAKE_FAILED);
		}
		return verdict;
	}
	if (w->ifindex != skb->ifindex)
		goto stray;
	__sync_fetch_and_and(&mps_wakes_sent, ~(1ull << index));
	/* Still ours until FREE: nobody else writes an entry that is SENT and fresh. */
	if (!mps_is_still_wanted(skb, w)) {
		COUNT(counters, WAKE_WITHHELD);
		swap_state(w, MPS_WAKE_SENT, MPS_WAKE_FREE);
		return TC_ACT_SHOT;
	}
	if (mps_write_wake(skb, w, l3)) {
		COUNT(counters, WAKE_FAILED);
		swap_state(w, MPS_WAKE_SENT, MPS_WAKE_FREE);
		return TC_ACT_SHOT; /* a half-written clone of somebody else's packet must go nowhere */
	}
	COUNT(counters, WAKE_WRITTEN);
	swap_state(w, MPS_WAKE_SENT, MPS_WAKE_FREE);
	return TC_ACT_UNSPEC;
stray:
	COUNT(counters, WAKE_STRAY);
	return TC_ACT_UNSPEC;
}

/* Wakes pass through TC ingress on every attached interface, whatever its mode. Returns true if `skb` was one. */
static __always_inline bool handle_wakes(struct __sk_buff *skb, bool l3, int *verdict)
{
	__u64 ready = mps_wakes_ready;
	__u32 mark = skb->mark;
	struct mps_counters *counters;

	*verdict = TC_ACT_UNSPEC;
	if (mark && (mark & 0xffff0000) == mps_wake_magic) {
		counters = get_counters();
		if (counters)
			*verdict = mps_receive_wake(skb, counters, l3);
		return true;
	}
	/* Only IP can be turned into IP. */
	if (ready && (skb->protocol == bpf_htons(ETH_P_IP) || skb->protocol == bpf_htons(ETH_P_IPV6))) {
		counters = get_counters();
		if (counters)
			mps_send_wakes(skb, counters, l3);
	}
	return false;
}

#endif /* MPS_WAKE_BPF_H */
