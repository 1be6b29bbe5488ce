// SPDX-License-Identifier: GPL-2.0-only
/*
 * The data path taken apart: each program runs one piece of it, made of the data path's own headers, and
 * has a twin that does everything but the piece. The difference is what the piece costs.
 */
/* The headers bring more pieces than are measured one by one. */
#pragma clang diagnostic ignored "-Wunused-function"

#include "kernel.bpf.h"
#include "maps.bpf.h"
#include "parse.bpf.h"
#include "edit.bpf.h"

char mps_license[] SEC("license") = "GPL";

#define TCP_AT (sizeof(struct ethhdr) + sizeof(struct iphdr))

/* Keeps the compiler from dropping a result that nobody reads. */
__u64 sink = 0;

SEC("xdp") int bench_empty(struct xdp_md *ctx)
{
	return XDP_PASS;
}

/* The segment's TCP header in bounds, as the data path has it when it turns to the options. */
static __always_inline struct tcphdr *tcp_header(struct xdp_md *ctx)
{
	struct tcphdr *tcp = (void *)(long)ctx->data + TCP_AT;

	return (void *)(tcp + 1) > (void *)(long)ctx->data_end ? NULL : tcp;
}

SEC("xdp") int bench_options(struct xdp_md *ctx)
{
	struct tcphdr *tcp = tcp_header(ctx);
	struct mps_packet pkt = {};

	if (!tcp)
		return XDP_ABORTED;
	sink = parse_options(tcp, (void *)(long)ctx->data_end, tcp->doff * 4 - sizeof(*tcp), &pkt);
	return XDP_PASS;
}

SEC("xdp") int bench_options_twin(struct xdp_md *ctx)
{
	struct tcphdr *tcp = tcp_header(ctx);

	if (!tcp)
		return XDP_ABORTED;
	sink = tcp->doff * 4 - sizeof(*tcp);
	return XDP_PASS;
}

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, __u64);
} bench_flows SEC(".maps");

/* How many of the keys are looked up in turn: a power of two. */
const volatile __u32 nr_flows = 1;
__u32 turn = 0;

static __always_inline __u32 next_key(void)
{
	/* Odd multiplier: a permutation, so that neighbours in time are far apart in the table. */
	return (turn++ & (nr_flows - 1)) * 2654435761u;
}

SEC("xdp") int bench_hash(struct xdp_md *ctx)
{
	__u32 key = next_key();
	__u64 *found = bpf_map_lookup_elem(&bench_flows, &key);

	if (!found)
		return XDP_ABORTED;
	sink = *found;
	return XDP_PASS;
}

SEC("xdp") int bench_hash_twin(struct xdp_md *ctx)
{
	sink = next_key();
	return XDP_PASS;
}

/*
 * A test run repeats on one buffer, so the packet must have its length again at the end. Moving its start
 * back is enough: the headers are no longer in place then, but nothing here reads them, and what the
 * rewrite costs does not depend on what it writes.
 */
SEC("xdp.frags") int bench_rewrite(struct xdp_md *ctx)
{
	struct mps_packet pkt = {
		.net_off = sizeof(struct ethhdr),
		.tcp_off = TCP_AT,
		.options_len = 24,
	};
	struct mps_plan *plan;

	plan = plan_prio(&pkt, turn++ & 1);
	if (!plan || mps_edit_xdp(ctx, &pkt, plan, 0) != EDIT_DONE)
		return XDP_ABORTED;
	return bpf_xdp_adjust_head(ctx, INSERT_BYTES) ? XDP_ABORTED : XDP_PASS;
}

/* Without the rewrite, but with both moves of the packet's start. */
SEC("xdp.frags") int bench_rewrite_twin(struct xdp_md *ctx)
{
	sink = turn++ & 1;
	if (bpf_xdp_adjust_head(ctx, -INSERT_BYTES))
		return XDP_ABORTED;
	return bpf_xdp_adjust_head(ctx, INSERT_BYTES) ? XDP_ABORTED : XDP_PASS;
}

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} bench_slots SEC(".maps");

/* As the data path calls a policy: from a subprogram, to which the tail call returns. */
static __noinline int call_slot(struct xdp_md *ctx, __u32 slot)
{
	bpf_tail_call(ctx, &bench_slots, slot);
	return 0;
}

SEC("xdp") int bench_tail(struct xdp_md *ctx)
{
	call_slot(ctx, turn & 0);
	return XDP_PASS;
}

SEC("xdp") int bench_tail_target(struct xdp_md *ctx)
{
	return XDP_PASS;
}

/* What the kernel's own parts cost here: nothing that is made of them can be quicker. */
SEC("xdp") int bench_now(struct xdp_md *ctx)
{
	sink = bpf_ktime_get_ns();
	return XDP_PASS;
}

SEC("xdp") int bench_now_coarse(struct xdp_md *ctx)
{
	sink = bpf_ktime_get_coarse_ns();
	return XDP_PASS;
}

SEC("xdp") int bench_array(struct xdp_md *ctx)
{
	__u32 key = turn & (MPS_MAX_PATHS - 1);
	struct mps_path *path = bpf_map_lookup_elem(&mps_paths, &key);

	if (path)
		sink = path->flags;
	return XDP_PASS;
}

SEC("xdp") int bench_percpu(struct xdp_md *ctx)
{
	__u32 zero = 0;
	struct mps_counters *counters = bpf_map_lookup_elem(&mps_counters, &zero);

	if (counters)
		counters->n[0]++;
	return XDP_PASS;
}

SEC("xdp") int bench_socket(struct xdp_md *ctx)
{
	struct tcphdr *tcp = tcp_header(ctx);
	struct iphdr *ip = (void *)(long)ctx->data + sizeof(struct ethhdr);
	struct bpf_sock_tuple tuple;
	struct bpf_sock *sk;

	if (!tcp)
		return XDP_ABORTED;
	tuple.ipv4.saddr = ip->saddr;
	tuple.ipv4.daddr = ip->daddr;
	tuple.ipv4.sport = tcp->source;
	tuple.ipv4.dport = tcp->dest;
	sk = bpf_skc_lookup_tcp(ctx, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
	if (!sk)
		return XDP_ABORTED;
	bpf_sk_release(sk);
	return XDP_PASS;
}
