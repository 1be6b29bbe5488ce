// SPDX-License-Identifier: GPL-2.0-only
/*
 * The data path: parse → is it TCP of an MPTCP socket here? → view → the connection's policy → act → pass.
 *
 * It decides at every packet that arrives for an MPTCP connection with several subflows, because the stack
 * pushes new data right after it has processed an ACK: the MP_PRIO we write into that ACK takes effect
 * before that push. Packets that are not MPTCP pay for parsing, those that are for a socket lookup
 * and a walk over the subflows as well (see `./run bench`). It never drops, and whatever it cannot do
 * it counts and leaves alone.
 */
#include "kernel.bpf.h"
#include "maps.bpf.h"
#include "parse.bpf.h"
#include "believe.bpf.h"
#include "view.bpf.h"
#include "places.bpf.h"
#include "rules.bpf.h"
#include "meter.bpf.h"
#include "wake.bpf.h"
#include "edit.bpf.h"
#include "levers.bpf.h"
#include "netns.bpf.h"
#include "vrf.bpf.h"
#include "watch.bpf.h"

char mps_license[] SEC("license") = "GPL";

enum mps_want {
	WANT_NOTHING = -1,
	WANT_ACTIVE = 0,
	WANT_BACKUP = 1,
};

/*
 * The policy returns here when it is done: a tail call in a subprogram replaces only that subprogram's
 * frame. The verifier and the compiler both take the value below for the call's result, so the answer comes
 * through the scratch map instead.
 */
static __noinline int run_xdp_policy(struct xdp_md *ctx, __u32 slot)
{
	bpf_tail_call(ctx, &mps_xdp_slots, slot);
	return 0;
}

static __noinline int run_tc_policy(struct __sk_buff *ctx, __u32 slot)
{
	bpf_tail_call(ctx, &mps_tc_slots, slot);
	return 0;
}

static __always_inline struct bpf_sock *lookup_socket(void *ctx, void *data, void *data_end,
						      const struct mps_packet *pkt)
{
	struct bpf_sock_tuple tuple;
	struct tcphdr *tcp = data + (pkt->tcp_off & 255);

	if ((void *)(tcp + 1) > data_end)
		return NULL;
	if (pkt->is_ipv6) {
		struct ipv6hdr *ip = data + (pkt->net_off & 31);

		if ((void *)(ip + 1) > data_end)
			return NULL;
		__builtin_memcpy(tuple.ipv6.saddr, &ip->saddr, 16);
		__builtin_memcpy(tuple.ipv6.daddr, &ip->daddr, 16);
		tuple.ipv6.sport = tcp->source;
		tuple.ipv6.dport = tcp->dest;
		return bpf_skc_lookup_tcp(ctx, &tuple, sizeof(tuple.ipv6), BPF_F_CURRENT_NETNS, 0);
	}

	struct iphdr *ip = data + (pkt->net_off & 31);

	if ((void *)(ip + 1) > data_end)
		return NULL;
	tuple.ipv4.saddr = ip->saddr;
	tuple.ipv4.daddr = ip->daddr;
	tuple.ipv4.sport = tcp->source;
	tuple.ipv4.dport = tcp->dest;
	return bpf_skc_lookup_tcp(ctx, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
}

/* For `status` and `doctor`: where packets come by that no socket here knows. `data` as in lookup_socket(). */
static __always_inline void note_miss(void *data, void *data_end, const struct mps_packet *pkt, __u32 ifindex)
{
	struct tcphdr *tcp = data + (pkt->tcp_off & 255);
	__u32 *found = bpf_map_lookup_elem(&mps_path_index, &ifindex);
	__u32 index = found ? *found & (MPS_MAX_PATHS - 1) : 0;
	struct mps_miss *miss = bpf_map_lookup_elem(&mps_misses, &index);

	if (!miss || (void *)(tcp + 1) > data_end)
		return;
	if (miss->ifindex != ifindex) {
		miss->ifindex = ifindex;
		miss->packets = 0;
	}
	miss->packets++;
	miss->last_ns = bpf_ktime_get_coarse_ns();
	miss->sport = tcp->source;
	miss->dport = tcp->dest;
	miss->is_ipv6 = pkt->is_ipv6;
	if (pkt->is_ipv6) {
		struct ipv6hdr *ip = data + (pkt->net_off & 31);

		if ((void *)(ip + 1) > data_end)
			return;
		__builtin_memcpy(miss->saddr, &ip->saddr, 16);
		__builtin_memcpy(miss->daddr, &ip->daddr, 16);
	} else {
		struct iphdr *ip = data + (pkt->net_off & 31);

		if ((void *)(ip + 1) > data_end)
			return;
		miss->saddr[0] = ip->saddr;
		miss->daddr[0] = ip->daddr;
	}
}

/* What is remembered of the connection, or a blank record for one not seen before. */
static __always_inline struct mps_conn *find_conn(struct mps_counters *counters, struct mptcp_sock *msk)
{
	__u32 zero = 0, token = msk->token;
	struct mps_conn *conn = bpf_map_lookup_elem(&mps_conns, &token);
	struct mps_conn *blank;

	if (conn && conn->msk == (__u64)msk)
		return conn;
	if (conn && conn->msk) {
		/* A record of this token that belongs to a connection which is gone. */
		blank = bpf_map_lookup_elem(&mps_blank_conn, &zero);
		if (!blank || bpf_map_update_elem(&mps_conns, &token, blank, BPF_ANY))
			return NULL;
		COUNT(counters, CONN_NEW);
	} else if (!conn) {
		mps_make_record(token, counters);
	}
	conn = bpf_map_lookup_elem(&mps_conns, &token);
	if (conn)
		conn->msk = (__u64)msk;
	return conn;
}

/* The connection follows the present choice of policies; a refilled slot is another policy too. */
__noinline int mps_follow_choice(struct mps_conn *conn, const struct mps_config *config,
				 struct mps_counters *counters, __u32 ifindex)
{
	__u32 epoch, slot, serial;
	__u64 choice;

	if (!conn || !config || !counters)
		return 0;
	choice = *(volatile __u64 *)&config->choice; /* one load: epoch and slot belong together */
	epoch = choice >> 32;
	slot = conn->slot;
	if (conn->rule_epoch != epoch) {
		slot = mps_choose_slot(conn->msk, config->nr_rules, (__u32)choice, ifindex);
		conn->rule_epoch = epoch;
	}
	slot &= MPS_MAX_SLOTS - 1;
	serial = config->slot_serial[slot];
	if (slot == conn->slot && serial == conn->slot_serial)
		return 0;
	for (__u32 i = 0; i < MPS_STATE_WORDS; i++)
		conn->state.word[i] = 0;
	conn->kept_words = 0; /* the policy has not told yet */
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++)
		conn->sf[i].fresh = 1;
	conn->slot = slot;
	conn->slot_serial = serial;
	COUNT(counters, SWITCHED);
	return 0;
}

