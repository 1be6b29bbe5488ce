/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Time alone must be able to decide. A subflow is parked in favour of another, and then that one is not met any more: its device
 * is replaced, its answers come back another way, it dies without a word. No packet of the connection asks for a decision, and the
 * parked subflow would stay so for good. So a connection with a parked subflow is looked at again every second, by
 * a timer. That cannot send anything, but it can queue a wake, and the next IP packet at TC ingress of any attached interface, of
 * whatever connection or protocol, carries it. Where no packet comes, a process lends one: `attach --follow`, and every
 * command that changes something.
 *
 * It does not ask the policy, which is a program of another type. It holds the last verdict against what the kernel says
 * now, as is done with every verdict: when nothing is left in it that can be used and heard, everything is opened, and the first packet
 * after that is decided on as ever.
 */
#ifndef MPS_WATCH_BPF_H
#define MPS_WATCH_BPF_H

#include "maps.bpf.h"
#include "view.bpf.h"
#include "paths.bpf.h"
#include "policy.bpf.h"
#include "act.bpf.h"

#define WATCH_NS (1000 * 1000 * 1000ull)
/* A wake waits for a packet almost until the next one is queued in its place. */
#define WATCH_PATIENCE_NS (WATCH_NS - WAKE_EXPIRE_NS - 50 * 1000 * 1000ull)
#define CLOCK_MONOTONIC 1

struct mps_watch {
	struct bpf_timer timer;
	__u64 write_seq; /* of the connection when it was last looked at */
};

/* Connections of which a subflow is parked, by token. One that finds no room is tried again at its next decision. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct mps_watch);
} mps_watches SEC(".maps");

static __noinline int view_by_time(struct mps_conn *conn, struct mps_view *view, struct mps_pass *p)
{
	struct mptcp_sock *msk = (struct mptcp_sock *)conn->msk;
	struct mps_walk walk = {
		.view = view,
		.conn = conn,
		.pass = p,
		.msk = msk,
	};

	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++)
		view->sf[i].flags = 0;
	return mps_rdonly_cast ? walk_subflows_fast(&walk, &msk->conn_list)
			       : walk_subflows_probing(&walk, &msk->conn_list);
}

/*
 * Holds the last verdict of a connection against what the kernel says now, without a packet. Returns whether there is something
 * to watch still.
 */
__noinline int mps_look_again(struct mps_conn *conn, __u64 now_ns)
{
	struct mps_counters *counters = get_counters();
	struct mps_scratch *scratch = get_scratch();
	struct mps_config *config = get_config();
	struct mps_pass *p = get_pass(0);

	if (!conn || !scratch || !config || !counters || !p)
		return 0;
	if (config->flags & MPS_CONFIG_LEAVING ||
	    (conn->slot == MPS_SLOT_NONE && !(config->flags & MPS_CONFIG_NEVER) && !conn->chosen))
		return 0;
	p->now_ns = now_ns;
	p->self = MPS_MAX_SUBFLOWS;
	p->patience_ns = WATCH_PATIENCE_NS;
	if (!view_by_time(conn, &scratch->view, p))
		return 1;
	if (p->woken)
		mps_account_wakes(conn, p, counters);
	mps_add_paths(conn, &scratch->view, config, p);
	p->restore = conn->restored;
	scratch->verdict.allowed = conn->allowed;
	p->allowed = p->restore ? 0 : safe_verdict(scratch, p, counters);
	mps_apply_verdict(conn, &scratch->view, config, counters, p);
	return parked_by_us(p) || !conn->settled;
}

/* The kernel takes the token off a connection that ends. */
static __always_inline bool is_alive(const struct mps_conn *conn, __u32 token)
{
	struct mptcp_sock *msk = (struct mptcp_sock *)conn->msk;

	return READ(msk, token, false) == token;
}

static int watch_expired(void *map MPS_UNUSED, __u32 *token, struct mps_watch *watch)
{
	struct mps_conn *conn = bpf_map_lookup_elem(&mps_conns, token);
	__u64 now_ns = bpf_ktime_get_ns(), write_seq, snd_una;
	struct mptcp_sock *msk;
	int again = 1;

	if (conn) {
		msk = (struct mptcp_sock *)conn->msk;
		again = is_alive(conn, *token);
		write_seq = READ(msk, write_seq, false);
		snd_una = READ(msk, snd_una, false);
		/* Else there are packets that ask, or nothing is sent. */
		if (again && now_ns - conn->decided_ns > WATCH_NS &&
		    (write_seq != watch->write_seq || write_seq != snd_una))
			again = mps_look_again(conn, now_ns);
		watch->write_seq = write_seq;
	}
	if (conn && again) {
		bpf_timer_start(&watch->timer, WATCH_NS, 0);
		return 0;
	}
	if (conn)
		conn->watched = 0;
	bpf_map_delete_elem(&mps_watches, token);
	return 0;
}

/* Global: reached from every decision. */
__noinline int mps_start_watch(__u32 token)
{
	struct mps_watch blank = {}, *watch;

	bpf_map_update_elem(&mps_watches, &token, &blank, BPF_NOEXIST);
	watch = bpf_map_lookup_elem(&mps_watches, &token);
	if (!watch)
		return 0;
	/* Of another CPU a moment ago. */
	if (bpf_timer_init(&watch->timer, &mps_watches, CLOCK_MONOTONIC))
		return 1;
	bpf_timer_set_callback(&watch->timer, watch_expired);
	return !bpf_timer_start(&watch->timer, WATCH_NS, 0);
}

#endif /* MPS_WATCH_BPF_H */
