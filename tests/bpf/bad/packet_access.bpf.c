// SPDX-License-Identifier: GPL-2.0-only
/* Touches the packet without a bounds check. Verifier: "invalid access to packet". */
#include <mps/policy.bpf.h>

const struct mps_policy_info mps_info SEC(MPS_INFO_SECTION) = {
	.abi = MPS_POLICY_ABI,
	.name = "packet-access",
	.doc = "reads the packet without a check",
};

SEC("xdp.frags") int mps_policy_xdp(struct xdp_md *ctx)
{
	return *(__u8 *)(long)ctx->data == 0 ? XDP_DROP : XDP_PASS;
}

SEC("tc") int mps_policy_tc(struct __sk_buff *ctx MPS_UNUSED)
{
	return -1;
}

char mps_license[] SEC("license") = "GPL";
