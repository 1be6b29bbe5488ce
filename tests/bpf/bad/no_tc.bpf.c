// SPDX-License-Identifier: GPL-2.0-only
/* Lacks mps_policy_tc. The kernel would load it; interfaces in mode tc would run no policy. */
#include <mps/policy.bpf.h>
#define MPS_BAD_WITHOUT_TC
#include "passes.h"

const struct mps_policy_info mps_info SEC(MPS_INFO_SECTION) = {
	.abi = MPS_POLICY_ABI,
	.name = "no-tc",
	.doc = "lacks one of its two programs",
};
