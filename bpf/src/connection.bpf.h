/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What is remembered of a connection (struct mps_conn), as its packets arrive: which policy it has, where its subflows were seen, and
 * whether there is anything to decide at all.
 */
#ifndef MPS_CONNECTION_BPF_H
#define MPS_CONNECTION_BPF_H

#include "maps.bpf.h"
#include "parse.bpf.h"
#include "view.bpf.h"
#include "known_socket.bpf.h"
#include "places.bpf.h"
#include "rules.bpf.h"
#include "choice.bpf.h"

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

/* From now on it has the policy in this slot, and that one's memory is blank; false if nothing has changed. */
static __always_inline bool adopt_slot(struct mps_conn *conn, const struct mps_config *config, __u32 slot,
				       __u32 epoch)
{
	__u32 serial;

	slot &= MPS_MAX_SLOTS - 1;
	serial = config->slot_serial[slot];
	if (slot == conn->slot && serial == conn->slot_serial) {
		conn->rule_epoch = epoch;
		return false;
	}
	for (__u32 i = 0; i < MPS_STATE_WORDS; i++)
		conn->state.word[i] = 0;
	conn->kept_words = 0; /* the policy has not told yet */
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++)
		conn->sf[i].fresh = 1;
	conn->slot = slot;
	conn->slot_serial = serial;
	/* Last: to a command that looks meanwhile, a record with the present epoch and the old slot keeps the old policy loaded. */
	barrier();
	conn->rule_epoch = epoch;
	return true;
}

/* Policies were chosen anew, the application has asked for something, or the slot was refilled. */
static __always_inline bool has_new_choice(const struct mps_conn *conn, const struct mps_config *config)
{
	return conn->asked || conn->rule_epoch != config->choice >> 32 ||
	       conn->slot_serial != config->slot_serial[conn->slot & (MPS_MAX_SLOTS - 1)];
}

/*
 * The connection follows the present choice of policies; a refilled slot is another policy too. With `rx` it is the record of
 * what its peer is to send.
 */
__noinline int mps_follow_choice(struct mps_conn *conn, const struct mps_config *config,
				 struct mps_counters *counters, __u32 ifindex, __u32 rx)
{
	__u32 epoch, slot, asked;
	__u64 choice;

	if (!conn || !config || !counters)
		return 0;
	choice = *(volatile __u64 *)&config->choice; /* one load: epoch and slot belong together */
	epoch = choice >> 32;
	slot = conn->slot;
	asked = *(volatile __u32 *)&conn->asked;
	if (asked) /* what is said from here on asks again */
		__sync_lock_test_and_set(&conn->asked, 0);
	if (conn->rule_epoch != epoch || asked) {
		slot = mps_choose_slot(conn->msk, config->nr_rules, rx ? config->rx_slot : (__u32)choice,
				       ifindex, rx);
		if (config->flags & MPS_CONFIG_APPS || conn->chosen)
			slot = mps_heed_choice(conn, slot, rx);
	}
	if (adopt_slot(conn, config, slot, epoch) && !rx)
		COUNT(counters, SWITCHED);
	return 0;
}

/* One that the peer has joined, and that the kernel is about to put into its list; see join.bpf.h. */
static __always_inline bool is_about_to_be_listed(const struct mps_conn *conn, __u32 i)
{
	struct tcp_sock *tp = (struct tcp_sock *)conn->sf[i].sk;
	struct mptcp_subflow_context *ctx;

	if (!(conn->unlisted >> i & 1))
		return false;
	ctx = READ(tp, inet_conn.icsk_ulp_data, false);
	return READ(tp, inet_conn.icsk_inet.sk.__sk_common.skc_state, false) == TCP_ESTABLISHED_STATE &&
	       (__u64)READ(ctx, conn, false) == conn->msk;
}

/*
 * Subflows that are no longer in the kernel's list make room at their index. Also where the list is too long to be read to
 * its end: the kernel adds behind, so one that we know never moves out of what we read.
 */
__noinline int mps_forget_gone(struct mps_conn *conn, __u32 seen)
{
	if (!conn)
		return 0;
	if (conn->unlisted & seen)
		__sync_fetch_and_and(&conn->unlisted, ~seen);
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++)
		if (!(seen >> i & 1) && !is_about_to_be_listed(conn, i))
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

/*
 * A connection that has nothing unsent and nothing under way (a download, an idle one) has nothing to decide, as
 * long as nothing has changed since the last decision and that left no bit to be changed. Policies that
 * depend on the time are still asked about once a millisecond: the clock used here is cheap, and as coarse as
 * the kernel's tick. Within one tick it stands still, so it is read once in each; which tick it is takes one load.
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
	__u64 now_ns, tick;

	if (mps_decide_all || !conn->settled || pkt->has_prio || msk->write_seq != msk->snd_una)
		return false;
	if (flags & MPS_CONFIG_LEAVING || (flags & MPS_CONFIG_METERED && pkt->fin))
		return false;
	if (conn->last_node != (__u64)msk->conn_list.prev || conn->path_epoch != config->path_epoch ||
	    has_new_choice(conn, config))
		return false;
	tick = bpf_jiffies64();
	now_ns = p->idle_tick == tick ? 0 : bpf_ktime_get_coarse_ns();
	if (now_ns && (__s64)(now_ns - conn->decided_ns) >= (__s64)IDLE_NS)
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
	if (now_ns && (__s64)(now_ns - mine->seen_ns) > 0)
		mine->seen_ns = now_ns;
	if (now_ns && mps_rdonly_cast)
		note_idle_tick(p, tick);
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

#endif /* MPS_CONNECTION_BPF_H */
