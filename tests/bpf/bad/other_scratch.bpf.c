// SPDX-License-Identifier: GPL-2.0-only
/* Its mps_scratch has another size than the data path's, which is to replace it. The kernel would load it alone. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <mps/core.h>

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} mps_scratch SEC(".maps");

#include "passes.h"

const struct mps_policy_info mps_info SEC(MPS_INFO_SECTION) = {
	.abi = MPS_POLICY_ABI,
	.name = "other-scratch",
	.doc = "has a work area of its own size",
};