/* Microseconds since then, at most 4294967294; 4294967295 if it never was. */
static __always_inline __u32 age_us(__u64 now_ns, __u64 then_ns)
{
	__u64 age_ns = now_ns - then_ns;

	if (!then_ns || age_ns >= 4294967295000ull)
		return 4294967295u;
	/* The usual case without a division: exact for every 32-bit number. */
	return age_ns >> 32 ? age_ns / 1000 : age_ns * 274877907 >> 38;
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
	sf->ifindex = mine->ifindex;
	sf->weight = path->weight ? path->weight : 1;
	sf->priority = path->priority;
	sf->cost = path->cost;
	sf->energy_class = path->energy_class;
	sf->quota_left_bytes = MPS_NO_QUOTA;
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

/*
 * Subflows that are no longer in the kernel's list make room at their index. Also where the list is too long to be read to
 * its end: the kernel adds behind, so one that we know never moves out of what we read.
 */
__noinline int mps_forget_gone(struct mps_conn *conn, __u32 seen)
{
	if (!conn)
		return 0;
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++)
		if (!(seen >> i & 1))
			conn->sf[i].sk = 0;
	conn->known = seen;
	return 0;
}

/*
 * Devices are stacked, and more than one of a stack may be attached: then the packet is going to be seen there as well. The
 * one that the socket takes it for decides, so that it is decided on once and by one path's attributes.
 */
__noinline int mps_belongs_above(const struct mps_conn_subflow *mine, __u32 ifindex)
{
	__u32 above, *index;
	struct mps_path *path;

	if (!mine || mine->ifindex == ifindex)
		return 0;
	above = socket_rx_ifindex((struct sock *)mine->sk);
	if (above != mine->ifindex)
		return 0;
	index = bpf_map_lookup_elem(&mps_path_index, &above);
	if (!index)
		return 0;
	path = bpf_map_lookup_elem(&mps_paths, index);
	return path && path->flags & MPS_PATH_ATTACHED;
}

/*
 * The packet's own subflow was seen here and now, with these VLAN tags and perhaps a wish of the peer, which the stack is
 * about to fulfil.
 */
static __always_inline void note_arrival(struct mps_conn *conn, const struct mps_packet *pkt,
					 struct mps_pass *p, struct mps_counters *counters)
{
	struct mps_conn_subflow *mine = &conn->sf[p->self & (MPS_SUBFLOW_ROWS - 1)];

	if (p->self >= MPS_MAX_SUBFLOWS)
		return;
	if (mine->ifindex != p->ifindex) {
		mine->ifindex = p->ifindex;
		conn->path_epoch = 0;
	}
	mine->seen_ns = p->now_ns;
	mine->nr_vlans = pkt->nr_vlans;
	for (int i = 0; i < MPS_MAX_VLANS; i++) {
		mine->vlan_tci[i] = pkt->vlan_tci[i];
		mine->vlan_proto[i] = pkt->vlan_proto[i];
	}
	if (pkt->has_prio) {
		__u32 bit = 1u << (p->self & (MPS_SUBFLOW_ROWS - 1));

		mine->peer_backup = pkt->prio_backup;
		p->has_prio = 1;
		p->prio_off = pkt->prio_off;
		p->backup = pkt->prio_backup ? p->backup | bit : p->backup & ~bit;
		COUNT(counters, PEER_PRIO);
	}
}

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

/*
 * A connection that has nothing unsent and nothing under way (a download, an idle one) has nothing to decide, as
 * long as nothing has changed since the last decision and that left no bit to be changed. Policies that
 * depend on the time are still asked about once a millisecond: the clock used here is cheap, and as coarse as
 * the kernel's tick.
 *
 * Of the flags in the configuration one changes what a connection gets without a new epoch: LEAVING. Levers are moved by
 * programs of their own to where the last decision left them, whether packets are decided on or not. What a metered path
 * carries is the difference of the kernel's own counters from one decision to the next, so only the last one of a
 * subflow may not be left out.
 */
