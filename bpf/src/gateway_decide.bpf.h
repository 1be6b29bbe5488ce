/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the hosts are to send. For each of a connection's two directions there is a record as the receiving host would have it if it was
 * steered itself (struct mps_peer), and it is treated by the same functions (peer.bpf.h): the policy for what peers send, with a
 * view of what passed here; what it wishes is told to the sender in the receiver's name.
 */
#ifndef MPS_GATEWAY_DECIDE_BPF_H
#define MPS_GATEWAY_DECIDE_BPF_H

#include "gateway_maps.bpf.h"
#include "gateway_queue.bpf.h"
#include "gateway_tell.bpf.h"
#include "gateway_watch.bpf.h"
#include "connection.bpf.h"
#include "peer.bpf.h"
#include "policy.bpf.h"

/* As mps_choose_slot(): rules see the connection as the receiving host does. */
__noinline int mps_gw_choose_slot(__u32 receiver, __u32 nr_rules, __u32 dflt)
{
	struct gateway_work *w = get_work();
	__u32 zero = 0;
	struct mps_match *m = bpf_map_lookup_elem(&mps_matches, &zero);

	if (!w || !m || !nr_rules)
		return dflt;
	m->slot = dflt;
	m->rx = 1;
	/* Of the socket nothing is known: rules by its mark, user or cgroup do not concern it. */
	m->want.mark = 0;
	m->want.uid = ~0u;
	m->want.ifindex = w->ifindex;
	m->want.local_port = bpf_ntohs(w->key.port[receiver & 1]);
	m->want.remote_port = bpf_ntohs(w->key.port[~receiver & 1]);
	__builtin_memcpy(m->want.local, w->key.address[receiver & 1], 16);
	__builtin_memcpy(m->want.remote, w->key.address[~receiver & 1], 16);
	__builtin_memcpy(m->host.address, w->key.address[~receiver & 1], 16);
	for (__u32 i = 0; i < CGROUP_DEPTH_MAX; i++)
		m->cgroup_ids[i] = m->cgroup_names[i] = 0;
	bpf_loop(nr_rules > MPS_MAX_RULES ? MPS_MAX_RULES : nr_rules, try_rule, NULL, 0);
	return m->slot;
}

__noinline int mps_gw_follow_choice(struct mps_peer *peer, const struct mps_config *config, __u32 receiver)
{
	__u32 epoch, slot;
	__u64 choice;

	if (!peer || !config)
		return 0;
	choice = *(volatile __u64 *)&config->choice;
	epoch = choice >> 32;
	slot = peer->conn.slot;
	if (peer->conn.rule_epoch != epoch)
		slot = mps_gw_choose_slot(receiver, config->nr_rules, config->rx_slot);
	adopt_slot(&peer->conn, config, slot, epoch);
	return 0;
}

/* As mps_take_peer(), from packets. `what` is the subflow's index, and 16 more if the receiving host began the connection. */
__noinline int mps_gw_take(struct mps_view *view, struct mps_peer *peer, struct mps_pass *p, __u32 token,
			   __u32 what)
{
	struct mps_gateway_conn *conn = bpf_map_lookup_elem(&mps_gw_conns, &token);
	__u32 index = what & 15, own_wish, peers_wish, backup, usable, receiver, dead;
	struct mps_config *config = get_config();
	struct mps_gateway_way *sends, *answers;
	struct mps_peer_subflow *told;
	struct mps_conn_subflow *mine;
	struct mps_subflow_view *out;
	struct mps_gateway_flow *flow;
	__u64 identity;

	if (!view || !peer || !p || !conn || !config || index >= MPS_MAX_SUBFLOWS)
		return 0;
	flow = bpf_map_lookup_elem(&mps_gw_flows, &conn->subflow[index]);
	if (!flow || flow->conn != token)
		return 0;
	receiver = what & 16 ? flow->initiator & 1 : 1 - (flow->initiator & 1);
	answers = &flow->way[receiver & 1];
	sends = &flow->way[~receiver & 1];
	mine = &peer->conn.sf[index];
	told = &peer->sf[index];
	out = &view->sf[index];
	own_wish = is_set(answers->backup);
	peers_wish = is_set(sends->backup);
	identity = flow->began_ns + index + 1;
	if (mine->sk != identity) {
		__builtin_memset(mine, 0, sizeof(*mine));
		__builtin_memset(told, 0, sizeof(*told));
		mine->sk = identity;
		mine->fresh = 1;
		mine->id = index + 1;
		mine->peer_backup = own_wish;
		mine->ifindex = flow->ifindex;
		peer->conn.path_epoch = 0; /* look its path up */
		peer->pending &= ~(1u << index);
		peer->told &= ~(1u << index);
		peer->checks &= ~(1u << index);
		told->grown_bytes = sends->bytes;
	}
	/* The host has told its peer something itself, and that is what the peer believes now. */
	if (mine->peer_backup != own_wish) {
		told->told = MPS_TOLD_NOTHING;
		peer->told &= ~(1u << index);
		p->overruled |= 1u << index;
	}
	mine->peer_backup = own_wish;
	mine->seen_ns = answers->ack_ns;
	if (told->grown_bytes != (__u32)sends->bytes) {
		told->grown_bytes = sends->bytes;
		told->grown_ns = p->now_ns;
	}
	measure_rate(told, sends->bytes, p->now_ns);
	backup = told->told ? is_equal(told->told, MPS_TOLD_BACKUP) : own_wish;
	/* Who asked for it must have an answer, and nobody ends it. */
	usable = is_set(flow->way[~flow->opener & 1].seen) & (1 - is_set(sends->fin | answers->fin));
	dead = is_forward_dead(flow, config->paths_down, config->down_ns, bpf_ktime_get_coarse_ns());
	__builtin_memset(out, 0, sizeof(*out));
	out->flags = MPS_SF_PRESENT | usable * MPS_SF_USABLE | backup * MPS_SF_BACKUP |
		     peers_wish * MPS_SF_LOCAL_BACKUP | dead * MPS_SF_TROUBLED |
		     is_equal(index, p->self) * MPS_SF_SELF |
		     is_set(conn->subflow[index].address[0][0]) * MPS_SF_IPV6;
	out->id = index + 1;
	out->bytes_acked = sends->bytes;
	out->pacing_rate = (__u64)told->rate * 1000;
	out->srtt_us = sends->srtt_us + answers->srtt_us;
	out->rttvar_us = sends->rttvar_us + answers->rttvar_us;
	out->min_rtt_us = sends->min_rtt_us + answers->min_rtt_us;
	out->mss_bytes = 1428;
	view->receipt[index].rtt_us = out->srtt_us;
	view->receipt[index].queue_us =
		queue_in_front_us(sends, answers, bpf_ktime_get_coarse_ns(), flow->out == (~receiver & 1));
	view->known[index] = 0;
	p->seen |= 1u << index;
	p->usable |= usable << index;
	p->open |= usable << index;
	p->backup |= backup << index;
	p->troubled |= dead << index;
	return 0;
}

