// SPDX-License-Identifier: GPL-2.0-only
#include <mps/policy.bpf.h>
#include "latency-budget.core.h"

MPS_POLICY_WITH(latency_budget, "latency-budget",
		"every path whose round trip stays within a budget, else the quickest", MPS_POLICY_RX);
