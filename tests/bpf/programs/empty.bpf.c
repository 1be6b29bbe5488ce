// SPDX-License-Identifier: GPL-2.0-only
/* Does nothing: what every cost is measured against, and what lends a veth device its XDP queues. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp") int empty_xdp(struct xdp_md *ctx)
{
	return XDP_PASS;
}

SEC("tc") int empty_tc(struct __sk_buff *skb)
{
	return -1; /* TC_ACT_UNSPEC */
}

char mps_license[] SEC("license") = "GPL";
