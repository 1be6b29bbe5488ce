/* SPDX-License-Identifier: GPL-2.0-only */
/* From a subflow to the attributes of the path that it uses. */
#ifndef MPS_PATHS_BPF_H
#define MPS_PATHS_BPF_H

#include "maps.bpf.h"
#include "view.bpf.h"
#include "meter.bpf.h"

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
 * Path attributes of one subflow, and its bits in the masks of `p`. Global, and the masks in memory: 6.1 takes every
 * number of a program with subprograms for precise (before 6.3), so that what is added up over a loop multiplies
 * the ways through it, and attaching took half a minute of an emulated CPU.
 */
__noinline int mps_add_path(struct mps_conn *conn, struct mps_view *view, struct mps_pass *p, __u32 i,
			    __u32 stale)
{
	__u32 index, flags, is_attached, is_leaving, is_backup, is_fresh, is_steered;
	struct mps_conn_subflow *mine;
	struct mps_subflow_view *sf;
	struct mps_path *path;

	if (!conn || !view || !p)
		return 0;
	i &= MPS_SUBFLOW_ROWS - 1;
	mine = &conn->sf[i];
	sf = &view->sf[i];
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
	sf->flags |= is_steered * MPS_SF_STEERABLE | is_backup * MPS_SF_PEER_BACKUP | is_fresh * MPS_SF_FRESH;
	p->attached |= is_attached << i;
	p->steered |= is_steered << i;
	p->peer_backup |= is_backup << i;
	p->fresh |= is_fresh << i;
	sf->last_rcv_age_us = age_us(p->now_ns, mine->seen_ns);
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
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++) {
		__u32 left = *(volatile __u16 *)&p->seen >> i;

		if (!left)
			break;
		if (left & 1)
			mps_add_path(conn, view, p, i, stale);
	}
	conn->path_epoch = epoch;
	return 0;
}

#endif /* MPS_PATHS_BPF_H */
