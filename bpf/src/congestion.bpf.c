// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which sockets have which congestion control. mps_cc_sockops gives it to a subflow as soon as it is established, mps_cc_apply
 * to all there are whenever a command has changed something, and takes it back the same way. Both hold the socket's lock.
 */
#include <mps/congestion_abi.h>
#include <bpf/bpf_endian.h>
#include "maps.bpf.h"
#include "rules.bpf.h"

char LICENSE[] SEC("license") = "GPL";

#define LEVEL_TCP 6
#define OPT_CONGESTION 13

/* Set before load. Programs at a cgroup see the sockets of every network namespace. */
const volatile __u64 mps_netns_cookie = 0;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MPS_CC_CHOICES);
	__type(key, __u32);
	__type(value, struct mps_cc_choice);
} mps_cc_choices SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct mps_cc_config);
} mps_cc_config SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct mps_cc_given);
} mps_cc_before SEC(".maps");

/* The socket at hand as a number, which a pointer becomes by way of a map. Also tells that nobody else ran in between. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} mps_cc_at_hand SEC(".maps");

/* Names are compared and cleared as two words. */
#define NAME_ALIGNED __attribute__((aligned(8)))

static __always_inline bool same_name(const char *a, const char *b)
{
	const __u64 *one = (const __u64 *)a, *other = (const __u64 *)b;

	return one[0] == other[0] && one[1] == other[1];
}

static __always_inline void name_now(char *name, struct tcp_sock *tp)
{
	const struct tcp_congestion_ops *ops = tp->inet_conn.icsk_ca_ops;

	((__u64 *)name)[0] = ((__u64 *)name)[1] = 0;
	if (ops)
		bpf_core_read_str(name, MPS_CC_NAME_LEN, &ops->name);
}

/*
 * The index of the socket's choice, 0 if it has none. Rules see the connection, which has the user and the cgroup; a subflow
 * itself while the connection is not known by its addresses yet.
 */
static __always_inline __u32 choose(struct tcp_sock *tp)
{
	struct mptcp_subflow_context *ctx = tp->inet_conn.icsk_ulp_data;
	__u32 zero = 0, choice, ifindex;
	struct mps_cc_config *config = bpf_map_lookup_elem(&mps_cc_config, &zero);
	__u64 *at_hand = bpf_map_lookup_elem(&mps_cc_at_hand, &zero), self, sock;
	struct sock *conn = NULL;
	__be16 port = 0;

	if (!config || !at_hand)
		return 0;
	*at_hand = (__u64)tp;
	self = sock = *(volatile __u64 *)at_hand;
	if (tp->is_mptcp && ctx) {
		bpf_core_read(&conn, sizeof(conn), &ctx->conn);
		bpf_core_read(&port, sizeof(port), &conn->__sk_common.skc_dport);
		if (port)
			sock = (__u64)conn;
	}
	ifindex = socket_ifindex((struct sock *)tp);
	choice = mps_choose_slot(sock, config->nr_rules, config->dflt, ifindex, 0);
	return *(volatile __u64 *)at_hand == self ? choice : 0;
}

/* `by` is whatever the calling program sets options by, `sk` by what it finds storage. */
#define give(by, sk, tp, choice)                                                                             \
	({                                                                                                   \
		struct mps_cc_given *memory_;                                                                \
		char now_[MPS_CC_NAME_LEN] NAME_ALIGNED, name_[MPS_CC_NAME_LEN] NAME_ALIGNED;                \
		name_now(now_, tp);                                                                          \
		__builtin_memcpy(name_, (choice)->name, sizeof(name_));                                      \
		if (!same_name(now_, name_)) {                                                               \
			memory_ = bpf_sk_storage_get(&mps_cc_before, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);    \
			if (memory_ &&                                                                       \
			    !bpf_setsockopt(by, LEVEL_TCP, OPT_CONGESTION, name_, sizeof(name_))) {          \
				if (!same_name(memory_->given, now_))                                        \
					__builtin_memcpy(memory_->before, now_, sizeof(now_));               \
				__builtin_memcpy(memory_->given, name_, sizeof(name_));                      \
				__sync_fetch_and_add(&(choice)->given, 1);                                   \
			} else {                                                                             \
				__sync_fetch_and_add(&(choice)->refused, 1);                                 \
			}                                                                                    \
		}                                                                                            \
	})

