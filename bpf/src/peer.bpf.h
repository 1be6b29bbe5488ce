/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the peer sends: which of our subflows it is to avoid, decided here and told to it by MP_PRIO (peer_tell.bpf.h).
 *
 * A receiver decides at packets of the connection on their way out, at most once in a millisecond or when something has changed. The policy is the same object as for the other direction, with a state of its own, and is shown what a receiver knows (enum
 * mps_direction). What is remembered is in mps_peers, beside the record of mps_conns, without which there is none.
 *
 * Three wishes meet here and stay apart: our endpoints' backup flags (subflow->request_bkup), which MP_JOIN and the local path
 * manager's own MP_PRIO tell the peer and which hold if nobody steers; what the peer asked us for (mps_conn_subflow.peer_backup in
 * mps_conns), by which it goes itself as well; and what we told it (mps_peer_subflow.told).
 */
#ifndef MPS_PEER_BPF_H
#define MPS_PEER_BPF_H

#include "maps.bpf.h"
#include "view.bpf.h"
#include "connection.bpf.h"
#include "paths.bpf.h"
#include "policy.bpf.h"

#define PEER_DECIDE_NS (1000 * 1000ull)
/* The least time over which a rate of receipt is measured. */
#define PEER_RATE_NS (20 * 1000 * 1000ull)
/* For how long the least delay is taken for the path's own. */
#define PEER_DELAY_MS 60000

/* When the peer was told something else it is looked at after this time: what was queued for a subflow drains first. */
#define PEER_DRAIN_NS (1000 * 1000 * 1000ull)
/* Over which an avoided subflow must bring less than PEER_STRAY_BYTES; twice as long after each try. */
#define PEER_LOOK_NS (250 * 1000 * 1000ull)
#define PEER_STRAY_BYTES 32768
/* An opened one brings nothing, while that much arrived on all. */
#define PEER_BULK_BYTES 262144
#define PEER_TRIES 6
/* A peer of whose contents something came in that time is sending on the subflow. */
#define PEER_LATELY_NS (500 * 1000 * 1000ull)
/* If it is in that many measurements in a row, two seconds or more, it does so whatever it has asked us for. */
#define PEER_UNHEEDED 100
#define PEER_TRIES_OPEN 2
/* That everything is as it was is said once more after this time, in case the first was lost. */
#define PEER_BACK_NS (50 * 1000 * 1000ull)

/* A record for a connection that has one in mps_conns. */
__noinline int mps_make_peer(__u32 token)
{
	struct mps_conn *conn = bpf_map_lookup_elem(&mps_conns, &token);
	__u32 zero = 0;
	struct mps_peer *blank = bpf_map_lookup_elem(&mps_blank_peer, &zero), *peer;

	if (!conn || !blank)
		return 0;
	bpf_map_update_elem(&mps_peers, &token, blank, BPF_ANY);
	peer = bpf_map_lookup_elem(&mps_peers, &token);
	if (peer) {
		peer->conn.msk = conn->msk;
		peer->conn.chosen = conn->chosen;
	}
	return 0;
}

/*
 * Bit 0: what the peer asked for of this subflow; without a record of it what the kernel has. Bit 1: nothing comes back on it. As long as
 * nothing has left on it, where its packets come from is where they go.
 */
__noinline int mps_learn_wish(struct mps_conn_subflow *mine, __u32 token, __u32 otherwise,
			      const struct mps_pass *p)
{
	struct mps_conn *conn = bpf_map_lookup_elem(&mps_conns, &token);

	if (!mine || !p)
		return otherwise;
	for (__u32 i = 0; conn && i < MPS_MAX_SUBFLOWS; i++) {
		struct mps_conn_subflow *theirs = &conn->sf[i];

		if (theirs->sk != mine->sk)
			continue;
		if (!mine->has_mac && theirs->has_mac) {
			for (__u32 k = 0; k < MPS_MACS_LEN / 2; k++) {
				mine->mac[k] = theirs->mac[k + MPS_MACS_LEN / 2];
				mine->mac[k + MPS_MACS_LEN / 2] = theirs->mac[k];
			}
			mine->has_mac = 1;
		}
		return theirs->peer_backup | is_dead(theirs, p) << 1;
	}
	return otherwise;
}

