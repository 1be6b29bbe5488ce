/* SPDX-License-Identifier: GPL-2.0-only */
/* The programs of objects that only their description makes bad. */
#ifndef MPS_TEST_PASSES_H
#define MPS_TEST_PASSES_H

static __attribute__((always_inline)) inline void touch_scratch(void)
{
	__u32 zero = 0;
	void *s = bpf_map_lookup_elem(&mps_scratch, &zero);

	if (s)
		*(__u32 *)s = 1; /* decided */
}

SEC("xdp.frags") int mps_policy_xdp(struct xdp_md *ctx MPS_UNUSED)
{
	touch_scratch();
	return XDP_PASS;
}

#ifndef MPS_BAD_WITHOUT_TC
SEC("tc") int mps_policy_tc(struct __sk_buff *ctx MPS_UNUSED)
{
	touch_scratch();
	return -1;
}
#endif

char mps_license[] SEC("license") = "GPL";

#endif /* MPS_TEST_PASSES_H */
