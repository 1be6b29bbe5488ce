// SPDX-License-Identifier: GPL-2.0-only
#include <mps/policy.bpf.h>
#include "round-robin.core.h"

MPS_POLICY_WITH(round_robin, "round-robin", "one subflow at a time, the next after each turn", MPS_POLICY_RX);
