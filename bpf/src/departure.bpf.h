/* SPDX-License-Identifier: GPL-2.0-only */
/* A packet on its way out: is it one by which the peer can be told what it is to send, and what is there to tell? */
#ifndef MPS_DEPARTURE_BPF_H
#define MPS_DEPARTURE_BPF_H

#include "maps.bpf.h"
#include "parse.bpf.h"
#include "socket.bpf.h"
#include "peer.bpf.h"
#include "peer_tell.bpf.h"
#include "guard.bpf.h"
#include "join.bpf.h"

/* The packet as parsed; not on the stack, of which the chain of calls has all 512 bytes in use on 6.1. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct mps_packet);
} mps_departures SEC(".maps");

/* Blank. */
static __always_inline struct mps_packet *get_departure(void)
{
	__u32 zero = 0;
	struct mps_packet *pkt = bpf_map_lookup_elem(&mps_departures, &zero);

	if (pkt)
		__builtin_memset(pkt, 0, sizeof(*pkt));
	return pkt;
}

/* Global, so that the many ways through a packet's headers do not multiply with what follows. */
__noinline int mps_parse_out(struct __sk_buff *skb, struct mps_packet *pkt, __u32 l3)
{
	void *data = (void *)(long)skb->data, *data_end = (void *)(long)skb->data_end;

	if (!pkt)
		return PARSE_NOT_OURS;
	return l3 ? parse_packet(data, data_end, skb->len, true, pkt)
		  : parse_packet(data, data_end, skb->len, false, pkt);
}

/* Only what has changed, or that a millisecond has passed, asks for a decision. */
static __always_inline bool peer_is_due(const struct mps_peer *peer, const struct mptcp_sock *msk,
					const struct mps_config *config)
{
	const struct mps_conn *conn = &peer->conn;

	return conn->last_node != (__u64)msk->conn_list.prev || conn->path_epoch != config->path_epoch ||
	       has_new_choice(conn, config) ||
	       (__s64)(bpf_ktime_get_coarse_ns() - conn->decided_ns) >= (__s64)PEER_DECIDE_NS;
}

/* Nothing to decide, nothing to take back, nothing to look after. */
static __always_inline bool peer_is_left_alone(const struct mps_peer *peer, const struct mps_config *config)
{
	return !(config->flags & (MPS_CONFIG_RX | MPS_CONFIG_NEVER)) &&
	       !(peer->told | peer->pending | peer->checks | peer->conn.chosen);
}

/* The record of the connection; NULL if there is nothing to do for it. */
static __always_inline struct mps_peer *find_peer(struct mptcp_sock *msk, const struct mps_config *config,
						  struct mps_counters *counters)
{
	__u32 token = msk->token;
	struct mps_peer *peer = bpf_map_lookup_elem(&mps_peers, &token);

	if (!peer || peer->conn.msk != (__u64)msk) {
		/* One that is closed has no token any more, and still sends what ends its subflows. */
		if (!(config->flags & (MPS_CONFIG_RX | MPS_CONFIG_NEVER)) || !token)
			return NULL;
		if (!find_conn(counters, msk))
			return NULL;
		mps_make_peer(token);
		peer = bpf_map_lookup_elem(&mps_peers, &token);
		if (!peer || peer->conn.msk != (__u64)msk)
			return NULL;
	}
	return peer_is_left_alone(peer, config) ? NULL : peer;
}

/* What the kernel says now. Returns false if the list of subflows changed meanwhile. */
static __always_inline bool read_peer(struct mps_peer *peer, void *ssk, struct mptcp_sock *msk,
				      struct mps_pass *p, struct mps_view *view)
{
	struct list_head *head = &msk->conn_list;
	struct mps_walk walk;

	p->now_ns = bpf_ktime_get_ns();
	p->self = MPS_MAX_SUBFLOWS;
	peer->conn.decided_ns = p->now_ns;
	peer->conn.last_node = (__u64)msk->conn_list.prev;
	begin_receiving_view(view, peer, msk->token, p->now_ns);
	walk.view = view;
	walk.conn = NULL;
	walk.pass = p;
	walk.msk = msk;
	walk.self_sk = ssk;
	walk.ack = 0;
	walk.completes = 0;
	return mps_rdonly_cast ? walk_peer_fast(&walk, peer, head) : walk_peer_probing(&walk, peer, head);
}

static __always_inline bool is_pure_ack(const struct mps_packet *pkt)
{
	return !pkt->payload_len && !pkt->fin;
}

