// SPDX-License-Identifier: GPL-2.0-only
/* Has no section .rodata.mps. The kernel would load it. */
#include <mps/policy.bpf.h>
#include "passes.h"
