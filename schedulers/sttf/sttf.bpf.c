// SPDX-License-Identifier: GPL-2.0-only
#include <mps/policy.bpf.h>
#include "sttf.core.h"

MPS_POLICY(sttf, "sttf", "shortest transfer time first, with windows that grow in slow start (STTF)");
