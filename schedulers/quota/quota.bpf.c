// SPDX-License-Identifier: GPL-2.0-only
#include <mps/policy.bpf.h>
#include "quota.core.h"

MPS_POLICY_WITH(quota, "quota", "as overflow, but no path carries more than its quota in a period",
		MPS_POLICY_RX);
