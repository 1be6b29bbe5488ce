// SPDX-License-Identifier: GPL-2.0-only
#include <mps/policy.bpf.h>
#include "deadline.core.h"

MPS_POLICY_WITH(deadline, "deadline",
		"the cheapest paths, costlier ones only while a message would be late (MP-DASH)",
		MPS_POLICY_RX);