/* Only what has changed, or that a millisecond has passed, asks for a decision. */
static __always_inline bool forward_is_due(const struct mps_conn *conn, const struct mps_config *config,
					   __u64 now_ns)
{
	return conn->path_epoch != config->path_epoch || conn->rule_epoch != config->choice >> 32 ||
	       conn->slot_serial != config->slot_serial[conn->slot & (MPS_MAX_SLOTS - 1)] ||
	       (__s64)(now_ns - conn->decided_ns) >= (__s64)PEER_DECIDE_NS;
}

/* The record of what this host receives; NULL if there is nothing to do for it. */
static __always_inline struct mps_peer *find_forward(__u32 token, const struct mps_config *config)
{
	struct mps_peer *peer = bpf_map_lookup_elem(&mps_gw_peers, &token), *blank;
	__u32 zero = 0;

	if (!peer) {
		blank = bpf_map_lookup_elem(&mps_blank_peer, &zero);
		if (!blank || !(config->flags & (MPS_CONFIG_RX | MPS_CONFIG_NEVER)))
			return NULL;
		bpf_map_update_elem(&mps_gw_peers, &token, blank, BPF_NOEXIST);
		peer = bpf_map_lookup_elem(&mps_gw_peers, &token);
		if (!peer)
			return NULL;
	}
	return peer_is_left_alone(peer, config) ? NULL : peer;
}

static __always_inline void decide_forward(struct __sk_buff *skb, struct mps_peer *peer,
					   const struct mps_config *config, struct mps_counters *counters,
					   struct mps_scratch *scratch, struct mps_pass *p, __u32 token,
					   __u32 conn_token, __u32 receiver, __u32 began)
{
	struct mps_view *view = &scratch->view;

	mps_gw_follow_choice(peer, config, receiver);
	p->wants = config->slot_wants[peer->conn.slot & (MPS_MAX_SLOTS - 1)];
	peer->conn.decided_ns = bpf_ktime_get_coarse_ns();
	begin_receiving_view(view, peer, token, p->now_ns);
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++)
		mps_gw_take(view, peer, p, conn_token, i | began << 4);
	if (peer->conn.known != p->seen)
		mps_forget_gone(&peer->conn, p->seen);
	view->present = p->seen;
	view->self = p->self;
	mps_add_peer_paths(peer, view, config, p);
	if (wants_policy(config, &peer->conn)) {
		mps_prepare_policy(scratch, &peer->conn, p->wants);
		run_tc_policy(skb, peer->conn.slot);
	}
	mps_conclude_peer(peer, scratch, config, counters, p);
	mps_compare_peer(peer, view, counters, p);
}

