// SPDX-License-Identifier: GPL-2.0-only
#include <mps/policy.bpf.h>
#include "fixed.core.h"

MPS_POLICY_WITH(fixed, "fixed", "answers what its parameters say", MPS_POLICY_LEVERS);
