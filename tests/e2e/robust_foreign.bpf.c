// SPDX-License-Identifier: GPL-2.0-only
/*
 * Programs of somebody else, for the hooks that ours go to. They count what they see, so a test can tell
 * that they run.
 */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

__u64 xdp_packets, tc_packets;

SEC("xdp") int other_xdp(struct xdp_md *ctx) {
    __sync_fetch_and_add(&xdp_packets, 1);
    return XDP_PASS;
}

SEC("tc") int other_tc(struct __sk_buff *ctx) {
    __sync_fetch_and_add(&tc_packets, 1);
    return -1; /* TC_ACT_UNSPEC, TCX_NEXT: go on */
}

char foreign_license[] SEC("license") = "GPL";
