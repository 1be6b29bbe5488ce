// SPDX-License-Identifier: GPL-2.0-only
/* The built-in policy `weighted` of that time, under a name that is free. */
#include "weighted.core.h"
#include <mps/policy.bpf.h>

MPS_POLICY_WITH(weighted, "shares", "as weighted was when the policy ABI was 4.0", MPS_POLICY_LEVERS);
