// SPDX-License-Identifier: GPL-2.0-only
#include <mps/policy.bpf.h>
#include "weighted.core.h"

MPS_POLICY_WITH(weighted, "weighted", "shares the bytes by path weight (ATSSS load-balancing)",
		MPS_POLICY_LEVERS | MPS_POLICY_RX);
