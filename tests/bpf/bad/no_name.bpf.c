// SPDX-License-Identifier: GPL-2.0-only
/* Its description has no name. The kernel would load it. */
#include <mps/policy.bpf.h>
#include "passes.h"

const struct mps_policy_info mps_info SEC(MPS_INFO_SECTION) = {
	.abi = MPS_POLICY_ABI,
	.doc = "has no name",
};