/* The packet's own subflow sends here, with these tags and addresses. */
__noinline int mps_note_departure(struct __sk_buff *skb, struct mps_peer *peer, const struct mps_packet *pkt,
				  struct mps_pass *p)
{
	void *data = (void *)(long)skb->data, *data_end = (void *)(long)skb->data_end;
	struct mps_conn_subflow *mine;
	__u32 *mac, *frame = data;

	if (!peer || !pkt || !p || p->self >= MPS_MAX_SUBFLOWS)
		return 0;
	mine = &peer->conn.sf[p->self & (MPS_SUBFLOW_ROWS - 1)];
	if (mine->ifindex != p->ifindex) {
		mine->ifindex = p->ifindex;
		peer->conn.path_epoch = 0;
	}
	if (is_pure_ack(pkt))
		mine->seen_ns = p->now_ns;
	mine->nr_vlans = 0;
	if (skb->vlan_present) {
		mine->nr_vlans = 1;
		mine->vlan_tci[0] = skb->vlan_tci;
		mine->vlan_proto[0] = skb->vlan_proto;
	}
	mine->has_mac = 0;
	if (pkt->net_off == sizeof(struct ethhdr) && data + MPS_MACS_LEN <= data_end) {
		mac = (__u32 *)mine->mac;
		mac[0] = frame[0];
		mac[1] = frame[1];
		mac[2] = frame[2];
		mine->has_mac = 1;
	}
	return 0;
}

static __always_inline void decide_peer(struct __sk_buff *skb, struct mps_peer *peer, struct mptcp_sock *msk,
					void *ssk, const struct mps_packet *pkt, struct mps_pass *p,
					const struct mps_config *config, struct mps_counters *counters,
					struct mps_scratch *scratch)
{
	if (has_new_choice(&peer->conn, config))
		mps_follow_choice(&peer->conn, config, counters, p->ifindex, 1);
	p->wants = config->slot_wants[peer->conn.slot & (MPS_MAX_SLOTS - 1)];
	if (!read_peer(peer, ssk, msk, p, &scratch->view)) {
		COUNT(counters, LIST_RACED);
		p->self = MPS_MAX_SUBFLOWS;
		return;
	}
	if (peer->conn.known != p->seen || p->unplaced)
		mps_forget_gone(&peer->conn, p->seen);
	scratch->view.present = p->seen;
	scratch->view.self = p->self;
	mps_note_departure(skb, peer, pkt, p);
	mps_add_peer_paths(peer, &scratch->view, config, p);
	if (wants_policy(config, &peer->conn)) {
		mps_prepare_policy(scratch, &peer->conn, p->wants);
		run_tc_policy(skb, peer->conn.slot);
	}
	mps_conclude_peer(peer, scratch, config, counters, p);
	mps_compare_peer(peer, &scratch->view, counters, p);
}

/* The index of the packet's own subflow without a decision. */
static __noinline int own_index(const struct mps_peer *peer, __u64 ssk)
{
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++)
		if (peer->conn.sf[i].sk == ssk)
			return i;
	return MPS_MAX_SUBFLOWS;
}

/* Left to the attached device above, as which IP sends for this socket. */
static __always_inline bool departs_above(struct tcp_sock *tp, __u32 ifindex)
{
	__u32 above = socket_tx_ifindex((struct sock *)tp), *index;
	struct mps_path *path;

	if (!above || above == ifindex)
		return false;
	index = bpf_map_lookup_elem(&mps_path_index, &above);
	if (!index)
		return false;
	path = bpf_map_lookup_elem(&mps_paths, index);
	return path && path->flags & MPS_PATH_ATTACHED;
}

/* Its last subflow may be one that the peer was told to avoid. */
static __always_inline bool is_single(const struct mptcp_sock *msk)
{
	__u32 token = msk->token;
	struct mps_peer *peer;

	if (msk->conn_list.prev != msk->conn_list.next)
		return false;
	peer = bpf_map_lookup_elem(&mps_peers, &token);
	return !peer || peer->conn.msk != (__u64)msk || !(peer->told | peer->pending);
}

/* The packet takes an MP_PRIO along if its subflow's peer is to hear one. */
static __always_inline void tell_by_own_ack(struct __sk_buff *skb, struct mps_packet *pkt,
					    struct mps_peer *peer, struct mps_counters *counters,
					    const struct mps_config *config, const struct mps_pass *p)
{
	__u32 self = p->self, backup;
	int result;

	barrier_var(self);
	self &= MPS_SUBFLOW_ROWS - 1;
	if (!is_pure_ack(pkt) || !(peer->pending & (1u << self)) || pkt->has_prio ||
	    p->now_ns - peer->conn.sf[self].flip_ns < (__u64)config->dwell_us * 1000)
		return;
	backup = peer->want >> self & 1;
	result = mps_append_prio(skb, pkt, backup);
	mps_account_append(peer, counters, self, p->now_ns, (__u32)result << 1 | backup);
}

