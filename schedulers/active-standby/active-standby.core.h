/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * active-standby: use the paths with the lowest priority value; the next tier only while no subflow of the
 * better ones is alive (ATSSS active-standby, with any number of tiers). Within a tier the kernel's own
 * rule shares.
 *
 * Going down a tier is immediate, going back up waits until the better tier has held for `hold_ms`. A tier that was left again soon
 * after traffic had returned to it has to hold four times as long the next time, and so on: a path that flaps slowly would cost two
 * switches for each flap otherwise. What the peer asked to be a backup ranks behind the
 * other subflows of its priority, but before the next one: the operator's priorities override it. A local
 * backup is left to the kernel while anything else works.
 */
#ifndef MPS_ACTIVE_STANDBY_CORE_H
#define MPS_ACTIVE_STANDBY_CORE_H

#include "../common/threshold.core.h"

#define ACTIVE_STANDBY_PARAMS(P)                                                                             \
	P(__u32, hold_ms, 1000, 0, 600000, "ms",                                                             \
	  "how long a better tier must have been alive before traffic returns to it")                        \
	MPS_THRESHOLD_PARAMS(P)
/* A tier that lasted for less than so many times the hold time flaps; it is then waited for up to 4^3 times as long. */
#define ACTIVE_STANDBY_SOON 8
#define ACTIVE_STANDBY_MOST_FLAPS 3
MPS_PARAMS(active_standby, ACTIVE_STANDBY_PARAMS)

struct active_standby_state {
	__u64 better_since_us; /* 0: no better tier is alive */
	__u32 tier;            /* in use, plus 1; 0: none chosen yet */
	__u32 waiting_for;     /* the better tier, plus 1 */
	__u64 returned_us;     /* when traffic last went to a better tier; 0: it never did */
	__u32 flaps;           /* how often in a row that did not last */
	__u32 reserved;
	struct mps_thresholds thresholds;
};

MPS_CORE __u64 active_standby_hold_us(const struct active_standby_params *p,
				      const struct active_standby_state *st)
{
	return (__u64)p->hold_ms * 1000 << (2 * (st->flaps & ACTIVE_STANDBY_MOST_FLAPS));
}

/* The tier in use is lost: did it last? */
MPS_CORE void active_standby_note_loss(const struct mps_view *v, const struct active_standby_params *p,
				       struct active_standby_state *st)
{
	__u64 lasted_us = v->now_us - (st->returned_us & ~1ull);

	if (!st->returned_us || lasted_us >= (__u64)p->hold_ms * 1000 * ACTIVE_STANDBY_SOON)
		st->flaps = 0;
	else if (st->flaps < ACTIVE_STANDBY_MOST_FLAPS)
		st->flaps++;
	st->returned_us = 0;
}

MPS_CORE __u32 active_standby_tier(const struct mps_subflow_view *sf)
{
	__u32 backup = !!(sf->flags & (MPS_SF_PEER_BACKUP | MPS_SF_LOCAL_BACKUP));

	return (sf->priority & 0xffffff) * 2 + backup + 1;
}

MPS_CORE void active_standby_decide(const struct mps_view *v, struct mps_verdict *out,
				    const struct active_standby_params *p, struct active_standby_state *st)
{
	__u32 candidates = mps_candidates(v), best = 0, present = 0;

	candidates =
		mps_within_thresholds(v, out, candidates, &st->thresholds,
				      mps_threshold_limits(p->max_rtt_ms, p->max_loss_permille, p->retry_s));
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++) {
		__u32 tier = active_standby_tier(&v->sf[i]);

		if (!(candidates >> i & 1))
			continue;
		if (!best || tier < best)
			best = tier;
		if (tier == st->tier)
			present = 1;
	}
	if (!st->tier || !present || best > st->tier) {
		if (best > st->tier)
			active_standby_note_loss(v, p, st);
		st->tier = best;
		st->better_since_us = 0;
	} else if (best < st->tier) {
		if (!st->better_since_us || st->waiting_for != best) {
			st->better_since_us = v->now_us | 1;
			st->waiting_for = best;
		}
		if (v->now_us - (st->better_since_us & ~1ull) >= active_standby_hold_us(p, st)) {
			st->tier = best;
			st->better_since_us = 0;
			st->returned_us = v->now_us | 1;
		}
	} else {
		st->better_since_us = 0;
	}
	out->allowed = 0;
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++) {
		__u32 tier = active_standby_tier(&v->sf[i]);

		if (!(candidates >> i & 1))
			continue;
		if (tier == st->tier)
			out->allowed |= 1u << i;
		if (tier < st->tier) /* it is back, and has to last */
			mps_say(out, i, MPS_REASON_HELD);
		else
			mps_say_number(out, i, tier == best ? MPS_REASON_PREFERRED : MPS_REASON_PRIORITY,
				       (__s32)(v->sf[i].priority & 0xffffff));
	}
}

#endif
