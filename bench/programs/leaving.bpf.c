// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the data path's program costs on the way out. BPF_PROG_TEST_RUN gives a packet no MPTCP socket, so the packets are those of real
 * connections; and each of them runs, one after the other and several times each, an empty program, the kernel's socket lookup and ours. So
 * what is compared shares packet, CPU and moment, and of a difference of a nanosecond there are thousands of samples.
 *
 * An edit is made once to a packet, so that row runs each of the three once.
 */
/* The headers bring more than is used of them. */
#pragma clang diagnostic ignored "-Wunused-function"

#include "socket.bpf.h"
#include "leaving.h"

char mps_license[] SEC("license") = "GPL";

#define PASS -1 /* TC_ACT_UNSPEC */

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, LEAVING_SUBJECTS);
	__type(key, __u32);
	__type(value, __u32);
} bench_subjects SEC(".maps");

struct leaving_sample samples[LEAVING_SAMPLES] = {};
__u32 taken = 0;
__u32 lookups_in_vain = 0;

/* As the data path calls a policy: from a subprogram, to which the tail call returns. */
static __noinline int run_subject(struct __sk_buff *skb, __u32 subject)
{
	bpf_tail_call(skb, &bench_subjects, subject);
	return 0;
}

static __always_inline __u32 time_of(struct __sk_buff *skb, __u32 subject, const __u32 runs)
{
	__u64 began_ns = bpf_ktime_get_ns();

#pragma unroll
	for (__u32 i = 0; i < runs; i++)
		run_subject(skb, subject);
	return bpf_ktime_get_ns() - began_ns;
}

static __always_inline struct leaving_sample *next_sample(void)
{
	return &samples[__sync_fetch_and_add(&taken, 1) & (LEAVING_SAMPLES - 1)];
}

SEC("tc") int bench_leaving(struct __sk_buff *skb)
{
	struct leaving_sample one = {};

	if (!skb->sk)
		return PASS;
	one.ns[LEAVING_EMPTY] = time_of(skb, LEAVING_EMPTY, LEAVING_RUNS);
	one.ns[LEAVING_LOOKUP] = time_of(skb, LEAVING_LOOKUP, LEAVING_RUNS);
	one.ns[LEAVING_OURS] = time_of(skb, LEAVING_OURS, LEAVING_RUNS);
	*next_sample() = one;
	return PASS;
}

/* From now on the peer is to be told once more what holds anyway; false if the packet's subflow is not known. */
static __noinline int ask_for_edit(__u64 msk, __u64 ssk)
{
	__u32 token = 0;
	struct mps_peer *peer;

	bpf_core_read(&token, sizeof(token), &((struct mptcp_sock *)msk)->token);
	peer = bpf_map_lookup_elem(&mps_peers, &token);
	if (!peer)
		return 0;
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++) {
		if (peer->conn.sf[i].sk != ssk)
			continue;
		peer->pending = 1u << i;
		peer->want = 0;
		return 1;
	}
	return 0;
}

SEC("tc") int bench_leaving_edited(struct __sk_buff *skb)
{
	struct bpf_sock *sk = stream_socket(skb->sk);
	struct mptcp_sock *msk = sk ? bpf_skc_to_mptcp_sock(sk) : NULL;
	struct leaving_sample one = {};
	__u32 len = skb->len;

	if (!msk)
		return PASS;
	ask_for_edit((__u64)msk, (__u64)bpf_skc_to_tcp_sock(sk));
	one.ns[LEAVING_EMPTY] = time_of(skb, LEAVING_EMPTY, 1);
	one.ns[LEAVING_LOOKUP] = time_of(skb, LEAVING_LOOKUP, 1);
	one.ns[LEAVING_OURS] = time_of(skb, LEAVING_OURS, 1);
	if (skb->len == len + 4)
		*next_sample() = one;
	return PASS;
}

SEC("tc") int bench_leaving_empty(struct __sk_buff *skb)
{
	return PASS;
}

/* Finds the socket that the packet leaves from, as if it was the peer's answer. */
SEC("tc") int bench_leaving_lookup(struct __sk_buff *skb)
{
	struct iphdr *ip = (void *)(long)skb->data + sizeof(struct ethhdr);
	struct tcphdr *tcp = (void *)(ip + 1);
	struct bpf_sock_tuple tuple;
	struct bpf_sock *sk;

	if ((void *)(tcp + 1) > (void *)(long)skb->data_end)
		return PASS;
	tuple.ipv4.saddr = ip->daddr;
	tuple.ipv4.daddr = ip->saddr;
	tuple.ipv4.sport = tcp->dest;
	tuple.ipv4.dport = tcp->source;
	sk = bpf_skc_lookup_tcp(skb, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
	if (sk)
		bpf_sk_release(sk);
	else
		lookups_in_vain++;
	return PASS;
}
