// SPDX-License-Identifier: GPL-2.0-only
/* The section .rodata.mps is there but too short for a description. The kernel would load it. */
#include <mps/policy.bpf.h>
#include "passes.h"

const volatile __u32 mps_info SEC(MPS_INFO_SECTION) = MPS_POLICY_ABI;