/* The same as below, without a call. What is read of a socket of another kind is judged by nobody. */
static __always_inline struct tcp_sock *departing_subflow_fast(struct bpf_sock *sk, struct mptcp_sock **msk)
{
	struct tcp_sock *tp = KPTR(struct tcp_sock, sk, true);
	const struct sock *same = &tp->inet_conn.icsk_inet.sk;
	__u32 state = same->__sk_common.skc_state;
	struct mptcp_subflow_context *ctx;
	__u64 conn;

	if (state == TCP_TIME_WAIT_STATE || state == TCP_NEW_SYN_RECV_STATE ||
	    same->sk_type != SOCK_TYPE_STREAM || same->sk_protocol != IPPROTO_TCP || !tp->is_mptcp)
		return NULL;
	ctx = KPTR(struct mptcp_subflow_context, tp->inet_conn.icsk_ulp_data, true);
	conn = (__u64)ctx->conn;
	*msk = KPTR(struct mptcp_sock, (void *)conn, true);
	return conn ? tp : NULL;
}

/* The packet's subflow and its connection; NULL if it is none of MPTCP. */
static __always_inline struct tcp_sock *departing_subflow(struct bpf_sock *sk, struct mptcp_sock **msk)
{
	if (mps_rdonly_cast)
		return departing_subflow_fast(sk, msk);
	sk = stream_socket(sk);
	*msk = sk ? bpf_skc_to_mptcp_sock(sk) : NULL;
	return *msk ? bpf_skc_to_tcp_sock(sk) : NULL;
}

/* Separate, so that most packets of most hosts, which are none of MPTCP, do not pay for the registers and the stack of what follows. */
static __noinline int depart(struct __sk_buff *skb, bool l3)
{
	struct mps_counters *counters = get_counters();
	struct mps_config *config = get_config();
	struct bpf_sock *sk = skb->sk;
	struct mps_scratch *scratch;
	struct mptcp_sock *msk;
	struct mps_packet *pkt;
	struct mps_peer *peer;
	struct tcp_sock *tp;
	struct mps_pass *p;
	bool due;

	if (!sk || !config || !counters)
		return TC_ACT_UNSPEC;
	tp = departing_subflow(sk, &msk);
	if (!tp)
		return TC_ACT_UNSPEC;
	if (answers_join(tp))
		decide_on_join(skb, get_departure(), msk, tp, config, counters, l3);
	if (is_single(msk))
		return TC_ACT_UNSPEC;
	if (config->flags & MPS_CONFIG_GUARD)
		guard_departure(msk, tp);
	peer = find_peer(msk, config, counters);
	if (!peer)
		return TC_ACT_UNSPEC;
	due = peer_is_due(peer, msk, config);
	if ((!due && !peer->pending) || departs_above(tp, skb->ifindex))
		return TC_ACT_UNSPEC;
	pkt = get_departure();
	if (!pkt || mps_parse_out(skb, pkt, l3) != PARSE_MPTCP)
		return TC_ACT_UNSPEC;
	scratch = get_scratch();
	p = get_pass(skb->ifindex);
	if (!scratch || !p)
		return TC_ACT_UNSPEC;
	if (due) {
		decide_peer(skb, peer, msk, tp, pkt, p, config, counters, scratch);
	} else {
		p->now_ns = bpf_ktime_get_ns();
		p->self = own_index(peer, (__u64)tp);
		mps_note_departure(skb, peer, pkt, p);
	}
	if (p->self >= MPS_MAX_SUBFLOWS)
		return TC_ACT_UNSPEC;
	tell_by_own_ack(skb, pkt, peer, counters, config, p);
	if (peer->pending && mps_can_lend(skb, pkt, l3))
		mps_send_notices(skb, peer, counters, config, p);
	return TC_ACT_UNSPEC;
}

/*
 * One load tells what is no subflow. Of what is no TCP socket at all it reads something else, as safely; a subflow it never misses.
 */
static __always_inline bool has_no_subflow(struct bpf_sock *sk)
{
	return mps_rdonly_cast && !KPTR(struct tcp_sock, sk, true)->is_mptcp;
}

static __always_inline int handle_departure(struct __sk_buff *skb, bool l3)
{
	struct bpf_sock *sk = skb->sk;

	if (!sk)
		return receive_notice(skb, l3);
	return has_no_subflow(sk) ? TC_ACT_UNSPEC : depart(skb, l3);
}

#endif /* MPS_DEPARTURE_BPF_H */