#define IDLE_NS (1000 * 1000ull)

static __always_inline bool nothing_to_decide(struct mps_conn *conn, struct mptcp_sock *msk,
					      struct tcp_sock *tp, const struct mps_packet *pkt,
					      const struct mps_pass *p, const struct mps_config *config)
{
	__u32 index = MPS_MAX_SUBFLOWS;
	struct mps_conn_subflow *mine;
	__u32 flags = config->flags;
	__u64 now_ns;

	if (!conn->settled || pkt->has_prio || msk->write_seq != msk->snd_una || mps_decide_all)
		return false;
	if (flags & MPS_CONFIG_LEAVING || (flags & MPS_CONFIG_METERED && pkt->fin))
		return false;
	if (conn->last_node != (__u64)msk->conn_list.prev || conn->path_epoch != config->path_epoch ||
	    conn->rule_epoch != config->choice >> 32 ||
	    conn->slot_serial != config->slot_serial[conn->slot & (MPS_MAX_SLOTS - 1)])
		return false;
	now_ns = bpf_ktime_get_coarse_ns();
	if ((__s64)(now_ns - conn->decided_ns) >= (__s64)IDLE_NS)
		return false;
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++) {
		if (conn->sf[i].sk == (__u64)tp) {
			index = i;
			break;
		}
	}
	if (index >= MPS_MAX_SUBFLOWS)
		return false;
	barrier_var(index);
	mine = &conn->sf[index & (MPS_SUBFLOW_ROWS - 1)];
	if (mine->ifindex != p->ifindex || mine->deaf)
		return false;
	if ((__s64)(now_ns - mine->seen_ns) > 0)
		mine->seen_ns = now_ns;
	/* As note_hearing() of a packet of its own. */
	mine->heard_segs = tp->segs_in;
	mine->quiet = 0;
	return true;
}

/*
 * The kernel counts a packet that it is not going to take as well (segs_in): it was met here all the same, or whoever sends
 * enough of them could make a subflow pass for one that is not heard.
 */
static __noinline void note_doubted(__u32 token, __u64 sk)
{
	struct mps_conn *conn = bpf_map_lookup_elem(&mps_conns, &token);

	for (__u32 i = 0; conn && i < MPS_MAX_SUBFLOWS; i++)
		if (conn->sf[i].sk == sk)
			conn->sf[i].heard_segs++;
}

/* Builds the view; returns the connection if there is something to decide. */
static __always_inline struct mps_conn *build_view(void *ctx, void *data, void *data_end,
						   const struct mps_packet *pkt, struct mps_pass *p,
						   struct mps_view *view, const struct mps_config *config,
						   struct mps_counters *counters)
{
	struct bpf_sock *sk = lookup_socket(ctx, data, data_end, pkt);
	struct mps_walk walk;
	struct mptcp_sock *msk;
	struct tcp_sock *tp;
	struct list_head *head, *first;
	struct mps_conn *conn;
	__u64 write_seq, snd_nxt, wnd_end;
	int complete, single;

	if (!sk) {
		/* Or it is bound to the VRF, which handle_tc() asks then. */
		if (p->vrf || !(p->vrf = mps_vrf_of(p->ifindex))) {
			COUNT(counters, NO_SOCKET);
			note_miss(data, data_end, pkt, p->ifindex);
		}
		return NULL;
	}
	msk = bpf_skc_to_mptcp_sock(sk);
	if (!msk) {
		bpf_sk_release(sk);
		COUNT(counters, NOT_MPTCP_SOCKET);
		return NULL;
	}
	head = &msk->conn_list;
	first = msk->conn_list.next;
	single = first == head || msk->conn_list.prev == first;
	if (single && !(config->flags & MPS_CONFIG_METERED)) {
		bpf_sk_release(sk);
		COUNT(counters, SINGLE);
		return NULL;
	}
	tp = bpf_skc_to_tcp_sock(sk);
	/* The body of a wake. What is of this interface may be what completes a join, and is decided on. */
	if (tp && p->clone && socket_ifindex((struct sock *)tp) != p->ifindex) {
		bpf_sk_release(sk);
		return NULL;
	}
	if (!tp || !is_believed(tp, pkt, counters)) {
		note_doubted(msk->token, (__u64)sk);
		bpf_sk_release(sk);
		return NULL;
	}
	conn = find_conn(counters, msk);
	if (!conn) {
		bpf_sk_release(sk);
		return NULL;
	}
	if (pkt->has_prio && is_own_edit(conn, pkt, (__u64)sk, p->place)) {
		bpf_sk_release(sk);
		COUNT(counters, MET_AGAIN);
		return NULL;
	}
	if (nothing_to_decide(conn, msk, tp, pkt, p, config)) {
		bpf_sk_release(sk);
		COUNT(counters, IDLE);
		return NULL;
	}
	p->now_ns = bpf_ktime_get_ns();
	p->after_seq = pkt->seq + pkt->payload_len + pkt->fin;
	p->print = packet_print(pkt->seq, pkt->ack, pkt->tsval);
	conn->decided_ns = p->now_ns;
	conn->last_node = (__u64)msk->conn_list.prev;
	write_seq = msk->write_seq;
	snd_nxt = msk->snd_nxt;
	wnd_end = msk->wnd_end;
	view->token = msk->token;
	view->unsent_bytes = write_seq - snd_nxt;
	view->unacked_bytes = snd_nxt - msk->snd_una;
	view->window_bytes = (__s64)(wnd_end - snd_nxt) > 0 ? wnd_end - snd_nxt : 0;
	view->now_us = p->now_ns / 1000;
	view->last_allowed = conn->allowed;
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++) {
		view->sf[i].flags = 0;
		view->known[i] = 0;
	}

	p->self = MPS_MAX_SUBFLOWS;
	walk.view = view;
	walk.conn = conn;
	walk.pass = p;
	walk.msk = msk;
	walk.self_sk = sk;
	walk.ack = pkt->ack;
	walk.completes = pkt->completes;
	mps_follow_choice(conn, config, counters, p->ifindex);
	p->wants = config->slot_wants[conn->slot & (MPS_MAX_SLOTS - 1)];
	complete = mps_rdonly_cast ? walk_subflows_fast(&walk, head) : walk_subflows_probing(&walk, head);
	bpf_sk_release(sk);
	if (!complete) {
		conn->settled = 0;
		COUNT(counters, LIST_RACED);
		return NULL;
	}
	if (p->overflow)
		COUNT(counters, TOO_MANY_SUBFLOWS);
	if (conn->known != p->seen || p->unplaced)
		mps_forget_gone(conn, p->seen);
	if (p->self < MPS_MAX_SUBFLOWS &&
	    mps_belongs_above(&conn->sf[p->self & (MPS_SUBFLOW_ROWS - 1)], p->ifindex)) {
		COUNT(counters, ABOVE);
		return NULL;
	}
	view->present = p->seen;
	view->self = p->self;
	if (p->woken)
		mps_account_wakes(conn, p, counters);
	note_arrival(conn, pkt, p, counters);
	mps_add_paths(conn, view, config, p);
	if (single) {
		COUNT(counters, SINGLE);
		return NULL;
	}
	return conn;
}

