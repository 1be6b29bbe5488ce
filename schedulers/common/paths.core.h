/* SPDX-License-Identifier: GPL-2.0-only */
/* Subflows by path: several may share one, as in a full mesh of addresses, and what is told of a path is told of all of them. */
#ifndef MPS_PATHS_CORE_H
#define MPS_PATHS_CORE_H

#include <mps/core.h>

/* The first of `among` on the path of the subflow at `index`, which is one of them: what belongs to the path is kept there. */
MPS_CORE_PART __u32 mps_first_of_path(const struct mps_view *v, __u32 among, __u32 index)
{
	if (!v)
		return 0;
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++)
		if ((among >> i & 1) && v->sf[i].ifindex == mps_at(v, index)->ifindex)
			return i;
	return index;
}

#endif