static __always_inline __u32 socket_tx_ifindex(struct sock *sk)
{
	struct dst_entry *dst = NULL;

	bpf_core_read(&dst, sizeof(dst), &sk->sk_dst_cache);
	return dst ? BPF_CORE_READ(dst, dev, ifindex) : 0;
}

static __always_inline bool is_sooner(__u32 one, __u32 other)
{
	return (__s32)(one - other) < 0;
}

/*
 * How long was what just arrived on its way? Its timestamp is the peer's clock in milliseconds (net/ipv4/tcp_output.c), so the difference
 * to ours tells no delay, but by how much one is longer than another: what waits in front of the path. Only of what arrived
 * this very moment; a delayed ACK looks late. Unlike a round trip by timestamps (rcv_rtt_est) it has nothing of the peer's pauses in it.
 */
static __always_inline void note_delay(struct mps_peer_subflow *told, const struct mps_subflow_ref *ref,
				       __u64 now_ns, bool cast)
{
	struct tcp_sock *tp = KPTR(struct tcp_sock, (void *)ref->tp, cast);
	__u32 now_ms = now_ns / 1000000, delay = now_ms - READ(tp, rx_opt.rcv_tsval, cast);
	__u32 age = (__u32)bpf_jiffies64() - READ(tp, inet_conn.icsk_ack.lrcvtime, cast);

	if (age > 1 || !READ_BITS(tp, rx_opt.tstamp_ok, cast))
		return;
	if (bpf_core_field_exists(tp->tcp_usec_ts) && READ_BITS(tp, tcp_usec_ts, cast))
		return;
	if (!(told->delays & MPS_DELAY_LEAST) || is_sooner(delay, told->delay_least)) {
		told->delay_least = delay;
		if (!(told->delays & MPS_DELAY_LEAST)) {
			told->delay_later = delay;
			told->delay_ms = now_ms;
		}
	}
	if (is_sooner(delay, told->delay_later))
		told->delay_later = delay;
	/* Clocks drift apart, by up to some milliseconds in a minute. */
	if (now_ms - told->delay_ms > PEER_DELAY_MS) {
		told->delay_least = told->delay_later;
		told->delay_later = delay;
		told->delay_ms = now_ms;
	}
	if (!(told->delays & MPS_DELAY_NOW) || is_sooner(delay, told->delay_now))
		told->delay_now = delay;
	told->delays = MPS_DELAY_LEAST | MPS_DELAY_NOW;
}

/* How much arrives on a subflow. False if it was measured just before. */
static __always_inline bool measure_rate(struct mps_peer_subflow *told, __u64 received, __u64 now_ns)
{
	__u64 elapsed_ns = now_ns - told->rate_ns, grown = (__u32)received - told->rate_bytes;

	if (elapsed_ns < PEER_RATE_NS)
		return false;
	told->rate = told->rate_ns ? grown * 1000000 / elapsed_ns : 0;
	told->rate_ns = now_ns;
	told->rate_bytes = received;
	return true;
}

/* The same, when it last did, and what waits in front of it. */
static __always_inline void measure_receipt(struct mps_peer_subflow *told, const struct mps_subflow_ref *ref,
					    __u64 received, __u64 now_ns, bool cast)
{
	if (told->grown_bytes != (__u32)received) {
		told->grown_bytes = received;
		told->grown_ns = now_ns;
		note_delay(told, ref, now_ns, cast);
	}
	if (!measure_rate(told, received, now_ns))
		return;
	told->queue_us = told->delays & MPS_DELAY_NOW ? (told->delay_now - told->delay_least) * 1000 : 0;
	told->delays &= ~MPS_DELAY_NOW;
}

/* A row for a socket that had none. */
static __always_inline void begin_peer_subflow(struct mps_peer *peer, struct mps_conn_subflow *mine,
					       struct mps_peer_subflow *told,
					       const struct mps_subflow_ref *ref, __u32 index, __u32 own_wish,
					       __u64 received)
{
	__builtin_memset(mine, 0, sizeof(*mine));
	__builtin_memset(told, 0, sizeof(*told));
	mine->sk = ref->tp;
	mine->fresh = 1;
	mine->peer_backup = own_wish;
	mine->ifindex = socket_tx_ifindex((struct sock *)ref->tp);
	peer->conn.path_epoch = 0; /* look its path up */
	peer->pending &= ~(1u << index);
	peer->told &= ~(1u << index);
	peer->checks &= ~(1u << index);
	told->grown_bytes = received;
}

