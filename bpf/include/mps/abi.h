/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* Both contracts: that of policies and that of what is pinned. */
#ifndef MPS_ABI_H
#define MPS_ABI_H

#include <mps/datapath_abi.h>

#endif /* MPS_ABI_H */
