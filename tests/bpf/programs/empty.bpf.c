// SPDX-License-Identifier: GPL-2.0-only
/* Does nothing: what every cost is measured against, and what lends a veth device its XDP queues. And a congested device. */
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

/* On egress: every packet that may be marked as having met congestion is. */
SEC("tc") int congested_tc(struct __sk_buff *skb)
{
	bpf_skb_ecn_set_ce(skb);
	return -1;
}

char mps_license[] SEC("license") = "GPL";
