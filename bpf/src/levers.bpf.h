/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The levers of a verdict: socket options of a subflow. The programs that decide (XDP, TC) may not set them, so the wish
 * is left in mps_conns, and who may set them fetches it from there: mps_sockops at the RTT samples of every subflow that was
 * established while some policy had levers (and of older ones where the kernel lets mps_apply ask for that, 6.12), mps_apply for
 * all subflows there are whenever a command has changed something. Both hold the socket's lock.
 *
 * What a lever was before is kept with the socket. A value that somebody else has set is left alone, before and after.
 */
#ifndef MPS_LEVERS_BPF_H
#define MPS_LEVERS_BPF_H

#include "maps.bpf.h"

/* Those of the C library, which are no kernel headers. */
#define LEVEL_SOCKET 1
#define LEVEL_TCP 6
#define OPT_MAX_PACING_RATE 47
#define OPT_NOTSENT_LOWAT 25
/* TCP_BPF_SOCK_OPS_CB_FLAGS, 6.12; EINVAL before. */
#define OPT_SOCK_OPS_CB_FLAGS 1008

/* A wish is looked at once in that time: RTT samples come with nearly every ACK. */
#define LEVER_CHECK_NS (5 * 1000 * 1000ull)

/* Set before load. Programs at a cgroup see the sockets of every network namespace. */
const volatile __u64 mps_netns_cookie = 0;

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct mps_lever_memory);
} mps_levers SEC(".maps");

enum mps_lever_bit {
	LEVER_LOWAT = 1u << 0,
	LEVER_PACE = 1u << 1,
};

struct mps_lever_plan {
	__u32 what; /* enum mps_lever_bit: what is to be set */
	int lowat;
	int pace;
};

static __always_inline bool levers_are_off(const struct mps_config *config)
{
	return (config->flags & (MPS_CONFIG_LEVERS | MPS_CONFIG_LEAVING)) != MPS_CONFIG_LEVERS;
}

static __always_inline struct mps_conn *conn_of(struct tcp_sock *tp)
{
	struct mptcp_subflow_context *ctx = tp->inet_conn.icsk_ulp_data;
	__u32 token;

	if (!ctx)
		return NULL;
	token = READ(ctx, token, false);
	return bpf_map_lookup_elem(&mps_conns, &token);
}

/* What the connection's policy last wished for this subflow; nothing for one it has not seen yet. */
static __always_inline void read_wish(struct mps_lever *wish, const struct mps_conn *conn,
				      struct tcp_sock *tp)
{
	wish->lowat_bytes = 0;
	wish->pace_bytes_s = 0;
	if (!conn || !conn->levers)
		return;
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++) {
		if (conn->sf[i].sk != (__u64)tp)
			continue;
		wish->lowat_bytes = conn->sf[i].lever.lowat_bytes & 0x7fffffff;
		wish->pace_bytes_s = conn->sf[i].lever.pace_bytes_s;
		return;
	}
}

/*
 * One lever. `now` is the kernel's value, `none` and `none_too` are what it has while nobody has set it. Returns true if
 * `*now` has become the value to be set.
 */
static __always_inline bool plan_lever(__u64 *now, __u64 *before, __u32 *set, __u32 wish, __u64 none,
				       __u64 none_too)
{
	if (*set && *now != *set) {
		*set = 0; /* somebody has set it after us: it is theirs */
		return false;
	}
	if (!wish) {
		if (!*set)
			return false;
		*set = 0;
		*now = *before;
		return true;
	}
	if (!*set) {
		if (*now != none && *now != none_too)
			return false;
		*before = *now;
	} else if (*set == wish) {
		return false;
	}
	*set = wish;
	*now = wish;
	return true;
}

/* What has to be set so that the subflow is as wished; `memory` is taken for granted to follow. */
static __always_inline void plan_levers(struct mps_lever_plan *plan, struct mps_lever_memory *memory,
					const struct mps_lever *wish, struct tcp_sock *tp)
{
	__u64 lowat = tp->notsent_lowat, pace = tp->inet_conn.icsk_inet.sk.sk_max_pacing_rate;
	__u64 lowat_before = memory->lowat_before;

	plan->what = 0;
	/* 0 takes the sysctl's; MPTCP sets 2^32-1 */
	if (plan_lever(&lowat, &lowat_before, &memory->lowat_set, wish->lowat_bytes, 0, ~0u))
		plan->what |= LEVER_LOWAT;
	if (plan_lever(&pace, &memory->pace_before, &memory->pace_set, wish->pace_bytes_s, ~0ull, ~0u))
		plan->what |= LEVER_PACE;
	memory->lowat_before = lowat_before;
	plan->lowat = lowat;
	plan->pace = pace; /* of ~0ull remains ~0u, which the kernel takes for no limit */
}

/* `subflow` is whatever the calling program sets options by. */
static __always_inline void set_levers(void *subflow, struct mps_lever_plan *plan)
{
	if (plan->what & LEVER_LOWAT)
		bpf_setsockopt(subflow, LEVEL_TCP, OPT_NOTSENT_LOWAT, &plan->lowat, sizeof(plan->lowat));
	if (plan->what & LEVER_PACE)
		bpf_setsockopt(subflow, LEVEL_SOCKET, OPT_MAX_PACING_RATE, &plan->pace, sizeof(plan->pace));
}

