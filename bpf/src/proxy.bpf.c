// SPDX-License-Identifier: GPL-2.0-only
/*
 * Hands TCP connections of other hosts to a relay on this one. mps_proxy_lan is on the interfaces where such hosts are, mps_proxy_back on those over which
 * answers to connections come that the relay makes with a client's address. Whatever is not for the relay passes as it was, so everything does
 * when there is none.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include <stdbool.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <mps/mptcp_options.h>
#include <mps/proxy_abi.h>

char LICENSE[] SEC("license") = "GPL";

#define AF_INET 2
#define AF_INET6 10
#define IS_FRAGMENT 0x3fff /* offset or more fragments */
#define MAX_OPTIONS 40
#define OPTION_END 0
#define OPTION_NOP 1

/* Set before load. */
const volatile __u32 mps_lans[MPS_PROXY_LANS] = {};   /* interface indices, up to the first 0 */
const volatile __u16 mps_ports[MPS_PROXY_PORTS] = {}; /* host order, up to the first 0; none: all */

/* The relay's. The kernel takes a socket out that is closed. */
struct {
	__uint(type, BPF_MAP_TYPE_SOCKMAP);
	__uint(max_entries, MPS_PROXY_FAMILIES);
	__type(key, __u32);
	__type(value, __u64);
} mps_listeners SEC(".maps");

/* Listeners are in it, and so is what they accept (BPF_F_CLONE): of these the address is not this host's. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_CLONE);
	__type(key, int);
	__type(value, __u32);
} mps_accepted SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, MPS_PROXY_COUNTS);
	__type(key, __u32);
	__type(value, __u64);
} mps_proxy_counts SEC(".maps");

struct packet {
	union {
		struct iphdr v4;
		struct ipv6hdr v6;
	} ip;
	struct tcphdr tcp;
	struct bpf_sock_tuple tuple;
	__u32 options_at; /* from the network header */
	__u32 family;     /* enum mps_proxy_family */
};

static __always_inline void count(__u32 what)
{
	__u64 *counter = bpf_map_lookup_elem(&mps_proxy_counts, &what);

	if (counter)
		++*counter;
}

/* False for all but TCP in one piece. Behind extension headers of IPv6 it passes, too. */
static __always_inline bool read_packet(struct __sk_buff *skb, struct packet *p)
{
	__u32 at;

	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		if (bpf_skb_load_bytes_relative(skb, 0, &p->ip.v4, sizeof(p->ip.v4), BPF_HDR_START_NET))
			return false;
		if (p->ip.v4.protocol != IPPROTO_TCP || p->ip.v4.frag_off & bpf_htons(IS_FRAGMENT))
			return false;
		at = p->ip.v4.ihl * 4;
		p->family = MPS_PROXY_IPV4;
	} else if (skb->protocol == bpf_htons(ETH_P_IPV6)) {
		if (bpf_skb_load_bytes_relative(skb, 0, &p->ip.v6, sizeof(p->ip.v6), BPF_HDR_START_NET))
			return false;
		if (p->ip.v6.nexthdr != IPPROTO_TCP)
			return false;
		at = sizeof(p->ip.v6);
		p->family = MPS_PROXY_IPV6;
	} else {
		return false;
	}
	if (bpf_skb_load_bytes_relative(skb, at, &p->tcp, sizeof(p->tcp), BPF_HDR_START_NET))
		return false;
	p->options_at = at + sizeof(p->tcp);
	if (p->family == MPS_PROXY_IPV4) {
		p->tuple.ipv4.saddr = p->ip.v4.saddr;
		p->tuple.ipv4.daddr = p->ip.v4.daddr;
		p->tuple.ipv4.sport = p->tcp.source;
		p->tuple.ipv4.dport = p->tcp.dest;
	} else {
		__builtin_memcpy(p->tuple.ipv6.saddr, &p->ip.v6.saddr, 16);
		__builtin_memcpy(p->tuple.ipv6.daddr, &p->ip.v6.daddr, 16);
		p->tuple.ipv6.sport = p->tcp.source;
		p->tuple.ipv6.dport = p->tcp.dest;
	}
	return true;
}

