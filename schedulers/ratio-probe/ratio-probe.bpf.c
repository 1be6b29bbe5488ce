// SPDX-License-Identifier: GPL-2.0-only
#include <mps/policy.bpf.h>
#include "ratio-probe.core.h"

MPS_POLICY_WITH(ratio_probe, "ratio-probe",
		"shares in the ratio that makes the whole fastest, found by trying (MuSher)",
		MPS_POLICY_LEVERS);
