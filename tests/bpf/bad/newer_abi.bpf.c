// SPDX-License-Identifier: GPL-2.0-only
/* Built for a later minor version of the contract, so it may use what this one does not have. */
#include <mps/policy.bpf.h>
#include "passes.h"

const struct mps_policy_info mps_info SEC(MPS_INFO_SECTION) = {
	.abi = MPS_POLICY_ABI + (1 << 16),
	.name = "newer-abi",
	.doc = "built for a later policy ABI",
};