/* Those of `among` that are in `better`, if there are any. */
static __always_inline __u32 narrow(__u32 among, __u32 better)
{
	return among & better ? among & better : among;
}

/*
 * What the policy said, made safe. To be allowed is at least one subflow on which the connection goes on and which asks for the next
 * decision: no local backup, steered, healthy, as far as there are such.
 */
static __always_inline __u32 safe_verdict(const struct mps_scratch *s, const struct mps_pass *p,
					  struct mps_counters *counters)
{
	__u32 allowed = s->verdict.allowed & p->seen, among = p->usable, healthy = ~(__u32)p->troubled;

	/* Closing: nothing will be sent, so nothing is to be decided. */
	if (!among)
		return p->seen;
	/* The kernel uses a local backup as soon as everything else is parked. */
	among = narrow(among, ~(__u32)p->local_backup);
	/* A peer's backup need not be opened beside an unsteered subflow that works. */
	if (among & healthy & ~(p->steered | p->peer_backup))
		among &= ~(p->peer_backup & ~allowed);
	/* Of a connection that goes on where we hear nothing we would hear nothing more. */
	among = narrow(among, p->steered);
	/* Allowing only what is probably dead, while something else is alive, would stall the connection. */
	if (!(allowed & narrow(among, healthy))) {
		COUNT(counters, EMPTY_VERDICT);
		return p->seen;
	}
	return allowed;
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
	conn->allowed = p->restore ? p->seen : p->allowed;
	conn->restored = p->restore;
	/* Neither usable nor stale: it is closing or not yet open. */
	fresh = p->fresh & p->open;
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS && fresh >> i; i++)
		if (fresh >> i & 1)
			conn->sf[i].fresh = 0;
	/* Also what we cannot hear goes back to what the peer asked for: nobody would open it again. */
	ours = p->restore ? 0 : p->steered;
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
		if (!(p->established >> i & 1)) {
			COUNT(counters, SKIP_JOINING);
			continue;
		}
		if (!p->restore && (p->local_backup >> i & 1)) {
			COUNT(counters, SKIP_LOCAL_BACKUP);
			continue;
		}
		/* The peer's own wish is about to come true with this packet: now or never. */
		if (p->now_ns - mine->flip_ns < dwell_ns && !(p->has_prio && i == p->self)) {
			COUNT(counters, HELD_DWELL);
			continue;
		}
		if (i == p->self) {
			want_self = want;
			continue;
		}
		/*
		 * One with data in flight has an ACK of its own coming; a forged one would count as a duplicate. But a subflow whose
		 * join was completed while nobody decided gets all that waits until then: one duplicate is the lesser evil.
		 */
		is_new = (p->fresh >> i & 1) & !mine->flip_ns;
		if ((sf->in_flight_segs && !is_new) || !(p->usable >> i & 1))
			continue;
		order_wake(mine, counters, p, want, 0);
	}
	return want_self;
}

/* `kept` as in mps_scratch.kept_words, `most` a constant; eight words at a time. */
static __always_inline void copy_words(__u64 *to, const __u64 *from, __u32 kept, const __u32 most)
{
	__u32 words = kept ? kept - 1 : most;

	for (__u32 i = 0; i < most; i += 8) {
		if (i >= words)
			break;
		to[i] = from[i];
		to[i + 1] = from[i + 1];
		to[i + 2] = from[i + 2];
		to[i + 3] = from[i + 3];
		to[i + 4] = from[i + 4];
		to[i + 5] = from[i + 5];
		to[i + 6] = from[i + 6];
		to[i + 7] = from[i + 7];
	}
}

