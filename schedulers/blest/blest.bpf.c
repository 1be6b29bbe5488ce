// SPDX-License-Identifier: GPL-2.0-only
#include <mps/policy.bpf.h>
#include "blest.core.h"

MPS_POLICY(blest, "blest", "skips a slower subflow that would block the send window (Blocking Estimation)");
