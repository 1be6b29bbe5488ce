/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Is the network namespace that these programs were loaded for still there? Nothing outside of the kernel can tell:
 * a namespace without a process and without a name may be held by a descriptor, by a socket that was left in it, or
 * by a mount somewhere else. So walk the kernel's own list of them. It is a ring, and every task hangs on it by
 * its own namespace.
 */
#ifndef MPS_NETNS_BPF_H
#define MPS_NETNS_BPF_H

#include <mps/datapath_abi.h>
#include "kernel.bpf.h"

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

typedef struct {
	int counter;
} atomic_t;

typedef struct refcount_struct {
	atomic_t refs;
} refcount_t;

struct ns_common {
	refcount_t __ns_ref; /* 6.18 (commit 96d997ea5ad9); before: count */
};

struct ns_common___before {
	refcount_t count;
};

struct net {
	struct list_head list;
	struct ns_common ns;
	__u64 net_cookie;
};

struct nsproxy {
	struct net *net_ns;
};

struct task_struct {
	struct nsproxy *nsproxy;
};

#pragma clang attribute pop

#define MPS_MOST_NAMESPACES (1u << 18)

struct mps_netns_walk {
	struct list_head *first, *now;
	__s32 answer; /* enum mps_netns_answer */
};

static __always_inline struct net *net_of(struct list_head *node)
{
	return (void *)node - bpf_core_field_offset(struct net, list);
}

/* Its last user is gone, and only the kernel's worker has not come to it yet. */
static __always_inline bool is_dying(struct net *net)
{
	int users = 1;

	if (bpf_core_field_exists(net->ns.__ns_ref)) {
		if (bpf_core_read(&users, sizeof(users), &net->ns.__ns_ref.refs.counter))
			return false;
	} else {
		struct ns_common___before *ns = (void *)&net->ns;

		if (bpf_core_field_exists(ns->count) &&
		    bpf_core_read(&users, sizeof(users), &ns->count.refs.counter))
			return false;
	}
	return users <= 0;
}

/*
 * One of the ring's nodes is the list's head and no namespace: what is read around it is garbage that is compared and
 * nothing else. If it should be equal, the answer errs towards a namespace that lives.
 */
static long look_at_namespace(__u32 index MPS_UNUSED, void *data)
{
	struct mps_netns_walk *walk = data;
	struct list_head *now = walk->now;
	struct net *net = net_of(now);
	__u64 cookie = 0;

	if (!bpf_core_read(&cookie, sizeof(cookie), &net->net_cookie) && cookie == mps_netns_cookie) {
		walk->answer = is_dying(net) ? MPS_NETNS_GONE : MPS_NETNS_ALIVE;
		return 1;
	}
	if (bpf_core_read(&now, sizeof(now), &now->next))
		return 1;
	walk->now = now;
	if (now == walk->first) {
		walk->answer = MPS_NETNS_GONE;
		return 1;
	}
	return 0;
}

/* Run by the loader; the answer is what it returns. */
SEC("syscall") int mps_netns_alive(void *ctx MPS_UNUSED)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct mps_netns_walk walk = {.answer = MPS_NETNS_UNKNOWN};
	struct net *net = BPF_CORE_READ(task, nsproxy, net_ns);

	if (!net)
		return MPS_NETNS_UNKNOWN;
	walk.first = (void *)net + bpf_core_field_offset(struct net, list);
	walk.now = walk.first;
	bpf_loop(MPS_MOST_NAMESPACES, look_at_namespace, &walk, 0);
	return walk.answer;
}

#endif
