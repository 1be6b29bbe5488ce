// SPDX-License-Identifier: GPL-2.0-only
/* Built against another version of abi.h. The kernel would load it; only its description tells. */
#include <mps/policy.bpf.h>
#include "passes.h"

const struct mps_policy_info mps_info SEC(MPS_INFO_SECTION) = {
	.abi = MPS_ABI_VERSION + 1,
	.name = "wrong-abi",
	.doc = "built against another abi.h",
};
