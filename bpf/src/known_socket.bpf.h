/* SPDX-License-Identifier: GPL-2.0-only */
/* Which socket the packets of a connection had last. */
#ifndef MPS_KNOWN_SOCKET_BPF_H
#define MPS_KNOWN_SOCKET_BPF_H

#include "kernel.bpf.h"
#include "parse.bpf.h"
#include "view.bpf.h"

/*
 * Each CPU remembers where it found sockets: the kernel's lookup, with the reference that it takes, is a large part of what a packet costs
 * that asks for no decision. What is remembered is compared with the socket itself. Its memory stays that of some TCP socket while a program
 * runs (SLAB_TYPESAFE_BY_RCU), and reads by bpf_rdonly_cast() are safe in any memory. As long as it lives, the kernel finds no other one for
 * these addresses and ports on this interface. A connection that is closed has no token any more.
 */
#define KNOWN_SOCKETS_BITS 11

struct mps_known_socket {
	__u64 sk;
	__u64 msk;
	__u32 token;
	__u32 ifindex;   /* where its packets arrive */
	__u64 idle_tick; /* of the kernel's, in which there was nothing to decide; 0: none */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1 << KNOWN_SOCKETS_BITS);
	__type(key, __u32);
	__type(value, struct mps_known_socket);
} mps_known_socks SEC(".maps");

/* What differs between the packets of one host's connections. */
static __always_inline struct mps_known_socket *known_socket(__u32 ports, __u32 ifindex)
{
	__u32 index = (ports * 0x9e3779b1u ^ ifindex * 0x85ebca6bu) >> (32 - KNOWN_SOCKETS_BITS);

	return bpf_map_lookup_elem(&mps_known_socks, &index);
}

/* The ports of a packet on its way in, as skc_portpair of its socket. */
static __always_inline __u32 port_pair(const struct tcphdr *tcp)
{
	union {
		struct {
			__be16 dport;
			__u16 num;
		} port;
		__u32 pair;
	} both = {.port = {.dport = tcp->source, .num = bpf_ntohs(tcp->dest)}};

	return both.pair;
}

static __always_inline bool is_equal_address(const __be32 *one, const __be32 *other)
{
	return !((one[0] ^ other[0]) | (one[1] ^ other[1]) | (one[2] ^ other[2]) | (one[3] ^ other[3]));
}

/* As inet_match() and inet6_match() do, include/net/inet_hashtables.h; `net` is in bounds for the IP header. */
static __always_inline bool has_addresses(struct sock_common *sc, void *net, bool is_ipv6)
{
	struct ipv6hdr *ip6 = net;
	struct iphdr *ip4 = net;
	struct in6_addr own; /* of zeros where it cannot be read */

	if (!is_ipv6)
		return sc->skc_addrpair == ((__u64)ip4->daddr << 32 | ip4->saddr);
	if (sc->skc_family != AF_INET6)
		return false;
	bpf_core_read(&own, sizeof(own), &sc->skc_v6_daddr);
	if (!is_equal_address(own.s6_addr32, ip6->saddr.s6_addr32))
		return false;
	bpf_core_read(&own, sizeof(own), &sc->skc_v6_rcv_saddr);
	return is_equal_address(own.s6_addr32, ip6->daddr.s6_addr32);
}

/* Where the packet's socket is known: it and its connection go into `p`. `data` as in lookup_socket(). */
static __noinline bool recall_socket(void *data, void *data_end, const struct mps_packet *pkt,
				     struct mps_pass *p)
{
	struct tcphdr *tcp = data + (pkt->tcp_off & 255);
	void *net = data + (pkt->net_off & 31);
	bool is_ipv6 = pkt->is_ipv6;
	struct mps_known_socket *known;
	struct sock_common *sc;
	__u32 ports;

	if ((void *)(tcp + 1) > data_end ||
	    net + (is_ipv6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr)) > data_end)
		return false;
	ports = port_pair(tcp);
	known = known_socket(ports, p->ifindex);
	if (!known || known->ifindex != p->ifindex || p->vrf)
		return false;
	sc = KPTR(struct sock_common, (void *)known->sk, true);
	if (sc->skc_portpair != ports || sc->skc_state == TCP_CLOSE_STATE ||
	    !has_addresses(sc, net, is_ipv6) ||
	    KPTR(struct mptcp_sock, (void *)known->msk, true)->token != known->token)
		return false;
	p->sk = known->sk;
	p->msk = known->msk;
	p->idle_tick = known->idle_tick;
	return true;
}

/* `p` has what was found. */
static __noinline void remember_socket(const struct mps_pass *p)
{
	struct sock_common *sc = KPTR(struct sock_common, (void *)p->sk, true);
	__u32 token = KPTR(struct mptcp_sock, (void *)p->msk, true)->token;
	struct mps_known_socket *known = known_socket(sc->skc_portpair, p->ifindex);

	if (!known || !token || p->vrf)
		return;
	known->sk = p->sk;
	known->msk = p->msk;
	known->token = token;
	known->ifindex = p->ifindex;
	known->idle_tick = 0;
}

/* Until the next tick there is nothing to decide for the sake of time. */
static __noinline void note_idle_tick(const struct mps_pass *p, __u64 tick)
{
	struct sock_common *sc = KPTR(struct sock_common, (void *)p->sk, true);
	struct mps_known_socket *known = known_socket(sc->skc_portpair, p->ifindex);

	if (known && known->sk == p->sk)
		known->idle_tick = tick;
}

#endif /* MPS_KNOWN_SOCKET_BPF_H */