/* What the kernel knows of a subflow that we receive on. */
static __always_inline void read_receiver(struct mps_subflow_view *out, const struct mps_subflow_ref *ref,
					  __u64 *received, __u32 *rtt_us)
{
	struct tcp_sock *tp;

	if (mps_rdonly_cast) {
		tp = KPTR(struct tcp_sock, (void *)ref->tp, true);
		read_subflow(out, ref, true);
		*received = READ(tp, bytes_received, true);
		*rtt_us = READ(tp, rcv_rtt_est.rtt_us, true) >> 3;
	} else {
		tp = (struct tcp_sock *)ref->tp;
		read_subflow(out, ref, false);
		*received = READ(tp, bytes_received, false);
		*rtt_us = READ(tp, rcv_rtt_est.rtt_us, false) >> 3;
	}
}

/* What only the sender knows. */
static __always_inline void blank_senders_side(struct mps_subflow_view *out)
{
	out->cwnd_segs = 0;
	out->ssthresh_segs = 0;
	out->in_flight_segs = 0;
	out->outstanding_bytes = 0;
	out->notsent_bytes = 0;
	out->queued_bytes = 0;
	out->snd_wnd_bytes = 0;
	out->delivered_segs = 0;
	out->lost_segs = 0;
	out->retransmits = 0;
}

static __always_inline void note_in_pass(struct mps_pass *p, const struct mps_subflow_ref *ref, __u32 index,
					 __u32 flags, __u32 backup)
{
	if (ref->own)
		p->self = index;
	p->seen |= 1u << index;
	p->usable |= is_set(flags & MPS_SF_USABLE) << index;
	p->open |= is_set(flags & (MPS_SF_USABLE | MPS_SF_STALE)) << index;
	p->troubled |= is_set(flags & MPS_SF_TROUBLED) << index;
	p->backup |= backup << index;
}

/* As mps_take_subflow(), for what the peer sends. */
__noinline int mps_take_peer(struct mps_view *view, struct mps_peer *peer, const struct mps_subflow_ref *ref,
			     struct mps_pass *p)
{
	__u32 index, flags, own_wish, peers_wish, backup, rtt_us;
	struct mps_peer_subflow *told;
	struct mps_conn_subflow *mine;
	struct mps_subflow_view *out;
	__u64 received;

	if (!view || !peer || !ref || !p)
		return MPS_MAX_SUBFLOWS;
	index = find_index(&peer->conn, ref);
	if (index >= MPS_MAX_SUBFLOWS) {
		p->unplaced = 1;
		return MPS_MAX_SUBFLOWS;
	}
	barrier_var(index); /* 6.1 forgets the range of a spilled number */
	index &= MPS_SUBFLOW_ROWS - 1;
	mine = &peer->conn.sf[index];
	told = &peer->sf[index];
	out = &view->sf[index];
	read_receiver(out, ref, &received, &rtt_us);
	if (!out->id)
		out->id = ref->hint + 1;
	flags = out->flags;
	own_wish = is_set(flags & MPS_SF_LOCAL_BACKUP);
	peers_wish = is_set(flags & MPS_SF_BACKUP); /* for the time being, see mps_add_peer_path() */
	if (mine->sk != ref->tp)
		begin_peer_subflow(peer, mine, told, ref, index, own_wish, received);
	mine->id = out->id;
	/*
	 * Our endpoint's flag has changed: the local path manager has told the peer so by MP_PRIO of its own
	 * (mptcp_pm_nl_mp_prio_send_ack(), net/mptcp/pm_netlink.c), and that is what it believes now.
	 */
	if (mine->peer_backup != own_wish) {
		told->told = MPS_TOLD_NOTHING;
		peer->told &= ~(1u << index);
		p->overruled |= 1u << index;
	}
	mine->peer_backup = own_wish;
	if (mps_rdonly_cast)
		measure_receipt(told, ref, received, p->now_ns, true);
	else
		measure_receipt(told, ref, received, p->now_ns, false);
	view->receipt[index].rtt_us = rtt_us;
	view->receipt[index].queue_us = told->queue_us;
	p->bringing |= (__u32)(p->now_ns - told->grown_ns < PEER_LATELY_NS && told->told != MPS_TOLD_BACKUP)
		       << index;
	backup = told->told ? is_equal(told->told, MPS_TOLD_BACKUP) : own_wish;
	flags &= ~(MPS_SF_BACKUP | MPS_SF_LOCAL_BACKUP | MPS_SF_SLOW_START);
	flags |= backup * MPS_SF_BACKUP | peers_wish * MPS_SF_LOCAL_BACKUP | (ref->own ? MPS_SF_SELF : 0);
	out->flags = flags;
	out->bytes_acked = received;
	out->pacing_rate = (__u64)told->rate * 1000;
	if (!out->srtt_us)
		out->srtt_us = rtt_us;
	blank_senders_side(out);
	note_in_pass(p, ref, index, flags, backup);
	return index;
}

