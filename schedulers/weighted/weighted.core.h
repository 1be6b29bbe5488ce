/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * weighted: shares the bytes among the paths in the ratio of their weights (ATSSS load-balancing).
 *
 * Each path has a virtual time, the bytes its subflows were given divided by its weight. The one furthest
 * behind is always allowed; another is parked, with all its subflows, while it leads by more than
 * `lead_bytes`. The kernel hands out up to 64 KiB at once, so the shares are exact in the long run and off by
 * a few such bursts at any moment. Shares are kept even if that leaves a light path partly idle: the heaviest
 * path relative to its capacity sets the pace.
 */
#ifndef MPS_WEIGHTED_CORE_H
#define MPS_WEIGHTED_CORE_H

#include "../common/paths.core.h"
#include "../common/threshold.core.h"

#define WEIGHTED_PARAMS(P)                                                                                                         \
	P(__u32, lead_bytes, 16384, 1024, 16777216, "bytes",                                                                       \
	  "how far a path may run ahead of its share before it is parked; more means fewer flips and coarser shares")              \
	P(__u32, lowat_bytes, 16384, 0, 16777216, "bytes",                                                                         \
	  "how much may wait unsent in a subflow; less means finer shares that follow a change sooner; 0 leaves it to the kernel") \
	MPS_THRESHOLD_PARAMS(P)
MPS_PARAMS(weighted, WEIGHTED_PARAMS)

/* Virtual time has 20 fractional bits: weights reach 10000, and a small message must still move it by its right amount. */
#define WEIGHTED_SHIFT 20

struct weighted_state {
	__u64 time
		[MPS_SUBFLOW_ROWS]; /* by which its path leads the one furthest behind; the same on all subflows of a path */
	__u32 seen[MPS_SUBFLOW_ROWS]; /* given bytes that are in it, modulo 2^32 */
	__u16 weight[MPS_SUBFLOW_ROWS];
	__u32 running; /* bit i: the account of index i is open */
	__u32 reserved;
	__u64 reopen_us; /* when all accounts open once more; 0: they do not */
	struct mps_thresholds thresholds;
};

/*
 * A subflow that has more than one burst of the kernel unsent when the accounts open was filled before anybody cared for
 * shares. What of it has left after this time is past, and the shares hold from then on; otherwise a light path would fall
 * silent for as long as it takes the others to make up for it.
 */
#define WEIGHTED_BACKLOG_BYTES 65536
#define WEIGHTED_SETTLE_US 100000

/* The accounts of a decision, each at the first subflow of its path. */
struct weighted_accounts {
	__u64 time[MPS_SUBFLOW_ROWS];
	__u32 open;
	__u32 first[MPS_SUBFLOW_ROWS];
};

MPS_CORE __u32 weighted_weight(const struct mps_subflow_view *sf)
{
	return sf->weight ? sf->weight : 1;
}

/*
 * Virtual time of what a subflow was given since it was last looked at. While another CPU processes an ACK the sum can be a
 * little less than it was: then time goes back, and forward again with the next look.
 */
MPS_CORE __u64 weighted_passed(const struct mps_subflow_view *sf, __u32 seen)
{
	__u32 grown = (__u32)mps_given_bytes(sf) - seen, back = grown >> 31;
	__u64 time;

	if (!grown)
		return 0;
	time = ((__u64)(back ? -grown : grown) << WEIGHTED_SHIFT) / weighted_weight(sf);
	return back ? -time : time;
}

MPS_CORE int weighted_before(__u64 one, __u64 other)
{
	return (int)((one - other) >> 63);
}

/* All accounts open together: what waits or is in flight counts, so that the shares hold from now on. */
MPS_CORE_PART __u32 weighted_open(const struct mps_view *v, struct weighted_state *st, __u32 among,
				  __u32 again)
{
	__u32 backlog = 0;

	if (!v || !st)
		return 0;
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++) {
		st->time[i] = 0;
		st->seen[i] = (__u32)v->sf[i].bytes_acked;
		st->weight[i] = (__u16)v->sf[i].weight;
		if ((among >> i & 1) && v->sf[i].notsent_bytes > WEIGHTED_BACKLOG_BYTES)
			backlog = 1;
	}
	st->reopen_us = backlog && !again ? v->now_us + WEIGHTED_SETTLE_US : 0;
	return 0;
}

