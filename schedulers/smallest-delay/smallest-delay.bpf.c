// SPDX-License-Identifier: GPL-2.0-only
#include <mps/policy.bpf.h>
#include "smallest-delay.core.h"

MPS_POLICY(smallest_delay, "smallest-delay",
	   "least RTT first, further paths only for what it cannot hold (minRTT)");
