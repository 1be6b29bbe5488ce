// SPDX-License-Identifier: GPL-2.0-only
#include <mps/policy.bpf.h>
#include "active-standby.core.h"

MPS_POLICY_WITH(active_standby, "active-standby",
		"lowest path priority that is alive, the next tier otherwise (ATSSS active-standby)",
		MPS_POLICY_RX);