/* With a constant size, as the verifier wants it. */
static __always_inline struct bpf_sock *look_up(struct __sk_buff *skb, struct packet *p)
{
	if (p->family == MPS_PROXY_IPV4)
		return bpf_skc_lookup_tcp(skb, &p->tuple, sizeof(p->tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
	return bpf_skc_lookup_tcp(skb, &p->tuple, sizeof(p->tuple.ipv6), BPF_F_CURRENT_NETNS, 0);
}

/* The interface by which this host would pass it on; 0: it would not, for example because it is for this host. */
static __always_inline __u32 way_on(struct __sk_buff *skb, const struct packet *p)
{
	struct bpf_fib_lookup fib = {};
	long result;

	fib.l4_protocol = IPPROTO_TCP;
	fib.sport = p->tcp.source;
	fib.dport = p->tcp.dest;
	fib.ifindex = skb->ifindex;
	if (p->family == MPS_PROXY_IPV4) {
		fib.family = AF_INET;
		fib.tos = p->ip.v4.tos;
		fib.ipv4_src = p->ip.v4.saddr;
		fib.ipv4_dst = p->ip.v4.daddr;
	} else {
		fib.family = AF_INET6;
		__builtin_memcpy(fib.ipv6_src, &p->ip.v6.saddr, 16);
		__builtin_memcpy(fib.ipv6_dst, &p->ip.v6.daddr, 16);
	}
	result = bpf_fib_lookup(skb, &fib, sizeof(fib), 0);
	if (result != BPF_FIB_LKUP_RET_SUCCESS && result != BPF_FIB_LKUP_RET_NO_NEIGH &&
	    result != BPF_FIB_LKUP_RET_FRAG_NEEDED)
		return 0;
	return fib.ifindex;
}

static __always_inline bool is_lan(__u32 ifindex)
{
	for (int i = 0; i < MPS_PROXY_LANS && mps_lans[i]; i++)
		if (mps_lans[i] == ifindex)
			return true;
	return false;
}

static __always_inline bool is_wanted(const struct packet *p)
{
	if (!mps_ports[0])
		return true;
	for (int i = 0; i < MPS_PROXY_PORTS && mps_ports[i]; i++)
		if (mps_ports[i] == bpf_ntohs(p->tcp.dest))
			return true;
	return false;
}

/* Of a SYN: its host does it all itself. */
static __always_inline bool speaks_mptcp(struct __sk_buff *skb, const struct packet *p)
{
	__u32 words = p->tcp.doff, size;
	__u8 options[MAX_OPTIONS] = {};

	/* The bounds follow from those of the header's words, which the compiler must not make a test for 0 of: no bound to a verifier. */
	barrier_var(words);
	if (words <= sizeof(p->tcp) / 4)
		return false;
	size = (words - sizeof(p->tcp) / 4) * 4;
	if (bpf_skb_load_bytes_relative(skb, p->options_at, options, size, BPF_HDR_START_NET))
		return false;
	for (__u32 i = 0, next = 0; i < MAX_OPTIONS - 1; i++) {
		if (i != next)
			continue;
		if (i >= size || options[i] == OPTION_END)
			return false;
		if (options[i] == TCPOPT_MPTCP)
			return true;
		next = options[i] == OPTION_NOP ? i + 1 : i + options[i + 1];
	}
	return false;
}

static __always_inline int hand_over(struct __sk_buff *skb)
{
	skb->mark = MPS_PROXY_MARK;
	return TC_ACT_UNSPEC;
}

static __always_inline int begin(struct __sk_buff *skb, const struct packet *p)
{
	struct bpf_sock *listener;
	__u32 out;
	long err;

	if (!is_wanted(p))
		return TC_ACT_UNSPEC;
	out = way_on(skb, p);
	if (!out || is_lan(out))
		return TC_ACT_UNSPEC;
	if (speaks_mptcp(skb, p)) {
		count(MPS_PROXY_MPTCP);
		return TC_ACT_UNSPEC;
	}
	listener = bpf_map_lookup_elem(&mps_listeners, &p->family);
	if (!listener) {
		count(MPS_PROXY_NO_RELAY);
		return TC_ACT_UNSPEC;
	}
	err = bpf_sk_assign(skb, listener, 0);
	bpf_sk_release(listener);
	count(err ? MPS_PROXY_FAILED : MPS_PROXY_TAKEN);
	return err ? TC_ACT_UNSPEC : hand_over(skb);
}

/* An ACK that ends a handshake of which the kernel remembers nothing (SYN cookies). */
static __always_inline int end_handshake(struct __sk_buff *skb, struct packet *p)
{
	struct bpf_sock *listener;
	long err = -1;

	if (!p->tcp.ack || p->tcp.rst || !is_wanted(p))
		return TC_ACT_UNSPEC;
	listener = bpf_map_lookup_elem(&mps_listeners, &p->family);
	if (!listener)
		return TC_ACT_UNSPEC;
	if (!bpf_tcp_check_syncookie(listener, &p->ip, sizeof(p->ip), &p->tcp, sizeof(p->tcp)))
		err = bpf_sk_assign(skb, listener, 0);
	bpf_sk_release(listener);
	return err ? TC_ACT_UNSPEC : hand_over(skb);
}

SEC("tc") int mps_proxy_lan(struct __sk_buff *skb)
{
	struct packet p = {};
	struct bpf_sock *sk;
	bool is_first, is_ours;

	if (!read_packet(skb, &p))
		return TC_ACT_UNSPEC;
	is_first = p.tcp.syn && !p.tcp.ack;
	sk = look_up(skb, &p);
	/* Somebody's listener for any address; or what is left of a connection whose client begins anew. */
	if (sk && (sk->state == BPF_TCP_LISTEN || (is_first && sk->state == BPF_TCP_TIME_WAIT))) {
		bpf_sk_release(sk);
		sk = NULL;
	}
	if (!sk)
		return is_first ? begin(skb, &p) : end_handshake(skb, &p);
	/* Neither a handshake's socket nor one in TIME_WAIT has storage. */
	is_ours = sk->state == BPF_TCP_NEW_SYN_RECV || sk->state == BPF_TCP_TIME_WAIT
			  ? way_on(skb, &p) != 0
			  : bpf_sk_storage_get(&mps_accepted, sk, 0, 0) != NULL;
	bpf_sk_release(sk);
	return is_ours ? hand_over(skb) : TC_ACT_UNSPEC;
}

SEC("tc") int mps_proxy_back(struct __sk_buff *skb)
{
	struct packet p = {};
	struct bpf_sock *sk;
	bool is_connection;

	if (!read_packet(skb, &p))
		return TC_ACT_UNSPEC;
	sk = look_up(skb, &p);
	if (!sk)
		return TC_ACT_UNSPEC;
	is_connection = sk->state != BPF_TCP_LISTEN;
	bpf_sk_release(sk);
	return is_connection && way_on(skb, &p) ? hand_over(skb) : TC_ACT_UNSPEC;
}
