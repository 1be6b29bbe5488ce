// SPDX-License-Identifier: GPL-2.0-only
/* Built for another major version of the contract. The kernel would load it; only its description tells. */
#include <mps/policy.bpf.h>
#include "passes.h"

const struct mps_policy_info mps_info SEC(MPS_INFO_SECTION) = {
	.abi = MPS_POLICY_ABI + 1,
	.name = "wrong-abi",
	.doc = "built for another policy ABI",
};
