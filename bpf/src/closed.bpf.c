/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What subflows had carried when they ended, summed up for each interface: for whoever looks at sockets now and then, and would not know what one
 * that is gone has carried since the last look. Attached only as long as somebody looks.
 */
#include <stdbool.h>
#include <mps/closed_abi.h>
#include "kernel.bpf.h"
#include <bpf/bpf_tracing.h>
#include "socket_netns.bpf.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MPS_CLOSED_INTERFACES);
	__type(key, __u32); /* of the interface */
	__type(value, __u64[MPS_CLOSED_SUMS]);
} mps_closed SEC(".maps");

SEC("tp_btf/tcp_destroy_sock") int BPF_PROG(mps_at_close, struct sock *sk)
{
	struct tcp_sock *tp = (void *)sk;
	__u64 none[MPS_CLOSED_SUMS] = {}, *sums;
	__u32 ifindex;

	if (!BPF_CORE_READ(tp, is_mptcp) || !is_of_this_netns(sk))
		return 0;
	ifindex = socket_ifindex(sk);
	if (!ifindex)
		return 0;
	sums = bpf_map_lookup_elem(&mps_closed, &ifindex);
	if (!sums) {
		bpf_map_update_elem(&mps_closed, &ifindex, none, BPF_NOEXIST);
		sums = bpf_map_lookup_elem(&mps_closed, &ifindex);
	}
	if (!sums)
		return 0;
	__sync_fetch_and_add(&sums[MPS_CLOSED_SENT], BPF_CORE_READ(tp, bytes_acked));
	__sync_fetch_and_add(&sums[MPS_CLOSED_RECEIVED], BPF_CORE_READ(tp, bytes_received));
	return 0;
}

char _license[] SEC("license") = "GPL";
