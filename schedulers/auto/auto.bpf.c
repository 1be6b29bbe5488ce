// SPDX-License-Identifier: GPL-2.0-only
#include <mps/policy.bpf.h>
#include "auto.core.h"

MPS_POLICY(auto_policy, "auto", "whatever completes earliest; needs no set-up");