/* As mps_send_notices(). Returns a negative number if the packet at hand is spoilt. */
static __always_inline int notify_silent(struct __sk_buff *skb, struct mps_peer *peer,
					 const struct mps_config *config, struct mps_counters *counters,
					 struct mps_pass *p, __u32 conn_token, __u32 began)
{
	__u32 todo = peer->pending;

	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS && todo >> i; i++) {
		struct mps_conn_subflow *mine = &peer->conn.sf[i];
		__u32 backup = peer->want >> i & 1;
		int sent;

		if (!(todo >> i & 1) || !mine->sk || i == p->self)
			continue;
		if (p->now_ns - mine->seen_ns < TELL_SILENT_NS ||
		    p->now_ns - mine->flip_ns < (__u64)config->dwell_us * 1000 + TELL_SILENT_NS)
			continue;
		sent = mps_gw_notice(skb, conn_token, i, began << 1 | backup);
		if (sent < 0)
			return -1;
		if (!sent) {
			COUNT(counters, TELL_UNREACHABLE);
			continue;
		}
		count_told(counters, &peer->sf[i], backup);
		COUNT(counters, TOLD_ALONE);
		note_told(peer, i, p->now_ns, backup);
	}
	return 0;
}

/*
 * A pure ACK of a connection of several subflows, by the host at w->side: what is that host to receive? Returns a negative number if the packet must
 * not go on.
 */
__noinline int mps_gw_steer(struct __sk_buff *skb)
{
	struct mps_config *config = get_config();
	struct mps_counters *counters = get_counters();
	struct mps_scratch *scratch = get_scratch();
	struct gateway_work *w = get_work();
	__u32 token, conn_token, began, index, backup;
	struct mps_gateway_flow *flow;
	struct mps_peer *peer;
	struct mps_pass *p;
	int result;
	bool due;

	if (!config || !counters || !scratch || !w)
		return 0;
	flow = bpf_map_lookup_elem(&mps_gw_flows, &w->key);
	if (!flow)
		return 0;
	token = flow->token[w->side & 1];
	peer = find_forward(token, config);
	if (!peer)
		return 0;
	due = forward_is_due(&peer->conn, config, w->now_ns);
	if (!due && !peer->pending)
		return 0;
	p = get_pass(w->ifindex);
	if (!p)
		return 0;
	conn_token = flow->conn;
	began = is_equal(flow->initiator & 1, w->side & 1);
	index = flow->index & (MPS_SUBFLOW_ROWS - 1);
	p->now_ns = bpf_ktime_get_ns();
	p->self = index;
	if (due)
		decide_forward(skb, peer, config, counters, scratch, p, token, conn_token, w->side & 1,
			       began);
	if (!peer->pending)
		return 0;
	if (notify_silent(skb, peer, config, counters, p, conn_token, began) < 0)
		return -1;
	if (peer->pending >> index & 1 && !w->pkt.has_prio &&
	    p->now_ns - peer->conn.sf[index].flip_ns >= (__u64)config->dwell_us * 1000) {
		backup = peer->want >> index & 1;
		result = mps_append_prio(skb, &w->pkt, backup);
		mps_account_append(peer, counters, index, p->now_ns, (__u32)result << 1 | backup);
	}
	return 0;
}

/*
 * As mps_gw_steer() for the host with this token, without a packet of it: the one at hand only lends its body. Returns what is to be told
 * still.
 */
__noinline int mps_gw_look_at(struct __sk_buff *skb, __u32 token)
{
	struct mps_gateway_token *named = bpf_map_lookup_elem(&mps_gw_tokens, &token);
	struct mps_config *config = get_config();
	struct mps_counters *counters = get_counters();
	struct mps_scratch *scratch = get_scratch();
	struct gateway_work *w = get_work();
	__u32 conn_token, began, receiver;
	struct mps_gateway_conn *conn;
	struct mps_gateway_flow *flow;
	struct mps_peer *peer;
	struct mps_pass *p;

	if (!named || !config || !counters || !scratch || !w)
		return 0;
	conn_token = named->conn;
	began = 1 - is_set(named->responder);
	conn = bpf_map_lookup_elem(&mps_gw_conns, &conn_token);
	peer = conn ? find_forward(token, config) : NULL;
	if (!peer)
		return 0;
	/* Of the first that there is: rules see the connection by it. */
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++)
		if (conn->used >> i & 1) {
			w->key = conn->subflow[i];
			break;
		}
	flow = bpf_map_lookup_elem(&mps_gw_flows, &w->key);
	p = get_pass(w->ifindex);
	if (!flow || !flow->grouped || !p)
		return 0;
	receiver = began ? flow->initiator : 1 - flow->initiator;
	p->now_ns = bpf_ktime_get_ns();
	p->self = MPS_MAX_SUBFLOWS;
	decide_forward(skb, peer, config, counters, scratch, p, token, conn_token, receiver & 1, began);
	if (peer->pending)
		notify_silent(skb, peer, config, counters, p, conn_token, began);
	return peer->pending;
}

#endif /* MPS_GATEWAY_DECIDE_BPF_H */
