/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What an application has chosen for its connection by socket options (app.bpf.c), and what it may choose (struct mps_grant).
 *
 * A choice is kept in storage of the msk itself: it is gone with it, no other socket can be taken for it, and the kernel copies what a
 * listener has when it accepts (BPF_F_CLONE). XDP programs have no helper for such storage (storage.bpf.h).
 * It is looked for where a rule would be looked up, and at
 * the decisions of connections that are known to have a choice: nobody else pays for it.
 *
 * The socket's owner may be writing meanwhile. Each member is read whole, and `asked`, which he sets behind that, has everything read again.
 */
#ifndef MPS_CHOICE_BPF_H
#define MPS_CHOICE_BPF_H

#include "maps.bpf.h"
#include "storage.bpf.h"
#include "view.bpf.h"

/* Too large for the stack. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct mps_choice);
} mps_chosen SEC(".maps");

int mps_make_peer(__u32 token);

/* Copies it to mps_chosen; false if there is none. Global: walked by the verifier once. */
__noinline int mps_find_choice(__u64 msk)
{
	__u32 zero = 0;
	struct mps_choice *out = bpf_map_lookup_elem(&mps_chosen, &zero);
	struct hlist_node *node;

	if (!out)
		return 0;
	node = first_piece(msk);
	for (int i = 0; i < STORAGE_PIECES && node; i++) {
		if (!bpf_probe_read_kernel(out, sizeof(*out), data_of(node)) &&
		    out->magic == MPS_CHOICE_MAGIC)
			return 1;
		bpf_core_read(&node, sizeof(node), &node->next);
	}
	return 0;
}

/* What the choice in mps_chosen was made under, if that still holds. */
static __always_inline const struct mps_grant *grant_of(const struct mps_choice *chosen)
{
	__u32 index = chosen->grant;
	const struct mps_grant *grant = bpf_map_lookup_elem(&mps_grants, &index);

	return chosen->fields && grant && grant->serial && grant->serial == chosen->serial ? grant : NULL;
}

/*
 * Where a connection's slot is chosen, behind the rules: what its application says goes before them. Returns the slot. The record of
 * what the peer is to send is made here: nobody else would.
 */
__noinline int mps_heed_choice(struct mps_conn *conn, __u32 slot, __u32 rx)
{
	__u32 zero = 0, wanted, token = 0;
	struct mps_choice *chosen = bpf_map_lookup_elem(&mps_chosen, &zero);
	const struct mps_grant_policy *policy;
	const struct mps_grant *grant;
	struct mptcp_sock *msk;
	struct mps_peer *peer;

	if (!conn || !chosen)
		return slot;
	conn->chosen = 0;
	if (!mps_find_choice(conn->msk))
		return slot;
	grant = grant_of(chosen);
	if (!grant)
		return slot;
	conn->chosen = 1;
	wanted = rx ? MPS_CHOICE_RX_POLICY : MPS_CHOICE_POLICY;
	policy = chosen->fields & wanted ? mps_granted(grant, rx ? chosen->rx_policy : chosen->policy) : NULL;
	if (policy)
		slot = policy->slot;
	if (rx)
		return slot;
	msk = (struct mptcp_sock *)conn->msk;
	bpf_core_read(&token, sizeof(token), &msk->token);
	peer = bpf_map_lookup_elem(&mps_peers, &token);
	if (peer && peer->conn.msk == conn->msk)
		peer->conn.chosen = 1;
	else if (token)
		mps_make_peer(token);
	return slot;
}

/* A place in the table belongs to a name, which may come back as another interface; once it was given up, to another name. */
static __always_inline bool is_same_path(const struct mps_path *path, __u32 ifindex)
{
	return path->ifindex == ifindex || path->last_ifindex == ifindex;
}

/* At each decision about a connection with a choice: which paths it is not to use, and what was said of its messages. */
__noinline int mps_recall_choice(const struct mps_conn *conn, struct mps_view *view, struct mps_pass *p)
{
	__u32 zero = 0, limit;
	struct mps_choice *chosen = bpf_map_lookup_elem(&mps_chosen, &zero);
	const struct mps_grant *grant;

	if (!conn || !view || !p || !chosen || !mps_find_choice(conn->msk))
		return 0;
	grant = grant_of(chosen);
	if (!grant)
		return 0;
	limit = chosen->fields & MPS_CHOICE_COST ? chosen->cost_limit : MPS_NO_COST_LIMIT;
	if (limit > grant->max_cost)
		limit = grant->max_cost;
	p->dear = limit + 1; /* MPS_NO_COST_LIMIT becomes 0 */
	if (chosen->fields & MPS_CHOICE_SIZE)
		view->message.bytes = chosen->size_bytes;
	if (chosen->fields & MPS_CHOICE_DEADLINE)
		view->message.deadline_us = chosen->deadline_us;
	p->avoid = 0;
	for (__u32 i = 0; i < 7 && chosen->fields & MPS_CHOICE_AVOID; i++) {
		__u32 index = chosen->avoid_path[i];
		struct mps_path *path;

		if (i >= chosen->avoided[0])
			break;
		path = bpf_map_lookup_elem(&mps_paths, &index);
		if (path && is_same_path(path, chosen->avoided[i + 1]))
			p->avoid |= 1ull << (index & (MPS_MAX_PATHS - 1));
	}
	return 0;
}

/* The path at this index is not to be used, if there is another. */
static __always_inline __u32 is_unwanted(const struct mps_pass *p, const struct mps_path *path, __u32 index)
{
	return (__u32)(p->avoid >> (index & (MPS_MAX_PATHS - 1)) & 1) | (p->dear - 1 < path->cost);
}

#endif /* MPS_CHOICE_BPF_H */