/* As walk_subflows(). */
static __always_inline bool walk_peer(struct mps_walk *w, struct mps_peer *peer, struct list_head *head,
				      bool cast)
{
	struct list_head *pos = READ(KPTR(struct list_head, head, cast), next, cast);

	for (__u32 k = 0; k <= MPS_MAX_SUBFLOWS; k++) {
		struct mptcp_subflow_context *ctx;
		struct mps_subflow_ref ref;
		__u32 index;
		void *ssk;

		if (pos == head)
			return true;
		if (k == MPS_MAX_SUBFLOWS) {
			w->pass->overflow = 1;
			return true;
		}
		ctx = KPTR(struct mptcp_subflow_context, pos, cast);
		ssk = READ(ctx, tcp_sock, cast);
		if (!ssk || (void *)READ(ctx, conn, cast) != w->msk)
			return false;
		pos = READ(ctx, node.next, cast);
		ref.ctx = (__u64)ctx;
		ref.tp = (__u64)ssk;
		ref.own = ssk == w->self_sk;
		ref.ack = 0;
		ref.hint = k;
		ref.joins = 0;
		index = mps_take_peer(w->view, peer, &ref, w->pass);
		if (w->pass->wants & ~MPS_SLOT_4_0)
			mps_take_extra(w->view, &ref, index, w->pass->wants);
	}
	return false;
}

static __noinline int walk_peer_fast(struct mps_walk *w, struct mps_peer *peer, struct list_head *head)
{
	return walk_peer(w, peer, head, true);
}

static __noinline int walk_peer_probing(struct mps_walk *w, struct mps_peer *peer, struct list_head *head)
{
	return walk_peer(w, peer, head, false);
}

/*
 * Does the peer send as it asks us to, like one whose endpoint is a backup? One that steers asks us to avoid a subflow and sends on it as
 * we ask. So its wish says nothing of that where we have asked it before, else each would leave the subflow to the other's wish for good, nor where it
 * goes on sending on it and on another one.
 */
static __always_inline __u32 goes_by_wish(struct mps_peer *peer, __u32 i, __u32 wish,
					  const struct mps_pass *p)
{
	struct mps_peer_subflow *told = &peer->sf[i & (MPS_SUBFLOW_ROWS - 1)];
	__u32 bit = 1u << (i & (MPS_SUBFLOW_ROWS - 1));

	if (!wish) {
		told->unheeded = 0;
		return 0;
	}
	if (told->unheeded < PEER_UNHEEDED && told->rate_ns == p->now_ns)
		told->unheeded = p->bringing & bit && p->bringing & ~bit ? told->unheeded + 1 : 0;
	return !(peer->told & bit) && told->unheeded < PEER_UNHEEDED;
}

