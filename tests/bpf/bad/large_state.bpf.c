// SPDX-License-Identifier: GPL-2.0-only
/* Says that it needs more memory for a connection than there is. The kernel would load it. */
#include <mps/policy.bpf.h>
#include "passes.h"

const struct mps_policy_info mps_info SEC(MPS_INFO_SECTION) = {
	.abi = MPS_POLICY_ABI,
	.state_bytes = sizeof(struct mps_state) + 8,
	.name = "large-state",
	.doc = "needs more state than a connection has",
};