static __always_inline struct mps_cc_choice *choice_for(struct tcp_sock *tp)
{
	__u32 index = choose(tp);
	struct mps_cc_choice *choice = index ? bpf_map_lookup_elem(&mps_cc_choices, &index) : NULL;

	if (!choice || !choice->name[0] || !(tp->is_mptcp || (choice->flags & MPS_CC_PLAIN_TCP)))
		return NULL;
	return choice;
}

/* Returns 1, and leaves the reply alone: what other programs answer stands. */
SEC("sockops") int mps_cc_sockops(struct bpf_sock_ops *skops)
{
	struct mps_cc_choice *choice;
	struct bpf_sock *sk;
	struct tcp_sock *tp;

	if (skops->op != BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB &&
	    skops->op != BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB)
		return 1;
	sk = skops->sk;
	if (!sk || bpf_get_netns_cookie(skops) != mps_netns_cookie)
		return 1;
	tp = bpf_skc_to_tcp_sock(sk);
	if (!tp)
		return 1;
	choice = choice_for(tp);
	if (choice)
		give(skops, sk, tp, choice);
	return 1;
}

/* Moves every socket of the reader's network namespace to its choice, and those without one back to what they had. */
SEC("iter/tcp") int mps_cc_apply(struct bpf_iter__tcp *it)
{
	struct sock_common *sc = it->sk_common;
	struct mps_cc_given *memory;
	struct mps_cc_choice *choice;
	char now[MPS_CC_NAME_LEN] NAME_ALIGNED, before[MPS_CC_NAME_LEN] NAME_ALIGNED;
	struct tcp_sock *tp;

	if (!sc || sc->skc_state == TCP_LISTEN_STATE)
		return 0;
	tp = bpf_skc_to_tcp_sock(sc);
	if (!tp)
		return 0;
	choice = choice_for(tp);
	if (choice) {
		give(tp, sc, tp, choice);
		return 0;
	}
	memory = bpf_sk_storage_get(&mps_cc_before, sc, 0, 0);
	if (!memory)
		return 0;
	name_now(now, tp);
	__builtin_memcpy(before, memory->before, sizeof(before));
	if (same_name(now, memory->given))
		bpf_setsockopt(tp, LEVEL_TCP, OPT_CONGESTION, before, sizeof(before));
	bpf_sk_storage_delete(&mps_cc_before, sc);
	return 0;
}

/* Tells of every socket of the reader's network namespace whose congestion control is called mps_…. */
SEC("iter/tcp") int mps_cc_users(struct bpf_iter__tcp *it)
{
	struct sock_common *sc = it->sk_common;
	struct mptcp_subflow_context *ctx;
	struct mps_cc_user user = {};
	struct cgroup *cgroup = NULL;
	struct sock *owner;
	struct tcp_sock *tp;
	bool is_ipv6;

	if (!sc)
		return 0;
	tp = bpf_skc_to_tcp_sock(sc);
	if (!tp)
		return 0;
	name_now(user.name, tp);
	if (user.name[0] != 'm' || user.name[1] != 'p' || user.name[2] != 's' || user.name[3] != '_')
		return 0;
	is_ipv6 = sc->skc_family == AF_INET6;
	put_endpoint(user.local, sc, is_ipv6, false);
	put_endpoint(user.remote, sc, is_ipv6, true);
	user.local_port = sc->skc_num;
	user.remote_port = bpf_ntohs(sc->skc_dport);
	owner = (struct sock *)tp;
	ctx = tp->inet_conn.icsk_ulp_data;
	user.is_mptcp = tp->is_mptcp;
	if (tp->is_mptcp && ctx) {
		user.token = READ(ctx, token, false);
		bpf_core_read(&owner, sizeof(owner), &ctx->conn);
	}
	bpf_core_read(&user.uid, sizeof(user.uid), &owner->sk_uid);
	bpf_core_read(&cgroup, sizeof(cgroup), &owner->sk_cgrp_data.cgroup);
	if (cgroup)
		user.cgroup_id = BPF_CORE_READ(cgroup, kn, id);
	bpf_seq_write(it->meta->seq, &user, sizeof(user));
	return 0;
}