/* As mps_add_path(), but nothing is metered: the packets that come in are, in both directions. */
__noinline int mps_add_peer_path(struct mps_peer *peer, struct mps_view *view, struct mps_pass *p, __u32 i,
				 __u32 stale)
{
	__u32 index, flags, is_attached, is_backup, is_fresh, is_steered, peers_wish, learnt, dead;
	struct mps_conn_subflow *mine;
	struct mps_subflow_view *sf;
	struct mps_usage *usage;
	struct mps_path *path;

	if (!peer || !view || !p)
		return 0;
	i &= MPS_SUBFLOW_ROWS - 1;
	mine = &peer->conn.sf[i];
	sf = &view->sf[i];
	if (stale) {
		__u32 key = mine->ifindex;
		__u32 *found = bpf_map_lookup_elem(&mps_path_index, &key);

		mine->path = found ? *found : 0;
	}
	index = mine->path & (MPS_MAX_PATHS - 1);
	path = bpf_map_lookup_elem(&mps_paths, &index);
	usage = bpf_map_lookup_elem(&mps_usage, &index);
	if (!path || !usage)
		return 0;
	show_path(sf, path, mine->ifindex);
	if (path->quota_bytes)
		mps_quota_left(sf, path, usage);
	learnt = mps_learn_wish(mine, view->token, is_set(sf->flags & MPS_SF_LOCAL_BACKUP), p);
	peers_wish = goes_by_wish(peer, i, learnt & 1, p);
	dead = learnt >> 1 & 1;
	sf->flags &= ~MPS_SF_LOCAL_BACKUP;
	sf->flags |= peers_wish * MPS_SF_LOCAL_BACKUP | dead * MPS_SF_TROUBLED;
	p->local_backup |= peers_wish << i;
	p->troubled |= dead << i;
	flags = path->flags;
	is_attached = is_set(flags & MPS_PATH_ATTACHED);
	is_steered = is_attached & ~is_set(flags & MPS_PATH_LEAVING);
	is_backup = is_set(mine->peer_backup);
	is_fresh = is_set(mine->fresh);
	sf->flags |= is_steered * MPS_SF_STEERABLE | is_backup * MPS_SF_PEER_BACKUP | is_fresh * MPS_SF_FRESH;
	p->attached |= is_attached << i;
	p->steered |= is_steered << i;
	p->peer_backup |= is_backup << i;
	p->fresh |= is_fresh << i;
	p->never |= (is_set(flags & MPS_PATH_NEVER) | is_unwanted(p, path, index)) << i;
	sf->last_rcv_age_us = age_us(p->now_ns, peer->sf[i].grown_ns);
	return 0;
}

__noinline int mps_add_peer_paths(struct mps_peer *peer, struct mps_view *view,
				  const struct mps_config *config, struct mps_pass *p)
{
	__u32 epoch, stale;

	if (!peer || !view || !config || !p)
		return 0;
	epoch = config->path_epoch;
	stale = peer->conn.path_epoch != epoch;
	p->paths_down = config->paths_down;
	p->down_ns = config->down_ns;
	view->message.bytes = 0;
	view->message.deadline_us = 0;
	if (peer->conn.chosen)
		mps_recall_choice(&peer->conn, view, p);
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++) {
		__u32 left = *(volatile __u16 *)&p->seen >> i;

		if (!left)
			break;
		if (left & 1)
			mps_add_peer_path(peer, view, p, i, stale);
	}
	peer->conn.path_epoch = epoch;
	if (p->never)
		mps_settle_never(view, p, config->flags);
	return 0;
}

/* After the policy, as mps_conclude(). */
__noinline int mps_conclude_peer(struct mps_peer *peer, const struct mps_scratch *s,
				 const struct mps_config *config, struct mps_counters *counters,
				 struct mps_pass *p)
{
	__u32 reasoned = 0;

	if (!peer || !s || !config || !counters || !p)
		return 0;
	p->restore = 1;
	p->allowed = 0;
	if (wants_policy(config, &peer->conn) && s->decided) {
		COUNT(counters, RX_DECIDED);
		keep_state(&peer->conn, s, p->wants);
		if (!(s->verdict.flags & MPS_VERDICT_PASS)) {
			p->restore = 0;
			p->allowed = safe_verdict(s, p, counters);
			if (p->allowed == (s->verdict.allowed & p->seen))
				reasoned = s->verdict.reasoned & p->seen;
		}
	} else if (wants_policy(config, &peer->conn)) {
		COUNT(counters, POLICY_FAILED);
	}
	if (reasoned)
		mps_note_reasons(&peer->conn, s, reasoned);
	peer->conn.reasoned = reasoned;
	return 0;
}

