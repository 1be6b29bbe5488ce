// SPDX-License-Identifier: GPL-2.0-only
#include "../common/coupled.bpf.h"
#include "olia.core.h"

MPS_COUPLED(olia, mps_reno_left)
