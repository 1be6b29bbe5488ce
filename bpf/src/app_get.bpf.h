/* SPDX-License-Identifier: GPL-2.0-only */
/* What an application is told by getsockopt(). */
#ifndef MPS_APP_GET_BPF_H
#define MPS_APP_GET_BPF_H

#include "app.bpf.h"

/* Puts as much of an answer as there is room for; at least `least`, else EINVAL. Both sizes are constants. */
#define ANSWER(ctx, from)                                                                                    \
	({                                                                                                   \
		void *to_ = (ctx)->optval, *end_ = (ctx)->optval_end;                                        \
		int error_ = EINVAL;                                                                         \
		if (to_ + sizeof(*(from)) <= end_) {                                                         \
			__builtin_memcpy(to_, from, sizeof(*(from)));                                        \
			(ctx)->optlen = sizeof(*(from));                                                     \
			error_ = 0;                                                                          \
		}                                                                                            \
		error_;                                                                                      \
	})

static __always_inline int get_info(struct bpf_sockopt *ctx, const struct mps_grant *grant)
{
	struct mpsched_info *info = ctx->optval;

	if ((void *)(info + 1) > ctx->optval_end)
		return EINVAL;
	__builtin_memset(info, 0, sizeof(*info));
	info->version = MPSCHED_API_VERSION;
	info->max_cost = grant->max_cost;
	info->nr_policies = grant->nr_policies;
	for (__u32 i = 0; i < MPS_GRANT_POLICIES; i++) {
		if (i >= grant->nr_policies)
			break;
		__builtin_memcpy(info->policy[i], grant->policy[i].name, MPS_NAME_LEN);
	}
	ctx->optlen = sizeof(*info);
	return 0;
}

static __always_inline int get_state(struct bpf_sockopt *ctx, const struct mps_choice *choice,
				     const struct mps_grant *grant)
{
	struct mpsched_state state = {};
	__u32 fields = choice->fields, token = token_of(choice);
	struct mps_conn *conn = bpf_map_lookup_elem(&mps_conns, &token);
	const struct mps_grant_policy *policy;

	state.token = token;
	if (conn && conn->msk != choice->msk)
		conn = NULL;
	if (conn)
		state.flags |= MPSCHED_STEERED;
	state.flags |= fields &
		       (MPSCHED_HAS_AVOID | MPSCHED_HAS_COST_LIMIT | MPSCHED_HAS_DEADLINE | MPSCHED_HAS_SIZE);
	if (fields & MPS_CHOICE_DEADLINE)
		state.deadline_us = choice->deadline_us;
	if (fields & MPS_CHOICE_SIZE)
		state.size = choice->size_bytes;
	policy = fields & MPS_CHOICE_POLICY ? mps_granted(grant, choice->policy) : NULL;
	if (policy) {
		__builtin_memcpy(state.policy, policy->name, MPS_NAME_LEN);
		state.flags |= MPSCHED_HAS_POLICY;
		if (conn && !conn->asked && conn->slot == policy->slot)
			state.flags |= MPSCHED_IN_FORCE;
	}
	policy = fields & MPS_CHOICE_RX_POLICY ? mps_granted(grant, choice->rx_policy) : NULL;
	if (policy) {
		__builtin_memcpy(state.rx_policy, policy->name, MPS_NAME_LEN);
		state.flags |= MPSCHED_HAS_RX_POLICY;
	}
	state.preference = choice->prefer;
	state.cost_limit = grant->max_cost;
	if (fields & MPS_CHOICE_COST && choice->cost_limit < state.cost_limit)
		state.cost_limit = choice->cost_limit;
	if (fields & MPS_CHOICE_AVOID)
		__builtin_memcpy(&state.avoid, choice->avoided, sizeof(state.avoid));
	return ANSWER(ctx, &state);
}

/* What the interface is, as `mpsched path` has it. */
static __always_inline void put_path(struct mpsched_subflow *out, const struct mps_choice *choice,
				     __u32 ifindex)
{
	__u32 *index = bpf_map_lookup_elem(&mps_path_index, &ifindex);
	struct mps_path *path = index ? bpf_map_lookup_elem(&mps_paths, index) : NULL;
	struct mps_usage *usage = index ? bpf_map_lookup_elem(&mps_usage, index) : NULL;
	__u64 quota, used;

	out->ifindex = ifindex;
	out->weight = 1;
	if (!path || !usage)
		return;
	__builtin_memcpy(out->ifname, path->name, MPSCHED_IFNAME_LEN);
	out->energy = path->energy_class;
	out->cost = path->cost;
	out->priority = path->priority;
	out->weight = path->weight ? path->weight : 1;
	if (path->flags & MPS_PATH_ATTACHED)
		out->flags |= MPSCHED_SF_STEERED;
	for (__u32 i = 0; i < MPSCHED_MAX_AVOIDED; i++)
		if (choice->fields & MPS_CHOICE_AVOID && i < choice->avoided[0] &&
		    choice->avoid_path[i] == *index)
			out->flags |= MPSCHED_SF_AVOIDED;
	quota = path->quota_bytes;
	used = usage->used_bytes;
	if (quota) {
		out->flags |= MPSCHED_SF_QUOTA;
		out->quota_left_bytes = quota > used ? quota - used : 0;
	}
}

