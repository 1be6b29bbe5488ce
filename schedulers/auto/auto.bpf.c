// SPDX-License-Identifier: GPL-2.0-only
#include <mps/policy.bpf.h>
#include "auto.core.h"

MPS_POLICY_WITH(auto_policy, "auto", "whatever completes earliest; needs no set-up",
		MPS_POLICY_LEVERS | MPS_POLICY_RX);
