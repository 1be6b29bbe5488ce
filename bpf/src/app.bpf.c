// SPDX-License-Identifier: GPL-2.0-only
/*
 * `mpsched app attach`: socket options by which applications choose for their own MPTCP connections (mps/socket_options.h). These programs
 * are not part of the data path: they stand at cgroups that are configured, since every socket option call of every process there passes
 * them. What they keep, and who reads it, is in choice.bpf.h.
 *
 * Both are called with the socket locked. What is not theirs they leave to the kernel, without having looked at it.
 */
#include "maps.bpf.h"
#include <mps/socket_options.h>

char mps_license[] SEC("license") = "GPL";

/* Set before load: sockets of other network namespaces are none of ours … */
const volatile __u64 mps_netns_cookie = 0;
/* … and what the cgroup's applications may choose is in this place. */
const volatile __u32 mps_grant_index = 0;

#define OUR_OPTIONS(name) (((name) & ~0xff) == MPSCHED_INFO)
#define IPPROTO_MPTCP_NUMBER 262
/* The most that the kernel copies for a program (PAGE_SIZE). */
#define MOST_BYTES 4096

/* asm-generic/errno-base.h */
#define ENOENT 2
#define E2BIG 7
#define ENOMEM 12
#define EPERM 1
#define ENODEV 19
#define EINVAL 22
#define EOPNOTSUPP 95

static __always_inline const struct mps_grant *own_grant(void)
{
	__u32 index = mps_grant_index;
	const struct mps_grant *grant = bpf_map_lookup_elem(&mps_grants, &index);

	return grant && grant->serial ? grant : NULL;
}

/* Is it for us to answer? Else the kernel does: another namespace, plain TCP, a grant that is just being taken back. */
static __always_inline bool is_ours(struct bpf_sockopt *ctx)
{
	struct bpf_sock *sk = ctx->sk;

	return sk && sk->protocol == IPPROTO_MPTCP_NUMBER && bpf_get_netns_cookie(ctx) == mps_netns_cookie;
}

/*
 * What is kept for this socket; made if there is nothing. The verifier takes a pointer that comes back from memory for a number, which is
 * what the kernel's structures can be read by on every kernel.
 */