/* Where an object of policy ABI 4.0 has its state. */
static __always_inline __u64 *old_state(const struct mps_scratch *s)
{
	return (__u64 *)((char *)s + MPS_STATE_OFFSET_4_0);
}

/* What the policy remembers; global, since the ways through it are many. */
__noinline int mps_keep_state(struct mps_conn *conn, const struct mps_scratch *s, __u32 wants)
{
	if (!conn || !s)
		return 0;
	conn->kept_words = s->kept_words;
	if (wants & MPS_SLOT_4_0)
		copy_words(conn->state.word, old_state(s), s->kept_words, MPS_STATE_WORDS_4_0);
	else
		copy_words(conn->state.word, s->state.word, s->kept_words, MPS_STATE_WORDS);
	return 0;
}

/* Keeps why the policy allows or parks each subflow, for `conns`. An object of 4.0 has something else in that place. */
__noinline int mps_note_reasons(struct mps_conn *conn, const struct mps_scratch *s, __u32 reasoned)
{
	if (!conn || !s)
		return 0;
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS && reasoned >> i; i++)
		if (reasoned >> i & 1)
			conn->sf[i].reason = s->verdict.reason[i];
	return 0;
}

/* Keeps what the policy wishes for each subflow in `wished` and nothing for the others. */
__noinline int mps_note_levers(struct mps_conn *conn, const struct mps_scratch *s, __u32 wished)
{
	__u32 concerned, levers = 0;

	if (!conn || !s)
		return 0;
	concerned = wished | conn->levers;
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS && concerned >> i; i++) {
		__u32 lowat = 0, pace = 0;

		if (wished >> i & 1) {
			lowat = s->verdict.lever[i].lowat_bytes;
			pace = s->verdict.lever[i].pace_bytes_s;
		}
		conn->sf[i].lever.lowat_bytes = lowat;
		conn->sf[i].lever.pace_bytes_s = pace;
		levers |= is_set(lowat | pace) << i;
	}
	conn->levers = levers;
	return 0;
}

/* After the policy: which subflows are to be allowed, or that they go back to what the peers asked for. */
__noinline int mps_conclude(struct mps_conn *conn, const struct mps_scratch *s,
			    const struct mps_config *config, struct mps_counters *counters,
			    struct mps_pass *p)
{
	__u32 wished = 0, reasoned = 0;

	if (!conn || !s || !config || !counters || !p)
		return 0;
	p->restore = 1;
	p->allowed = 0;
	if (config->flags & MPS_CONFIG_LEAVING || conn->slot == MPS_SLOT_NONE) {
		COUNT(counters, PASSED);
	} else if (!s->decided) {
		COUNT(counters, POLICY_FAILED);
	} else {
		COUNT(counters, DECIDED);
		mps_keep_state(conn, s, p->wants);
		if (!(s->verdict.flags & MPS_VERDICT_PASS)) {
			p->restore = 0;
			p->allowed = safe_verdict(s, p, counters);
			if (s->verdict.flags & MPS_VERDICT_LEVERS)
				wished = p->seen;
			/* They are none for what was made of a verdict that could not be followed. */
			if (!(p->wants & MPS_SLOT_4_0) && p->allowed == (s->verdict.allowed & p->seen))
				reasoned = s->verdict.reasoned & p->seen;
		}
	}
	if (wished | conn->levers)
		mps_note_levers(conn, s, wished);
	if (reasoned)
		mps_note_reasons(conn, s, reasoned);
	conn->reasoned = reasoned;
	return 0;
}

/* Global: the number of words would multiply with everything that follows. */
__noinline int mps_prepare_policy(struct mps_scratch *s, const struct mps_conn *conn, __u32 wants)
{
	if (!s || !conn)
		return 0;
	s->decided = 0;
	s->kept_words = 0;
	s->verdict.allowed = 0;
	s->verdict.flags = 0;
	s->verdict.reasoned = 0;
	if (wants & MPS_SLOT_4_0)
		copy_words(old_state(s), conn->state.word, conn->kept_words, MPS_STATE_WORDS_4_0);
	else
		copy_words(s->state.word, conn->state.word, conn->kept_words, MPS_STATE_WORDS);
	return 0;
}

static __always_inline bool wants_policy(const struct mps_config *config, const struct mps_conn *conn)
{
	return !(config->flags & MPS_CONFIG_LEAVING) && conn->slot != MPS_SLOT_NONE;
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
		if (mine->woken)
			COUNT(counters, WAKE_LOST);
		mine->woken = 0;
		remember_edit(mine, edit_print(p->print, p->has_prio ? p->prio_off : 0, backup, p->place));
		mine->flip_ns = p->now_ns;
		mine->flip_value = backup;
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

static __always_inline struct mps_counters *get_counters(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&mps_counters, &zero);
}

static __always_inline struct mps_config *get_config(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&mps_config, &zero);
}

static __always_inline struct mps_scratch *get_scratch(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&mps_scratch, &zero);
}

/* Blank, but for the interface. */
static __always_inline struct mps_pass *get_pass(__u32 ifindex)
{
	__u32 zero = 0;
	struct mps_pass *p = bpf_map_lookup_elem(&mps_passes, &zero);

	if (!p)
		return NULL;
	__builtin_memset(p, 0, sizeof(*p));
	p->ifindex = ifindex;
	return p;
}