/*
 * Does what arrives show that the peer knows? An avoided subflow brings nothing new once it has drained; an opened one brings something
 * when much arrives. Returns what is to be told again.
 */
__noinline int mps_follow_peer(struct mps_peer *peer, const struct mps_view *view,
			       struct mps_counters *counters, const struct mps_pass *p)
{
	__u64 total = 0;
	__u32 again = 0;

	if (!peer || !view || !counters || !p)
		return 0;
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++)
		total += view->sf[i].bytes_acked * (p->seen >> i & 1);
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++) {
		__u32 received = view->sf[i].bytes_acked, news, all;
		struct mps_peer_subflow *told = &peer->sf[i];
		__u32 tries, bit = 1u << i, backup, unheard;

		if (!(peer->checks & p->seen & bit) || (__s64)(p->now_ns - told->check_ns) < 0)
			continue;
		news = received - told->check_bytes;
		all = (__u32)total - told->check_total;
		tries = told->tries;
		backup = p->backup >> i & 1;
		told->check_bytes = received;
		told->check_total = total;
		told->check_ns = p->now_ns + (PEER_LOOK_NS << (tries & 7));
		if (!(peer->told & bit) && p->restore) { /* as our endpoints say it */
			again |= bit;
			peer->checks &= ~bit;
			continue;
		}
		if (!told->looks) {
			told->looks = 1;
			continue;
		}
		unheard = backup ? news > PEER_STRAY_BYTES : !news && all > PEER_BULK_BYTES;
		if (!unheard) {
			told->tries = 0;
			told->given_up = 0;
			continue;
		}
		if (tries < (backup ? PEER_TRIES : PEER_TRIES_OPEN)) {
			told->tries = tries + 1;
			again |= bit;
			continue;
		}
		if (backup && !told->given_up) {
			told->given_up = 1;
			COUNT(counters, TELL_IN_VAIN);
		}
	}
	return again;
}

/* What the peer is to be told, by what it believes; returns the mask. */
__noinline int mps_compare_peer(struct mps_peer *peer, const struct mps_view *view,
				struct mps_counters *counters, const struct mps_pass *p)
{
	__u32 want, differ, again = 0, ours, fresh;

	if (!peer || !view || !counters || !p)
		return 0;
	peer->conn.allowed = p->restore ? p->seen & ~p->never : p->allowed;
	peer->conn.restored = p->restore;
	fresh = p->fresh & p->open;
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS && fresh >> i; i++)
		if (fresh >> i & 1)
			peer->conn.sf[i].fresh = 0;
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS && p->overruled >> i; i++)
		if (p->overruled >> i & 1)
			COUNT(counters, TOLD_BY_KERNEL);
	ours = p->restore ? p->never : p->steered;
	want = (p->peer_backup & ~ours) | (~p->allowed & ours);
	/* The peer goes by its own wish as well, whatever we say. */
	differ = (want ^ p->backup) & p->open & p->attached & (p->restore ? ~0u : ~(__u32)p->local_backup);
	if (peer->checks & p->seen)
		again = mps_follow_peer(peer, view, counters, p) & p->open & p->attached;
	peer->want = want;
	peer->pending = differ | again;
	return 0;
}

/* A view of what a peer sends, of which no subflow is known yet. What only a sender knows is 0. */
static __always_inline void begin_receiving_view(struct mps_view *view, const struct mps_peer *peer,
						 __u32 token, __u64 now_ns)
{
	view->token = token;
	view->unsent_bytes = 0;
	view->unacked_bytes = 0;
	view->window_bytes = 0;
	view->now_us = now_ns / 1000;
	view->last_allowed = peer->conn.allowed;
	view->direction = MPS_DIRECTION_RX;
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++) {
		view->sf[i].flags = 0;
		view->sf[i].bytes_acked = 0;
		view->known[i] = 0;
	}
}

#endif /* MPS_PEER_BPF_H */
