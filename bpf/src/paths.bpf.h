/* SPDX-License-Identifier: GPL-2.0-only */
/* From a subflow to the attributes of the path that it uses. */
#ifndef MPS_PATHS_BPF_H
#define MPS_PATHS_BPF_H

#include "maps.bpf.h"
#include "view.bpf.h"
#include "meter.bpf.h"
#include "choice.bpf.h"
#include "patience.bpf.h"

/* Microseconds since then, at most 4294967294; 4294967295 if it never was. */
static __always_inline __u32 age_us(__u64 now_ns, __u64 then_ns)
{
	__u64 age_ns = now_ns - then_ns;

	if (!then_ns || age_ns >= 4294967295000ull)
		return 4294967295u;
	/* The usual case without a division: exact for every 32-bit number. */
	return age_ns >> 32 ? age_ns / 1000 : age_ns * 274877907 >> 38;
}

static __always_inline void show_path(struct mps_subflow_view *sf, const struct mps_path *path, __u32 ifindex)
{
	sf->ifindex = ifindex;
	sf->weight = path->weight ? path->weight : 1;
	sf->priority = path->priority;
	sf->cost = path->cost;
	sf->energy_class = path->energy_class;
	sf->quota_left_bytes = MPS_NO_QUOTA;
}

/*
 * Nothing comes back on it, or nothing can. A path is not down on which something arrived since that was said: who says so may have
 * been killed.
 */
static __always_inline __u32 is_dead(const struct mps_conn_subflow *mine, const struct mps_pass *p)
{
	__u32 down = p->paths_down >> (mine->path & (MPS_MAX_PATHS - 1)) & 1;

	return is_set(mine->silent) | (down & (__u32)((mine->seen_ns - p->down_ns) >> 63));
}

/*
 * Path attributes of one subflow, and its bits in the masks of `p`. Global, and the masks in memory: 6.1 takes every
 * number of a program with subprograms for precise (before 6.3), so that what is added up over a loop multiplies
 * the ways through it, and attaching took half a minute of an emulated CPU.
 */
__noinline int mps_add_path(struct mps_conn *conn, struct mps_view *view, struct mps_pass *p, __u32 i,
			    __u32 stale)
{
	__u32 index, flags, is_attached, is_leaving, is_backup, is_fresh, is_steered, dead;
	struct mps_conn_subflow *mine;
	struct mps_subflow_view *sf;
	struct mps_path *path;

	if (!conn || !view || !p)
		return 0;
	i &= MPS_SUBFLOW_ROWS - 1;
	mine = &conn->sf[i];
	sf = &view->sf[i];
	if (mine->silent && mine->silent_acked != acked_digest(sf->bytes_acked))
		mine->silent = 0;
	if (stale) {
		__u32 key = mine->ifindex;
		__u32 *found = bpf_map_lookup_elem(&mps_path_index, &key);

		mine->path = found ? *found : 0;
	}
	index = mine->path & (MPS_MAX_PATHS - 1);
	path = bpf_map_lookup_elem(&mps_paths, &index);
	if (!path)
		return 0;
	show_path(sf, path, mine->ifindex);
	if (path->quota_bytes)
		mps_meter(mine, sf, path);
	flags = path->flags;
	is_attached = is_set(flags & MPS_PATH_ATTACHED);
	is_leaving = is_set(flags & MPS_PATH_LEAVING);
	is_backup = is_set(mine->peer_backup);
	is_fresh = is_set(mine->fresh);
	is_steered = is_attached & ~is_leaving & ~(__u32)mine->deaf;
	dead = is_dead(mine, p);
	sf->flags |= is_steered * MPS_SF_STEERABLE | is_backup * MPS_SF_PEER_BACKUP |
		     is_fresh * MPS_SF_FRESH | dead * MPS_SF_TROUBLED;
	p->troubled |= dead << i;
	p->attached |= is_attached << i;
	p->steered |= is_steered << i;
	p->peer_backup |= is_backup << i;
	p->fresh |= is_fresh << i;
	p->never |= (is_set(flags & MPS_PATH_NEVER) | is_unwanted(p, path, index)) << i;
	sf->last_rcv_age_us = age_us(p->now_ns, mine->seen_ns);
	return 0;
}

/*
 * Subflows of paths with MPS_PATH_NEVER, as long as the connection has another one that is usable and steered, and no backup of this
 * host, which the kernel uses as soon as everything else is parked. To the policy, whatever it is, they are none to choose from; nor is
 * the verdict made safe with them. A subflow in time-outs is there still: after the third in a row MPTCP gives it up and uses backups by
 * itself; then it is not usable any more.
 */
__noinline int mps_settle_never(struct mps_view *view, struct mps_pass *p, __u32 flags)
{
	__u32 never, others;

	if (!view || !p)
		return 0;
	never = flags & MPS_CONFIG_LEAVING ? 0 : p->never & p->steered;
	others = p->usable & p->steered & ~(never | p->local_backup);
	if (!others)
		never = 0;
	p->never = never;
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS && never >> i; i++)
		if (never >> i & 1)
			view->sf[i].flags &= ~MPS_SF_USABLE;
	return 0;
}

/* Path attributes; interfaces are looked up again only after the table of paths has changed. */
__noinline int mps_add_paths(struct mps_conn *conn, struct mps_view *view, const struct mps_config *config,
			     struct mps_pass *p)
{
	__u32 epoch, stale;

	if (!conn || !view || !config || !p)
		return 0;
	epoch = config->path_epoch;
	stale = conn->path_epoch != epoch;
	p->paths_down = config->paths_down;
	p->down_ns = config->down_ns;
	view->message.bytes = 0;
	view->message.deadline_us = 0;
	if (conn->chosen)
		mps_recall_choice(conn, view, p);
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++) {
		__u32 left = *(volatile __u16 *)&p->seen >> i;

		if (!left)
			break;
		if (left & 1)
			mps_add_path(conn, view, p, i, stale);
	}
	conn->path_epoch = epoch;
	if (p->never)
		mps_settle_never(view, p, config->flags);
	return 0;
}

#endif /* MPS_PATHS_BPF_H */
