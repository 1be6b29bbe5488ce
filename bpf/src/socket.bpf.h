/* SPDX-License-Identifier: GPL-2.0-only */
/* From a parsed packet to the socket that it is for. */
#ifndef MPS_SOCKET_BPF_H
#define MPS_SOCKET_BPF_H

#include "maps.bpf.h"
#include "parse.bpf.h"

#define SOCK_TYPE_STREAM 1 /* SOCK_STREAM, include/linux/net.h */

/*
 * At egress: the socket that the packet leaves from, if it may be one of MPTCP. What TCP sends without a connection (RST, ACK in TIME_WAIT)
 * has its control socket, a raw one of the protocol TCP; bpf_mptcp_sock_from_subflow() asks for the protocol alone and would read
 * behind its end.
 */
static __always_inline struct bpf_sock *stream_socket(struct bpf_sock *sk)
{
	sk = sk ? bpf_sk_fullsock(sk) : NULL;
	return sk && sk->type == SOCK_TYPE_STREAM ? sk : NULL;
}

static __always_inline struct bpf_sock *lookup_socket(void *ctx, void *data, void *data_end,
						      const struct mps_packet *pkt)
{
	struct bpf_sock_tuple tuple;
	struct tcphdr *tcp = data + (pkt->tcp_off & 255);

	if ((void *)(tcp + 1) > data_end)
		return NULL;
	if (pkt->is_ipv6) {
		struct ipv6hdr *ip = data + (pkt->net_off & 31);

		if ((void *)(ip + 1) > data_end)
			return NULL;
		__builtin_memcpy(tuple.ipv6.saddr, &ip->saddr, 16);
		__builtin_memcpy(tuple.ipv6.daddr, &ip->daddr, 16);
		tuple.ipv6.sport = tcp->source;
		tuple.ipv6.dport = tcp->dest;
		return bpf_skc_lookup_tcp(ctx, &tuple, sizeof(tuple.ipv6), BPF_F_CURRENT_NETNS, 0);
	}

	struct iphdr *ip = data + (pkt->net_off & 31);

	if ((void *)(ip + 1) > data_end)
		return NULL;
	tuple.ipv4.saddr = ip->saddr;
	tuple.ipv4.daddr = ip->daddr;
	tuple.ipv4.sport = tcp->source;
	tuple.ipv4.dport = tcp->dest;
	return bpf_skc_lookup_tcp(ctx, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
}

/* For `status` and `doctor`: where packets come by that no socket here knows. `data` as in lookup_socket(). */
static __always_inline void note_miss(void *data, void *data_end, const struct mps_packet *pkt, __u32 ifindex)
{
	struct tcphdr *tcp = data + (pkt->tcp_off & 255);
	__u32 *found = bpf_map_lookup_elem(&mps_path_index, &ifindex);
	__u32 index = found ? *found & (MPS_MAX_PATHS - 1) : 0;
	struct mps_miss *miss = bpf_map_lookup_elem(&mps_misses, &index);

	if (!miss || (void *)(tcp + 1) > data_end)
		return;
	if (miss->ifindex != ifindex) {
		miss->ifindex = ifindex;
		miss->packets = 0;
	}
	miss->packets++;
	miss->last_ns = bpf_ktime_get_coarse_ns();
	miss->sport = tcp->source;
	miss->dport = tcp->dest;
	miss->is_ipv6 = pkt->is_ipv6;
	if (pkt->is_ipv6) {
		struct ipv6hdr *ip = data + (pkt->net_off & 31);

		if ((void *)(ip + 1) > data_end)
			return;
		__builtin_memcpy(miss->saddr, &ip->saddr, 16);
		__builtin_memcpy(miss->daddr, &ip->daddr, 16);
	} else {
		struct iphdr *ip = data + (pkt->net_off & 31);

		if ((void *)(ip + 1) > data_end)
			return;
		miss->saddr[0] = ip->saddr;
		miss->daddr[0] = ip->daddr;
	}
}

#endif /* MPS_SOCKET_BPF_H */