/* What the last decisions about it were; returns the interface that the data path knows, 0 if it does not know the subflow. */
static __always_inline __u32 put_decision(struct mpsched_subflow *out, const struct mps_choice *choice,
					  __u32 token, __u64 sk)
{
	struct mps_conn *conn = bpf_map_lookup_elem(&mps_conns, &token);
	struct mps_peer *peer = bpf_map_lookup_elem(&mps_peers, &token);
	__u32 ifindex = 0;

	if (peer && peer->conn.msk == choice->msk) {
		for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++) {
			if (peer->conn.sf[i].sk != sk || !(peer->told >> i & 1))
				continue;
			out->flags |= MPSCHED_SF_PEER_TOLD;
			if (peer->sf[i].told == MPS_TOLD_BACKUP)
				out->flags |= MPSCHED_SF_PEER_AVOIDS;
		}
	}
	if (!conn || conn->msk != choice->msk)
		return 0;
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++) {
		const struct mps_conn_subflow *mine = &conn->sf[i];

		if (mine->sk != sk)
			continue;
		ifindex = mine->ifindex;
		if (conn->allowed >> i & 1)
			out->flags |= MPSCHED_SF_ALLOWED;
		if (!(conn->reasoned >> i & 1))
			continue;
		out->flags |= MPSCHED_SF_REASON;
		out->reason = mine->reason.code;
		if (mine->reason.flags & MPS_REASON_HAS_NUMBER) {
			out->flags |= MPSCHED_SF_NUMBER;
			out->reason_number = mine->reason.number;
		}
		if (mine->reason.other)
			out->reason_other = conn->sf[(mine->reason.other - 1) & (MPS_SUBFLOW_ROWS - 1)].id;
	}
	return ifindex;
}

/* What the kernel says of a subflow. */
static __always_inline void put_socket(struct mpsched_subflow *out, struct mptcp_subflow_context *ctx,
				       struct tcp_sock *tp)
{
	struct sock *sk = &tp->inet_conn.icsk_inet.sk;
	__u32 state = READ(sk, __sk_common.skc_state, false), min_rtt = READ(tp, rtt_min.s[0].v, false);
	bool joining = READ_BITS(ctx, request_join, false) && !READ_BITS(ctx, fully_established, false);

	if ((state == TCP_ESTABLISHED_STATE || state == TCP_CLOSE_WAIT_STATE) && !joining &&
	    !READ_BITS(ctx, stale, false))
		out->flags |= MPSCHED_SF_USABLE;
	if (READ_BITS(ctx, backup, false))
		out->flags |= MPSCHED_SF_BACKUP;
	if (bpf_core_field_exists(ctx->subflow_id))
		out->id = READ(ctx, subflow_id, false);
	out->srtt_us = READ(tp, srtt_us, false) >> 3;
	out->rttvar_us = READ(tp, mdev_us, false) >> 2;
	out->min_rtt_us = min_rtt == ~0u ? 0 : min_rtt;
	out->cwnd_segs = READ(tp, snd_cwnd, false);
	out->mss_bytes = READ(tp, mss_cache, false);
	out->bytes_acked = READ(tp, bytes_acked, false);
	out->bytes_received = READ(tp, bytes_received, false);
}

static __always_inline int get_subflows(struct bpf_sockopt *ctx, const struct mps_choice *choice)
{
	struct mptcp_sock *msk = msk_of(choice);
	struct list_head *head = &msk->conn_list, *node = NULL;
	void *at = ctx->optval, *end = ctx->optval_end;
	__u32 count = 0, filled = 0, token = token_of(choice);
	struct mpsched_subflows *all = at;

	/* The list is its owner's, and he is who asks. */
	bpf_core_read(&node, sizeof(node), &head->next);
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++) {
		struct mptcp_subflow_context *context = (struct mptcp_subflow_context *)node;
		struct mpsched_subflow *out = at + __builtin_offsetof(struct mpsched_subflows, subflow[i]);
		struct tcp_sock *tp;
		__u32 ifindex;

		if (!node || node == head)
			break;
		count++;
		tp = (struct tcp_sock *)READ(context, tcp_sock, false);
		node = READ(context, node.next, false);
		if ((void *)(out + 1) > end)
			continue;
		__builtin_memset(out, 0, sizeof(*out));
		out->id = i + 1;
		put_socket(out, context, tp);
		ifindex = put_decision(out, choice, token, (__u64)tp);
		put_path(out, choice, ifindex ? ifindex : socket_ifindex((struct sock *)tp));
		filled++;
	}
	if (at + __builtin_offsetof(struct mpsched_subflows, subflow) > end)
		return EINVAL;
	all->count = count;
	all->filled = filled;
	all->entry_bytes = sizeof(struct mpsched_subflow);
	all->reserved = 0;
	ctx->optlen = __builtin_offsetof(struct mpsched_subflows, subflow) +
		      filled * sizeof(struct mpsched_subflow);
	return 0;
}

static __always_inline int get_option(struct bpf_sockopt *ctx, const struct mps_choice *choice,
				      const struct mps_grant *grant)
{
	switch (ctx->optname) {
	case MPSCHED_INFO:
		return get_info(ctx, grant);
	case MPSCHED_STATE:
		return get_state(ctx, choice, grant);
	case MPSCHED_SUBFLOWS:
		return get_subflows(ctx, choice);
	}
	return -1;
}

#endif /* MPS_APP_GET_BPF_H */