/* A subflow is established while some policy has levers: look after it from here on. */
static __always_inline void adopt(struct bpf_sock_ops *skops, struct bpf_sock *sk)
{
	struct mps_lever_memory *memory;
	struct tcp_sock *tp = bpf_skc_to_tcp_sock(sk);
	__u32 flags = skops->bpf_sock_ops_cb_flags;

	if (!tp || !tp->is_mptcp)
		return;
	memory = bpf_sk_storage_get(&mps_levers, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!memory)
		return;
	memory->flagged = !(flags & BPF_SOCK_OPS_RTT_CB_FLAG);
	bpf_sock_ops_cb_flags_set(skops, flags | BPF_SOCK_OPS_RTT_CB_FLAG);
}

static __always_inline void look_after(struct bpf_sock_ops *skops, struct bpf_sock *sk, bool off)
{
	struct mps_lever_memory *memory = bpf_sk_storage_get(&mps_levers, sk, 0, 0);
	__u64 now_ns = bpf_ktime_get_coarse_ns();
	struct mps_lever_plan plan;
	struct mps_lever wish = {};
	struct tcp_sock *tp;

	/* Without: somebody else's callback, or one that we could not take back. */
	if (!memory || (!off && now_ns - memory->checked_ns < LEVER_CHECK_NS))
		return;
	memory->checked_ns = now_ns;
	tp = bpf_skc_to_tcp_sock(sk);
	if (!tp)
		return;
	if (!off)
		read_wish(&wish, conn_of(tp), tp);
	plan_levers(&plan, memory, &wish, tp);
	set_levers(skops, &plan);
	if (!off)
		return;
	if (memory->flagged)
		bpf_sock_ops_cb_flags_set(skops, skops->bpf_sock_ops_cb_flags & ~BPF_SOCK_OPS_RTT_CB_FLAG);
	bpf_sk_storage_delete(&mps_levers, sk);
}

/* Returns 1, and leaves the reply alone: what other programs answer stands. */
SEC("sockops") int mps_sockops(struct bpf_sock_ops *skops)
{
	__u32 op = skops->op, zero = 0;
	struct mps_config *config;
	struct bpf_sock *sk;
	bool off;

	if (op != BPF_SOCK_OPS_RTT_CB && op != BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB &&
	    op != BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB)
		return 1;
	sk = skops->sk;
	if (!sk)
		return 1;
	config = bpf_map_lookup_elem(&mps_config, &zero);
	if (!config || bpf_get_netns_cookie(skops) != mps_netns_cookie)
		return 1;
	off = levers_are_off(config);
	if (op == BPF_SOCK_OPS_RTT_CB)
		look_after(skops, sk, off);
	else if (!off)
		adopt(skops, sk);
	return 1;
}

/*
 * Moves the levers of every subflow of the reader's network namespace to where they are wished. Its output is one octet for
 * each busy subflow whose connection was not decided on since the last command: read again to have it, too.
 */
SEC("iter/tcp") int mps_apply(struct bpf_iter__tcp *it)
{
	struct sock_common *sc = it->sk_common;
	struct mps_lever_memory *memory;
	struct mps_config *config;
	struct mps_lever_plan plan;
	struct mps_lever wish = {};
	struct mps_conn *conn = NULL;
	struct tcp_sock *tp;
	__u32 zero = 0;
	int flags;
	bool off;

	if (!sc)
		return 0;
	tp = bpf_skc_to_tcp_sock(sc);
	config = bpf_map_lookup_elem(&mps_config, &zero);
	if (!tp || !config || !tp->is_mptcp || !tp->inet_conn.icsk_ulp_data ||
	    sc->skc_state == TCP_LISTEN_STATE)
		return 0;
	off = levers_are_off(config);
	memory = bpf_sk_storage_get(&mps_levers, sc, 0, off ? 0 : BPF_SK_STORAGE_GET_F_CREATE);
	if (!memory)
		return 0;
	if (!off) {
		conn = conn_of(tp);
		read_wish(&wish, conn, tp);
	}
	plan_levers(&plan, memory, &wish, tp);
	set_levers(tp, &plan);
	flags = tp->bpf_sock_ops_cb_flags;
	if (off) {
		flags &= ~BPF_SOCK_OPS_RTT_CB_FLAG;
		if (memory->flagged)
			bpf_setsockopt(tp, LEVEL_TCP, OPT_SOCK_OPS_CB_FLAGS, &flags, sizeof(flags));
		bpf_sk_storage_delete(&mps_levers, sc);
		return 0;
	}
	if (!(flags & BPF_SOCK_OPS_RTT_CB_FLAG)) {
		flags |= BPF_SOCK_OPS_RTT_CB_FLAG;
		if (!bpf_setsockopt(tp, LEVEL_TCP, OPT_SOCK_OPS_CB_FLAGS, &flags, sizeof(flags)))
			memory->flagged = 1;
	}
	if (conn && tp->packets_out && (__s64)(conn->decided_ns - config->changed_ns) < 0)
		bpf_seq_write(it->meta->seq, &zero, 1);
	return 0;
}

#endif /* MPS_LEVERS_BPF_H */
