// SPDX-License-Identifier: GPL-2.0-only
#include <mps/policy.bpf.h>
#include "overflow.core.h"

MPS_POLICY_WITH(overflow, "overflow",
		"lowest path priority, the next tier as well while it is full (ATSSS priority-based)",
		MPS_POLICY_RX);