/* The subflows that the verdict leaves parked although they could be opened. */
static __always_inline __u32 parked_by_us(const struct mps_pass *p)
{
	return p->restore ? 0 : p->open & p->steered & ~((__u32)p->allowed | p->local_backup);
}

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

__noinline int mps_look_again(struct mps_conn *conn, __u64 now_ns)
{
	struct mps_counters *counters = get_counters();
	struct mps_scratch *scratch = get_scratch();
	struct mps_config *config = get_config();
	struct mps_pass *p = get_pass(0);

	if (!conn || !scratch || !config || !counters || !p)
		return 0;
	if (config->flags & MPS_CONFIG_LEAVING || conn->slot == MPS_SLOT_NONE)
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

static __always_inline void count_malformed(void)
{
	struct mps_counters *counters = get_counters();

	if (counters)
		COUNT(counters, MALFORMED);
}

/* Global, so that the many ways through a packet's headers do not multiply with what follows. */
__noinline int mps_parse_xdp(struct xdp_md *ctx, struct mps_packet *pkt, __u32 l3)
{
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;

	if (!pkt)
		return PARSE_NOT_OURS;
	return l3 ? parse_packet(data, data_end, bpf_xdp_get_buff_len(ctx), true, pkt)
		  : parse_packet(data, data_end, bpf_xdp_get_buff_len(ctx), false, pkt);
}

/*
 * From the parsed packet to what is to be written into it: WANT_NOTHING if nothing. `xdp` is a constant; data and
 * data_end are the context's, whose members have other widths in both.
 */
static __always_inline int decide(void *ctx, void *data, void *data_end, bool xdp,
				  const struct mps_packet *pkt, struct mps_pass *p,
				  struct mps_counters *counters, struct mps_scratch *scratch,
				  struct mps_conn **decided)
{
	struct mps_config *config = get_config();
	struct mps_conn *conn;
	int want;

	*decided = NULL;
	if (!config)
		return WANT_NOTHING;
	if (!p->vrf)
		COUNT(counters, SEEN);
	conn = build_view(ctx, data, data_end, pkt, p, &scratch->view, config, counters);
	if (!conn)
		return WANT_NOTHING;
	*decided = conn;
	if (wants_policy(config, conn)) {
		mps_prepare_policy(scratch, conn, p->wants);
		if (xdp)
			run_xdp_policy(ctx, conn->slot);
		else
			run_tc_policy(ctx, conn->slot);
	} else {
		scratch->decided = 0; /* another CPU may give the connection a policy right now */
	}
	mps_conclude(conn, scratch, config, counters, p);
	want = mps_apply_verdict(conn, &scratch->view, config, counters, p);
	if (!conn->watched && parked_by_us(p))
		conn->watched = mps_start_watch(scratch->view.token);
	/* The stack is about to change the bit as the peer wishes. */
	if (pkt->has_prio)
		conn->settled = 0;
	return want;
}

/*
 * The link-layer addresses of a packet that was believed; wakes of its subflow bear the same. Not in note_arrival(): packet
 * pointers kept for so long are more stack than 6.1 allows.
 */
static __always_inline void note_mac(struct mps_conn *conn, const struct mps_pass *p, const __u32 *frame,
				     const void *data_end)
{
	struct mps_conn_subflow *mine = &conn->sf[p->self & (MPS_SUBFLOW_ROWS - 1)];
	__u32 *mac = (__u32 *)mine->mac;

	if (p->self >= MPS_MAX_SUBFLOWS)
		return;
	barrier_var(frame); /* the bounds on this very pointer */
	if ((const void *)(frame + MPS_MACS_LEN / 4) > data_end)
		return;
	mac[0] = frame[0];
	mac[1] = frame[1];
	mac[2] = frame[2];
	mine->has_mac = 1;
}

static __always_inline int handle_xdp(struct xdp_md *ctx, bool l3)
{
	struct mps_counters *counters;
	struct mps_scratch *scratch;
	struct mps_conn *conn;
	struct mps_packet pkt;
	struct mps_pass *p;
	int want, parsed;

	if (has_no_mptcp((void *)(long)ctx->data, (void *)(long)ctx->data_end, l3))
		return XDP_PASS;
	__builtin_memset(&pkt, 0, sizeof(pkt));
	parsed = mps_parse_xdp(ctx, &pkt, l3);
	if (parsed != PARSE_MPTCP) {
		if (parsed == PARSE_MALFORMED)
			count_malformed();
		return XDP_PASS;
	}
	counters = get_counters();
	scratch = get_scratch();
	p = get_pass(ctx->ingress_ifindex);
	if (!counters || !scratch || !p)
		return XDP_PASS;
	if (mps_wakes_sent)
		p->clone = mps_wake_in_flight(ctx->ingress_ifindex);
	if (p->clone == WAKE_OF_THIS_DEVICE)
		return XDP_PASS;
	p->place = place_of(ctx->ingress_ifindex, true);
	want = decide(ctx, (void *)(long)ctx->data, (void *)(long)ctx->data_end, true, &pkt, p, counters,
		      scratch, &conn);
	if (conn && !l3)
		note_mac(conn, p, (void *)(long)ctx->data, (void *)(long)ctx->data_end);
	if (conn && want >= 0 && (pkt.has_prio || !pkt.fin))
		mps_account_edit(conn, &scratch->view, counters, p,
				 mps_edit_xdp(ctx, &pkt, want, l3) << 1 | want);
	return XDP_PASS;
}

SEC("xdp.frags") int mps_xdp_eth(struct xdp_md *ctx)
{
	return handle_xdp(ctx, false);
}

SEC("xdp.frags") int mps_xdp_l3(struct xdp_md *ctx)
{
	return handle_xdp(ctx, true);
}

/* Wakes pass through TC ingress on every attached interface, whatever its mode. Returns true if `skb` was one. */
static __always_inline bool handle_wakes(struct __sk_buff *skb, bool l3, int *verdict)
{
	__u64 ready = mps_wakes_ready;
	__u32 mark = skb->mark;
	struct mps_counters *counters;

	*verdict = TC_ACT_UNSPEC;
	if (mark && (mark & 0xffff0000) == mps_wake_magic) {
		counters = get_counters();
		if (counters)
			*verdict = mps_receive_wake(skb, counters, l3);
		return true;
	}
	/* Only IP can be turned into IP. */
	if (ready && (skb->protocol == bpf_htons(ETH_P_IP) || skb->protocol == bpf_htons(ETH_P_IPV6))) {
		counters = get_counters();
		if (counters)
			mps_send_wakes(skb, counters, l3);
	}
	return false;
}

__noinline int mps_parse_tc(struct __sk_buff *skb, struct mps_packet *pkt, __u32 l3)
{
	void *data = (void *)(long)skb->data, *data_end = (void *)(long)skb->data_end;
	int parsed;

	if (!pkt)
		return PARSE_NOT_OURS;
	if (!l3 && data + sizeof(struct ethhdr) <= data_end &&
	    ((struct ethhdr *)data)->h_proto != skb->protocol) {
		if (mps_restore_mac(skb))
			return PARSE_NOT_OURS;
		data = (void *)(long)skb->data;
		data_end = (void *)(long)skb->data_end;
	}
	parsed = l3 ? parse_packet(data, data_end, skb->len, true, pkt)
		    : parse_packet(data, data_end, skb->len, false, pkt);
	/*
	 * Headers outside the linear part: some drivers put whole packets into fragments. Only then, because
	 * pulling copies the head of a packet that is shared with its sender (every one of a veth).
	 */
	if (parsed == PARSE_MALFORMED && data + 128 > data_end && data + skb->len > data_end) {
		if (bpf_skb_pull_data(skb, skb->len < 128 ? skb->len : 128))
			return PARSE_NOT_OURS;
		data = (void *)(long)skb->data;
		data_end = (void *)(long)skb->data_end;
		parsed = l3 ? parse_packet(data, data_end, skb->len, true, pkt)
			    : parse_packet(data, data_end, skb->len, false, pkt);
	}
	/* The kernel keeps the outer tag beside the packet here. */
	if (parsed == PARSE_MPTCP && skb->vlan_present && pkt->nr_vlans < MPS_MAX_VLANS) {
		pkt->vlan_tci[1] = pkt->vlan_tci[0];
		pkt->vlan_proto[1] = pkt->vlan_proto[0];
		pkt->vlan_tci[0] = skb->vlan_tci;
		pkt->vlan_proto[0] = skb->vlan_proto;
		pkt->nr_vlans++;
	}
	return parsed;
}

/* The socket may be bound to the VRF: what the program there decides, as decide() would have. */
static __always_inline struct mps_conn *ask_vrf(struct __sk_buff *skb, const struct mps_packet *pkt,
						struct mps_pass *p, struct mps_counters *counters,
						const struct mps_view *view, int *want)
{
	struct mps_vrf_call *call = get_vrf_call();
	__u32 token, state = mps_ask_vrf(skb, pkt, p);

	/* The clone did not get there: the VRF or our program is gone, or the packet has no link-layer header. */
	if (state == VRF_ASKED)
		COUNT(counters, NO_SOCKET);
	if (!call || state != VRF_DECIDED)
		return NULL;
	*want = call->want;
	token = view->token; /* the scratch memory is this CPU's: the VRF's program has filled it */
	return bpf_map_lookup_elem(&mps_conns, &token);
}

static __always_inline int handle_tc(struct __sk_buff *skb, bool l3)
{
	struct mps_counters *counters;
	struct mps_scratch *scratch;
	struct mps_conn *conn;
	struct mps_packet pkt;
	struct mps_pass *p;
	int want, verdict, parsed;

	if (handle_wakes(skb, l3, &verdict))
		return verdict;
	if (has_no_mptcp((void *)(long)skb->data, (void *)(long)skb->data_end, l3))
		return TC_ACT_UNSPEC;
	__builtin_memset(&pkt, 0, sizeof(pkt));
	parsed = mps_parse_tc(skb, &pkt, l3);
	if (parsed != PARSE_MPTCP) {
		if (parsed == PARSE_MALFORMED)
			count_malformed();
		return TC_ACT_UNSPEC;
	}
	counters = get_counters();
	scratch = get_scratch();
	p = get_pass(skb->ifindex);
	if (!counters || !scratch || !p)
		return TC_ACT_UNSPEC;
	p->place = place_of(skb->ifindex, false);
	want = decide(skb, (void *)(long)skb->data, (void *)(long)skb->data_end, false, &pkt, p, counters,
		      scratch, &conn);
	if (!conn && p->vrf)
		conn = ask_vrf(skb, &pkt, p, counters, &scratch->view, &want);
	if (!conn)
		return TC_ACT_UNSPEC;
	if (!l3)
		note_mac(conn, p, (void *)(long)skb->data, (void *)(long)skb->data_end);
	if (want >= 0 && (pkt.has_prio || !pkt.fin))
		mps_account_edit(conn, &scratch->view, counters, p, mps_edit_tc(skb, &pkt, want) << 1 | want);
	if (mps_wakes_ready)
		mps_send_wakes(skb, counters, l3);
	return TC_ACT_UNSPEC;
}

SEC("tc") int mps_tc_eth(struct __sk_buff *skb)
{
	return handle_tc(skb, false);
}

SEC("tc") int mps_tc_l3(struct __sk_buff *skb)
{
	return handle_tc(skb, true);
}

/* On the way out of a VRF (vrf.bpf.h): answers for the clones that its members' programs send here, and drops them. */
SEC("tc") int mps_tc_vrf(struct __sk_buff *skb)
{
	struct mps_vrf_call *call = get_vrf_call();
	struct mps_counters *counters;
	struct mps_scratch *scratch;
	struct mps_conn *conn;

	if (!call || call->state != VRF_ASKED)
		return TC_ACT_UNSPEC;
	counters = get_counters();
	scratch = get_scratch();
	if (!counters || !scratch)
		return TC_ACT_SHOT;
	call->want = decide(skb, (void *)(long)skb->data, (void *)(long)skb->data_end, false, &call->pkt,
			    &call->pass, counters, scratch, &conn);
	call->state = conn ? VRF_DECIDED : VRF_ANSWERED;
	return TC_ACT_SHOT;
}

SEC("tc") int mps_wake_eth(struct __sk_buff *skb)
{
	int verdict;

	handle_wakes(skb, false, &verdict);
	return verdict;
}

SEC("tc") int mps_wake_l3(struct __sk_buff *skb)
{
	int verdict;

	handle_wakes(skb, true, &verdict);
	return verdict;
}

/* Carries forged ACKs from user space: `detach` has no packets of its own to edit. */
SEC("xdp") int mps_inject(struct xdp_md *ctx MPS_UNUSED)
{
	return XDP_PASS;
}

static __always_inline void put_endpoint(__u8 *to, struct sock_common *sc, bool is_ipv6, bool remote)
{
	__be32 ipv4 = remote ? sc->skc_daddr : sc->skc_rcv_saddr;
	struct in6_addr v6 = {};

	if (is_ipv6) {
		if (remote)
			bpf_core_read(&v6, sizeof(v6), &sc->skc_v6_daddr);
		else
			bpf_core_read(&v6, sizeof(v6), &sc->skc_v6_rcv_saddr);
	}
	put_address(to, is_ipv6, v6.s6_addr32, ipv4);
}

/* Dumps every MPTCP subflow of the reader's network namespace as a stream of struct mps_subflow_record. */
SEC("iter/tcp") int mps_dump(struct bpf_iter__tcp *it)
{
	struct sock_common *sc = it->sk_common;
	struct mps_subflow_record rec = {};
	struct mps_subflow_ref ref = {};
	struct mptcp_subflow_context *ctx;
	struct tcp_sock *tp;
	struct sock *sk;
	__u32 wscale;

	if (!sc)
		return 0;
	tp = bpf_skc_to_tcp_sock(sc);
	if (!tp || !tp->is_mptcp)
		return 0;
	ctx = tp->inet_conn.icsk_ulp_data;
	if (!ctx)
		return 0;
	sk = &tp->inet_conn.icsk_inet.sk;
	rec.state = sc->skc_state;
	if (rec.state == 10) /* TCP_LISTEN: a listener is no subflow */
		return 0;
	rec.abi = MPS_ABI_VERSION;
	rec.sk = (__u64)tp;
	rec.token = READ(ctx, token, false);
	rec.is_ipv6 = sc->skc_family == AF_INET6;
	put_endpoint(rec.local, sc, rec.is_ipv6, false);
	put_endpoint(rec.remote, sc, rec.is_ipv6, true);
	rec.local_port = sc->skc_num;
	rec.remote_port = bpf_ntohs(sc->skc_dport);
	rec.rx_ifindex = socket_ifindex(sk);
	rec.mark = sk->sk_mark;
	rec.rcv_nxt = tp->rcv_nxt;
	rec.snd_una = tp->snd_una;
	rec.tsval = tp->rx_opt.ts_recent;
	rec.tsecr = tp->rx_opt.rcv_tsecr;
	rec.has_tstamp = READ_BITS(tp, rx_opt.tstamp_ok, false);
	wscale = READ_BITS(tp, rx_opt.snd_wscale, false) & 15;
	rec.window = tp->snd_wnd >> wscale;
	rec.fully_established = READ_BITS(ctx, fully_established, false);
	rec.plain = rec.state == TCP_ESTABLISHED_STATE &&
		    !(READ_BITS(ctx, mp_capable, false) | READ_BITS(ctx, mp_join, false));
	ref.ctx = (__u64)ctx;
	ref.tp = (__u64)tp;
	read_subflow(&rec.view, &ref, false);
	rec.view.ifindex = rec.rx_ifindex;
	rec.notsent_lowat = tp->notsent_lowat;
	rec.max_pacing_rate = sk->sk_max_pacing_rate;
	bpf_seq_write(it->meta->seq, &rec, sizeof(rec));
	return 0;
}
