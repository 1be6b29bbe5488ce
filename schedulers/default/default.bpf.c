// SPDX-License-Identifier: GPL-2.0-only
#include <mps/policy.bpf.h>
#include "default.core.h"

MPS_POLICY(default_policy, "default",
	   "pass-through: the kernel's own rule, with the backups the peers asked for");
