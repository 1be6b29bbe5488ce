// SPDX-License-Identifier: GPL-2.0-only
/* Own glue that forgets that a lookup may fail. Verifier: "invalid mem access 'map_value_or_null'". */
#include <mps/policy.bpf.h>

const struct mps_policy_info mps_info SEC(MPS_INFO_SECTION) = {
	.abi = MPS_POLICY_ABI,
	.name = "null-scratch",
	.doc = "does not check a pointer",
};

SEC("xdp.frags") int mps_policy_xdp(struct xdp_md *ctx)
{
	__u32 key = ctx->rx_queue_index; /* newer kernels know that a constant key in range is found */
	struct mps_scratch *s = bpf_map_lookup_elem(&mps_scratch, &key);

	s->decided = 1;
	return XDP_PASS;
}

SEC("tc") int mps_policy_tc(struct __sk_buff *ctx MPS_UNUSED)
{
	return -1;
}

char mps_license[] SEC("license") = "GPL";
