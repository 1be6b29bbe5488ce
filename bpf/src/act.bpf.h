/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * From a verdict to what is done: the packet's own subflow gets an edit, an idle one a wake, and what became of both is
 * counted.
 */
#ifndef MPS_ACT_BPF_H
#define MPS_ACT_BPF_H

#include "maps.bpf.h"
#include "view.bpf.h"
#include "wake.bpf.h"
#include "plan.bpf.h"
#include "edit.bpf.h"

/* Which wakes did what they were for: the kernel's bit tells, not that a packet was handed over. */
__noinline int mps_account_wakes(struct mps_conn *conn, const struct mps_pass *p,
				 struct mps_counters *counters)
{
	if (!conn || !p || !counters)
		return 0;
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++) {
		struct mps_conn_subflow *mine = &conn->sf[i];

		if (!(p->woken >> i & 1))
			continue;
		if ((p->backup >> i & 1) == mine->flip_value) {
			COUNT(counters, WAKE_LANDED);
			if (mine->flip_value)
				COUNT(counters, WAKE_LANDED_BACKUP);
			mine->woken = 0;
		} else if (p->now_ns - mine->flip_ns > WAKE_EXPIRE_NS + WAKE_FLIGHT_NS) {
			COUNT(counters, WAKE_LOST);
			mine->woken = 0;
		}
	}
	return 0;
}

/* `follows`: it comes behind the packet at hand, which is the same subflow's. */
static __always_inline void order_wake(struct mps_conn_subflow *mine, struct mps_counters *counters,
				       const struct mps_pass *p, __u32 backup, __u32 follows)
{
	__u32 index = mine->path & (MPS_MAX_PATHS - 1);
	struct mps_path *path = bpf_map_lookup_elem(&mps_paths, &index);

	if (!path)
		return;

	struct mps_wake_order order = {
		.now_ns = p->now_ns,
		.patience_ns = p->patience_ns,
		.after_seq = p->after_seq,
		.backup = backup,
		.l3 = is_set(path->flags & MPS_PATH_L3),
		.follows = follows,
	};

	if (mps_queue_wake(mine, counters, &order))
		mine->heard_segs++; /* the kernel will count it, too */
}

/* Whether a flip of subflow `i` has to wait or is impossible, with the reason counted. */
static __always_inline bool flip_is_held(const struct mps_conn_subflow *mine, const struct mps_pass *p,
					 struct mps_counters *counters, __u32 i, __u64 dwell_ns)
{
	if (!(p->established >> i & 1)) {
		COUNT(counters, SKIP_JOINING);
		return true;
	}
	if (!p->restore && (p->local_backup >> i & 1)) {
		COUNT(counters, SKIP_LOCAL_BACKUP);
		return true;
	}
	/* The peer's own wish is about to come true with this packet: now or never. */
	if (p->now_ns - mine->flip_ns < dwell_ns && !(p->has_prio && i == p->self)) {
		COUNT(counters, HELD_DWELL);
		return true;
	}
	return false;
}

/*
 * Compares the verdict with the kernel's own bits. Idle subflows get a wake; what the packet's own subflow
 * needs is returned, to be written into the packet. Nothing is done twice within the dwell time, which also
 * covers the packets that passed here but have not been processed by the stack yet.
 */
__noinline int mps_apply_verdict(struct mps_conn *conn, const struct mps_view *view,
				 const struct mps_config *config, struct mps_counters *counters,
				 const struct mps_pass *p)
{
	__u32 want_backup, differ, fresh, ours;
	int want_self = WANT_NOTHING;
	__u64 dwell_ns;

	if (!conn || !view || !config || !counters || !p)
		return WANT_NOTHING;
	conn->allowed = p->restore ? p->seen & ~p->never : p->allowed;
	conn->restored = p->restore;
	/* Neither usable nor stale: it is closing or not yet open. */
	fresh = p->fresh & p->open;
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS && fresh >> i; i++)
		if (fresh >> i & 1)
			conn->sf[i].fresh = 0;
	/* Also what we cannot hear goes back to what the peer asked for: nobody would open it again. */
	ours = p->restore ? p->never : p->steered;
	want_backup = (p->peer_backup & ~ours) | (~p->allowed & ours);
	differ = (want_backup ^ p->backup) & p->open & p->attached;
	/*
	 * A local endpoint's flag cannot be overridden, so it leaves nothing to be done. A subflow that is not yet open
	 * will be, by a packet that must not be missed.
	 */
	conn->settled =
		!((p->restore ? differ : differ & ~p->local_backup) | (p->fresh & ~p->open) | p->unplaced);
	if (!differ)
		return WANT_NOTHING;
	dwell_ns = (__u64)config->dwell_us * 1000;
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++) {
		struct mps_conn_subflow *mine = &conn->sf[i];
		const struct mps_subflow_view *sf = &view->sf[i];
		__u32 want = want_backup >> i & 1, is_new;

		if (!(differ >> i & 1))
			continue;
		if (flip_is_held(mine, p, counters, i, dwell_ns))
			continue;
		if (i == p->self) {
			want_self = want;
			continue;
		}
		/*
		 * One with data in flight has an ACK of its own coming; a forged one would count as a duplicate. But a subflow whose
		 * join was completed while nobody decided gets all that waits until then: one duplicate is the lesser evil.
		 * For a dead one MPTCP would take it for a sign of life.
		 */
		is_new = (p->fresh >> i & 1) & !mine->flip_ns;
		if ((sf->in_flight_segs && !is_new) || !(p->usable >> i & 1) || mine->silent)
			continue;
		order_wake(mine, counters, p, want, 0);
	}
	return want_self;
}

/* What became of the edit of the packet's own subflow. Without room, an idle subflow can still be woken. */
__noinline int mps_account_edit(struct mps_conn *conn, const struct mps_view *view,
				struct mps_counters *counters, const struct mps_pass *p,
				int result_and_backup)
{
	__u32 result = result_and_backup >> 1, backup = result_and_backup & 1;
	struct mps_conn_subflow *mine;

	if (!conn || !view || !counters || !p)
		return 0;
	mine = &conn->sf[p->self & (MPS_SUBFLOW_ROWS - 1)];
	switch (result) {
	case EDIT_DONE:
		COUNT(counters, INSERTED);
		if (backup)
			COUNT(counters, INSERTED_BACKUP);
		if (p->has_prio)
			COUNT(counters, REWRITTEN);
		else if (mine->flip_ns && mine->flip_value == backup)
			COUNT(counters, INSERTED_RETRY);
		note_flip(mine, counters, p->now_ns, backup);
		mine->woken = 0;
		remember_edit(mine, edit_print(p->print, p->has_prio ? p->prio_off : 0, backup, p->place));
		return 0;
	case EDIT_NO_ROOM:
		COUNT(counters, SKIP_ROOM);
		break;
	case EDIT_MTU:
		COUNT(counters, SKIP_MTU);
		break;
	case EDIT_GSO:
		COUNT(counters, SKIP_GSO);
		break;
	default:
		COUNT(counters, EDIT_FAILED);
		return 0;
	}
	if (!view->sf[p->self & (MPS_SUBFLOW_ROWS - 1)].in_flight_segs)
		order_wake(mine, counters, p, backup, 1);
	return 0;
}

/* The subflows that the verdict leaves parked although they could be opened. */
static __always_inline __u32 parked_by_us(const struct mps_pass *p)
{
	__u32 ours = p->restore ? p->never : p->steered;

	return p->open & ours & ~((__u32)p->allowed | p->local_backup);
}

#endif /* MPS_ACT_BPF_H */