/* The time of the path furthest behind. */
MPS_CORE __u64 weighted_behind(const struct weighted_accounts *a)
{
	__u64 behind = 0;
	__u32 found = 0;

	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS && a->open >> i; i++) {
		if (!(a->open >> i & 1) || (found && !weighted_before(a->time[i], behind)))
			continue;
		behind = a->time[i];
		found = 1;
	}
	return behind;
}

/* Adds what the subflows with an open account were given to the accounts of their paths; returns the time of the one furthest behind. */
MPS_CORE_PART __u64 weighted_count(const struct mps_view *v, const struct weighted_state *st,
				   struct weighted_accounts *a, __u32 among, __u32 running)
{
	if (!v || !st || !a)
		return 0;
	a->open = 0;
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS && among >> i; i++) {
		__u32 first = i;

		if (!(among >> i & 1))
			continue;
		if (among & ((1u << i) - 1))
			first = mps_row(mps_first_of_path(v, among, i));
		a->first[i] = first;
		if (!(running >> i & 1))
			continue;
		if (!(a->open >> first & 1))
			a->time[first] = st->time[i];
		a->open |= 1u << first;
		a->time[first] += weighted_passed(&v->sf[i], st->seen[i]);
	}
	return weighted_behind(a);
}

/* Which accounts go on: not those of subflows that are new, or were away; none if a weight has changed. */
MPS_CORE_PART __u32 weighted_running(const struct mps_view *v, const struct weighted_state *st, __u32 among)
{
	__u32 running, changed = 0;

	if (!v || !st)
		return 0;
	running = st->running & among;
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS && running >> i; i++) {
		if (v->sf[i].flags & MPS_SF_FRESH)
			running &= ~(1u << i);
		/* New weights speak of what comes, not of what was: all accounts start over. */
		else if ((running >> i & 1) && st->weight[i] != (__u16)v->sf[i].weight)
			changed = 1;
	}
	return changed ? 0 : running;
}

/* Whether a path leads by no more than `lead_bytes` of its own, without a division, which is dear. */
MPS_CORE int weighted_is_level(const struct mps_subflow_view *sf, __u64 time, __u32 lead_bytes)
{
	__u64 most = (__u64)lead_bytes << WEIGHTED_SHIFT;

	return time <= most && time * weighted_weight(sf) <= most;
}

/* For people: at most what a signed number of 32 bits holds. */
MPS_CORE __s32 weighted_lead_bytes(const struct mps_subflow_view *sf, __u64 time)
{
	return (__s32)mps_lesser(time * weighted_weight(sf) >> WEIGHTED_SHIFT & ~(1ull << 63), 0x7fffffff);
}

MPS_CORE void weighted_decide(const struct mps_view *v, struct mps_verdict *out,
			      const struct weighted_params *p, struct weighted_state *st)
{
	__u32 candidates = mps_candidates(v), steered = 0, running, again;
	struct weighted_accounts a = {};
	__u64 behind;

	candidates =
		mps_within_thresholds(v, out, candidates, &st->thresholds,
				      mps_threshold_limits(p->max_rtt_ms, p->max_loss_permille, p->retry_s));

	/*
	 * Nobody can hold back a subflow whose interface is not attached. It has no account: what it carries meanwhile is
	 * nothing that its path would have to make up for once it is attached (again).
	 */
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++)
		steered |= mps_flag(v->sf[i].flags, MPS_SF_STEERABLE) << i;
	steered &= candidates;
	out->allowed = candidates & ~steered;
	running = weighted_running(v, st, steered);
	again = st->reopen_us && v->now_us >= st->reopen_us;
	if (!running || again) {
		weighted_open(v, st, steered, again);
		running = steered;
	}
	behind = weighted_count(v, st, &a, steered, running);
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++) {
		__u32 first = mps_row(a.first[i]);

		if (!(steered >> i & 1))
			continue;
		/*
		 * A new path, and one that returns from an outage, starts level with the one furthest
		 * behind: it owes nothing, and making up for what it missed would starve the others.
		 */
		st->time[i] = a.open >> first & 1 ? a.time[first] - behind : 0;
		st->seen[i] = (__u32)mps_given_bytes(&v->sf[i]);
		st->weight[i] = (__u16)v->sf[i].weight;
		if (weighted_is_level(&v->sf[i], st->time[i], p->lead_bytes))
			out->allowed |= 1u << i;
		else
			mps_say_number(out, i, MPS_REASON_AHEAD_OF_SHARE,
				       weighted_lead_bytes(&v->sf[i], st->time[i]));
	}
	st->running = steered;
	mps_wish_lowat(out, p->lowat_bytes);
}

#endif
