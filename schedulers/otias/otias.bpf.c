// SPDX-License-Identifier: GPL-2.0-only
#include <mps/policy.bpf.h>
#include "otias.core.h"

MPS_POLICY(otias, "otias",
	   "each burst where it would arrive first (Out-of-order Transmission for In-order Arrival)");
