/* SPDX-License-Identifier: GPL-2.0-only */
/* From what an application hands to setsockopt() to its choice. */
#ifndef MPS_APP_SET_BPF_H
#define MPS_APP_SET_BPF_H

#include "app.bpf.h"

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

#endif /* MPS_APP_SET_BPF_H */
