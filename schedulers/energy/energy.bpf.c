// SPDX-License-Identifier: GPL-2.0-only
#include <mps/policy.bpf.h>
#include "energy.core.h"

MPS_POLICY_WITH(energy, "energy",
		"the set of paths that takes the least energy, by a power model of each radio",
		MPS_POLICY_RX);
