// SPDX-License-Identifier: GPL-2.0-only
#include "../common/coupled.bpf.h"
#include "lia.core.h"

MPS_COUPLED(lia, mps_reno_left)
