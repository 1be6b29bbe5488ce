// SPDX-License-Identifier: GPL-2.0-only
/* Name and text without their terminating NUL: whoever reads them must not run on. The kernel would load it. */
#include <mps/policy.bpf.h>
#include "passes.h"

const struct mps_policy_info mps_info SEC(MPS_INFO_SECTION) = {
	.abi = MPS_POLICY_ABI,
	.name = {[0 ... MPS_NAME_LEN - 1] = 'n'},
	.doc = {[0 ... MPS_DOC_LEN - 1] = 'd'},
};