static __always_inline struct mps_choice *choice_of(struct bpf_sockopt *ctx, const struct mps_grant *grant)
{
	struct bpf_sock *sk = ctx->sk;
	struct mps_choice *choice;

	if (!sk)
		return NULL;
	choice = bpf_sk_storage_get(&mps_choices, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (!choice)
		return NULL;
	*(volatile __u64 *)&choice->msk = (__u64)sk;
	if (choice->serial != grant->serial || choice->grant != mps_grant_index) { /* a new one, or void */
		choice->fields = 0;
		choice->prefer = 0;
		choice->grant = mps_grant_index;
		choice->serial = grant->serial;
	}
	choice->magic = MPS_CHOICE_MAGIC;
	return choice;
}

static __always_inline struct mptcp_sock *msk_of(const struct mps_choice *choice)
{
	return (struct mptcp_sock *)*(const volatile __u64 *)&choice->msk;
}

static __always_inline __u32 token_of(const struct mps_choice *choice)
{
	struct mptcp_sock *msk = msk_of(choice);
	__u32 token = 0;

	bpf_core_read(&token, sizeof(token), &msk->token);
	return token;
}

/* --------------------------------------------------------------------- set */

/* As copy_struct_from_user(): what is longer than is known here says nothing more. `from` is a constant. */
static __always_inline int rest_is_zero(struct bpf_sockopt *ctx, const __u32 from)
{
	const __u8 *at = ctx->optval, *end = ctx->optval_end;

	for (__u32 i = from; i < MOST_BYTES; i++) {
		if (at + i + 1 > end)
			break;
		if (at[i])
			return 0;
	}
	return 1;
}

/* Global, so that each is walked by the verifier once. */
__noinline int mps_app_rest_8(struct bpf_sockopt *ctx)
{
	return rest_is_zero(ctx, sizeof(struct mpsched_number));
}

__noinline int mps_app_rest_32(struct bpf_sockopt *ctx)
{
	return rest_is_zero(ctx, sizeof(struct mpsched_avoid));
}

__noinline int mps_app_rest_40(struct bpf_sockopt *ctx)
{
	return rest_is_zero(ctx, sizeof(struct mpsched_policy));
}

/* The value of an option of `size`, a constant; 0 or an error number. */
static __always_inline int fetch(struct bpf_sockopt *ctx, void *to, const __u32 size)
{
	const void *at = ctx->optval, *end = ctx->optval_end;
	int length = ctx->optlen, zero;

	if (length < (int)size)
		return EINVAL;
	if (length > MOST_BYTES)
		return E2BIG;
	if (at + size > end)
		return EINVAL;
	__builtin_memcpy(to, at, size);
	if (length == (int)size)
		return 0;
	if (size == sizeof(struct mpsched_number))
		zero = mps_app_rest_8(ctx);
	else if (size == sizeof(struct mpsched_avoid))
		zero = mps_app_rest_32(ctx);
	else
		zero = mps_app_rest_40(ctx);
	return zero ? 0 : E2BIG;
}

static __always_inline bool same_name(const char *a, const char *b)
{
	for (int i = 0; i < MPS_NAME_LEN; i++) {
		if (a[i] != b[i])
			return false;
		if (!a[i])
			return true;
	}
	return false; /* no NUL */
}

/* The policy of this name, if it may be chosen. */
static __always_inline const struct mps_grant_policy *find_policy(const struct mps_grant *grant,
								  const char *name)
{
	for (__u32 i = 0; i < MPS_GRANT_POLICIES; i++) {
		if (i >= grant->nr_policies)
			break;
		if (same_name(grant->policy[i].name, name))
			return &grant->policy[i];
	}
	return NULL;
}

static __always_inline void choose_policy(struct mps_choice *choice, const struct mps_grant_policy *policy,
					  __u32 direction)
{
	choice->prefer = 0;
	if (direction != MPSCHED_RECEIVE) {
		choice->policy = policy->id;
		choice->fields |= MPS_CHOICE_POLICY;
	}
	if (direction == MPSCHED_SEND)
		return;
	choice->rx_policy = policy->id;
	if (policy->rx)
		choice->fields |= MPS_CHOICE_RX_POLICY;
	else
		choice->fields &= ~MPS_CHOICE_RX_POLICY;
}

static __always_inline void unchoose_policy(struct mps_choice *choice, __u32 direction)
{
	choice->prefer = 0;
	if (direction != MPSCHED_RECEIVE)
		choice->fields &= ~MPS_CHOICE_POLICY;
	if (direction != MPSCHED_SEND)
		choice->fields &= ~MPS_CHOICE_RX_POLICY;
}

static __always_inline int set_policy(struct bpf_sockopt *ctx, struct mps_choice *choice,
				      const struct mps_grant *grant)
{
	struct mpsched_policy wish;
	int error = fetch(ctx, &wish, sizeof(wish));
	const struct mps_grant_policy *policy;

	if (error)
		return error;
	if (wish.direction > MPSCHED_RECEIVE || wish.reserved)
		return EINVAL;
	if (!wish.name[0]) {
		unchoose_policy(choice, wish.direction);
		return 0;
	}
	policy = find_policy(grant, wish.name);
	if (!policy)
		return ENOENT;
	if (wish.direction == MPSCHED_RECEIVE && !policy->rx)
		return EOPNOTSUPP;
	choose_policy(choice, policy, wish.direction);
	return 0;
}

static __always_inline int set_preference(struct bpf_sockopt *ctx, struct mps_choice *choice,
					  const struct mps_grant *grant)
{
	struct mpsched_number wish;
	int error = fetch(ctx, &wish, sizeof(wish));
	__u32 prefer, index;

	if (error)
		return error;
	prefer = wish.value == MPSCHED_NONE ? MPSCHED_PREFER_NOTHING : wish.value;
	if (wish.value != MPSCHED_NONE && wish.value > MPSCHED_PREFER_ENERGY)
		return EINVAL;
	if (!prefer) {
		unchoose_policy(choice, MPSCHED_BOTH);
		return 0;
	}
	index = grant->prefer[prefer & 7];
	if (!index || index > MPS_GRANT_POLICIES)
		return ENOENT;
	index--;
	barrier_var(
		index); /* 6.1 loses its range by the subtraction; 16 of them would be within the grant still */
	index &= 15;
	choose_policy(choice, &grant->policy[index], MPSCHED_BOTH);
	choice->prefer = prefer;
	return 0;
}

static __always_inline int set_avoid(struct bpf_sockopt *ctx, struct mps_choice *choice)
{
	struct mpsched_avoid wish;
	int error = fetch(ctx, &wish, sizeof(wish));
	__u8 places[8] = {};

	if (error)
		return error;
	if (wish.count > MPSCHED_MAX_AVOIDED)
		return EINVAL;
	for (__u32 i = 0; i < MPSCHED_MAX_AVOIDED; i++) {
		__u32 ifindex = wish.ifindex[i], *index;
		struct mps_path *path;

		if (i >= wish.count)
			break;
		index = bpf_map_lookup_elem(&mps_path_index, &ifindex);
		path = index ? bpf_map_lookup_elem(&mps_paths, index) : NULL;
		if (!path || !(path->flags & MPS_PATH_ATTACHED))
			return ENODEV;
		places[i] = *index;
	}
	__builtin_memcpy(choice->avoid_path, places, sizeof(places));
	__builtin_memcpy(choice->avoided, &wish, sizeof(wish));
	if (wish.count)
		choice->fields |= MPS_CHOICE_AVOID;
	else
		choice->fields &= ~MPS_CHOICE_AVOID;
	return 0;
}

static __always_inline int set_cost_limit(struct bpf_sockopt *ctx, struct mps_choice *choice,
					  const struct mps_grant *grant)
{
	struct mpsched_number wish;
	int error = fetch(ctx, &wish, sizeof(wish));

	if (error)
		return error;
	if (wish.value == MPSCHED_NONE) {
		choice->fields &= ~MPS_CHOICE_COST;
		return 0;
	}
	if (wish.value >= MPS_NO_COST_LIMIT)
		return EINVAL;
	if (wish.value > grant->max_cost)
		return EPERM;
	choice->cost_limit = wish.value;
	choice->fields |= MPS_CHOICE_COST;
	return 0;
}

static __always_inline int set_deadline(struct bpf_sockopt *ctx, struct mps_choice *choice)
{
	struct mpsched_number wish;
	int error = fetch(ctx, &wish, sizeof(wish));

	if (error)
		return error;
	if (wish.value == MPSCHED_NONE) {
		choice->fields &= ~MPS_CHOICE_DEADLINE;
		return 0;
	}
	if (!wish.value || wish.value > MPSCHED_MAX_DEADLINE)
		return EINVAL;
	choice->deadline_us = wish.value;
	choice->fields |= MPS_CHOICE_DEADLINE;
	return 0;
}

static __always_inline int set_size(struct bpf_sockopt *ctx, struct mps_choice *choice)
{
	struct mpsched_number wish;
	int error = fetch(ctx, &wish, sizeof(wish));

	if (error)
		return error;
	choice->size_bytes = wish.value;
	if (wish.value == MPSCHED_NONE)
		choice->fields &= ~MPS_CHOICE_SIZE;
	else
		choice->fields |= MPS_CHOICE_SIZE;
	return 0;
}

/* The data path looks again at its next packet. */
static __always_inline void ask(const struct mps_choice *choice)
{
	__u32 token = token_of(choice);
	struct mps_conn *conn;
	struct mps_peer *peer;

	if (!token)
		return;
	conn = bpf_map_lookup_elem(&mps_conns, &token);
	if (conn && conn->msk == choice->msk)
		__sync_lock_test_and_set(&conn->asked, 1);
	peer = bpf_map_lookup_elem(&mps_peers, &token);
	if (peer && peer->conn.msk == choice->msk)
		__sync_lock_test_and_set(&peer->conn.asked, 1);
}

static __always_inline int set_option(struct bpf_sockopt *ctx, struct mps_choice *choice,
				      const struct mps_grant *grant)
{
	switch (ctx->optname) {
	case MPSCHED_POLICY:
		return set_policy(ctx, choice, grant);
	case MPSCHED_PREFER:
		return set_preference(ctx, choice, grant);
	case MPSCHED_AVOID:
		return set_avoid(ctx, choice);
	case MPSCHED_COST_LIMIT:
		return set_cost_limit(ctx, choice, grant);
	case MPSCHED_DEADLINE:
		return set_deadline(ctx, choice);
	case MPSCHED_SIZE:
		return set_size(ctx, choice);
	}
	return -1;
}

SEC("cgroup/setsockopt") int mps_app_set(struct bpf_sockopt *ctx)
{
	const struct mps_grant *grant;
	struct mps_choice *choice;
	int error;

	if (ctx->level != MPSCHED_SOL_MPTCP || !OUR_OPTIONS(ctx->optname))
		return 1;
	/* Answered at a cgroup below this one. */
	if (ctx->optlen < 0 || bpf_get_retval())
		return 1;
	grant = own_grant();
	if (!grant || !is_ours(ctx))
		return 1;
	choice = choice_of(ctx, grant);
	error = choice ? set_option(ctx, choice, grant) : ENOMEM;
	if (error < 0) /* none of ours after all */
		return 1;
	if (error) {
		bpf_set_retval(-error);
		return 0;
	}
	ask(choice);
	ctx->optlen = -1;
	return 1;
}

/* --------------------------------------------------------------------- get */

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

SEC("cgroup/getsockopt") int mps_app_get(struct bpf_sockopt *ctx)
{
	const struct mps_grant *grant;
	struct mps_choice *choice;
	int error;

	if (ctx->level != MPSCHED_SOL_MPTCP || !OUR_OPTIONS(ctx->optname))
		return 1;
	/* Answered below, or by whatever kernel knows these numbers one day. */
	if (bpf_get_retval() != -EOPNOTSUPP)
		return 1;
	grant = own_grant();
	if (!grant || !is_ours(ctx))
		return 1;
	choice = choice_of(ctx, grant);
	error = choice ? get_option(ctx, choice, grant) : ENOMEM;
	if (error < 0)
		return 1;
	if (error) {
		bpf_set_retval(-error);
		return 0;
	}
	ctx->retval = 0;
	return 1;
}
