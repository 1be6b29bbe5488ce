// SPDX-License-Identifier: GPL-2.0-only
/* A parameter whose greatest value is below its least, and one whose tag is not ours. The kernel would load it. */
#include <mps/policy.bpf.h>
#include "passes.h"

const struct mps_policy_info mps_info SEC(MPS_INFO_SECTION) = {
	.abi = MPS_POLICY_ABI,
	.name = "bad-tag",
	.doc = "parameters that make no sense",
};

struct bad_tag_params {
	__u32 reserved;
	__u32 backwards MPS_TAGGED("mps:5:10:1:ms:its greatest is below its least");
	__u32 wordless MPS_TAGGED("mps:5");
} mps_params SEC(MPS_PARAMS_SECTION) = {.backwards = 5, .wordless = 5};
