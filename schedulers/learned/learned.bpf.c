// SPDX-License-Identifier: GPL-2.0-only
#include <mps/policy.bpf.h>
#include "learned.core.h"

MPS_POLICY(learned, "learned", "finds out whether slower subflows help, by a contextual bandit (Peekaboo)");
