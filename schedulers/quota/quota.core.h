/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * quota: as overflow, but a path that has carried its quota of this period is used only when nothing else is
 * alive.
 *
 * How much a path may still carry is counted by the data path, over all connections. A path counts as
 * exhausted while less is left than the kernel may hand to its subflow before the next decision: that is a
 * burst, for which `reserve_bytes` stands. Several connections decide one after another, each on
 * what the others have left, but all of them may have a burst under way at once.
 */
#ifndef MPS_QUOTA_CORE_H
#define MPS_QUOTA_CORE_H

#include "../overflow/overflow.core.h"

#define QUOTA_PARAMS(P)                                                                                      \
	OVERFLOW_PARAMS(P)                                                                                   \
	P(__u32, reserve_bytes, 65536, 0, 1073741824, "bytes",                                               \
	  "a path with less than that left of its quota is not used; covers what is handed out between two decisions")
MPS_PARAMS(quota, QUOTA_PARAMS)

struct quota_state {
	struct overflow_state overflow;
};

/* The subflows of `among` whose path may still carry more than the reserve. */
MPS_CORE_PART __u32 quota_within(const struct mps_view *v, __u32 among, __u32 reserve_bytes)
{
	__u32 mask = 0;

	if (!v)
		return 0;
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++)
		mask |= (__u32)(v->sf[i].quota_left_bytes > reserve_bytes) << i;
	return mask & among;
}

MPS_CORE void quota_decide(const struct mps_view *v, struct mps_verdict *out, const struct quota_params *p,
			   struct quota_state *st)
{
	struct overflow_params tiers = {
		.reserved = 0, .full_ms = p->full_ms, .full_rtts = p->full_rtts, .calm_ms = p->calm_ms};
	__u32 candidates = mps_candidates(v), within = quota_within(v, candidates, p->reserve_bytes);

	/* A connection that stands still helps nobody: what is alive is used, and counted. */
	out->allowed = overflow_among(v, within ? within : candidates, &tiers, &st->overflow);
}

#endif
