/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tiers: subflows by the priority of their path; what peer or local endpoint asked to be a backup ranks
 * behind the others of its priority. Numbers start at 1, so 0 can stand for "none". The searches are parts of
 * their own, without a branch that is not needed: inline they exceed the verifier's budget.
 */
#ifndef MPS_TIERS_CORE_H
#define MPS_TIERS_CORE_H

#include <mps/core.h>

MPS_CORE __u32 mps_tier(const struct mps_subflow_view *sf)
{
	__u32 backup = sf->flags & (MPS_SF_PEER_BACKUP | MPS_SF_LOCAL_BACKUP);

	return (sf->priority & 0xffffff) * 2 + ((backup | -backup) >> 31) + 1;
}

/* The least tier above `tier` that has a subflow in `among`, 0 if there is none. */
MPS_CORE_PART __u32 mps_tier_above(const struct mps_view *v, __u32 among, __u32 tier)
{
	__u64 least = ~0u;

	if (!v)
		return 0;
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++) {
		__u64 one = mps_tier(&v->sf[i]), counts = (among >> i & 1) & mps_is_less(tier, one);

		least = mps_lesser(one | (counts - 1) >> 32, least);
	}
	return least < ~0u ? (__u32)least : 0;
}

/* The greatest tier below `tier` that has a subflow in `among`, 0 if there is none. */
MPS_CORE_PART __u32 mps_tier_below(const struct mps_view *v, __u32 among, __u32 tier)
{
	__u64 greatest = 0;

	if (!v)
		return 0;
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++) {
		__u64 one = mps_tier(&v->sf[i]), counts = (among >> i & 1) & mps_is_less(one, tier);

		one &= -counts;
		greatest = one + greatest - mps_lesser(one, greatest);
	}
	return (__u32)greatest;
}

/* The subflows of `among` in tiers up to and including `tier`. */
MPS_CORE_PART __u32 mps_tiers_up_to(const struct mps_view *v, __u32 among, __u32 tier)
{
	__u32 mask = 0;

	if (!v)
		return 0;
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++)
		mask |= (__u32)(mps_tier(&v->sf[i]) <= tier) << i;
	return mask & among;
}

/* The subflows of `among` that have one of these flags. */
MPS_CORE_PART __u32 mps_flagged(const struct mps_view *v, __u32 among, __u32 flags)
{
	__u32 mask = 0;

	if (!v)
		return 0;
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++)
		mask |= (__u32) !!(v->sf[i].flags & flags) << i;
	return mask & among;
}

#endif
