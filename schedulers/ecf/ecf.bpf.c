// SPDX-License-Identifier: GPL-2.0-only
#include <mps/policy.bpf.h>
#include "ecf.core.h"

MPS_POLICY(ecf, "ecf",
	   "waits for the quickest subflow when that completes earlier (Earliest Completion First)");
