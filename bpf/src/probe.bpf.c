// SPDX-License-Identifier: GPL-2.0-only
/*
 * Probes of idle subflows: `attach --follow --probe-idle`. A path over which nothing is sent dies unnoticed, and the next request meets it. So a
 * process looks at the subflows once a second (mps_pr_look), and has one of a path send a keepalive probe of TCP when it is time: an empty
 * segment that repeats an old octet, which every TCP answers at once (RFC 9293, section 3.8.4). Until something arrives the kernel
 * counts it in icsk_probes_out.
 *
 * The kernel sends a probe at once when TCP_KEEPIDLE is set to less than the time for which nothing arrived (tcp_sock_set_keepidle_locked(),
 * net/ipv4/tcp.c). The next would follow after TCP_KEEPINTVL, which is set to the longest there is, nine hours, and after TCP_KEEPCNT of
 * them the socket would be closed, which is the most there is as well. So if the process is killed before it has put
 * them back nothing happens for nine hours.
 */
#include <stdbool.h>
#include <mps/probe_abi.h>
#include <bpf/bpf_endian.h>
#include "maps.bpf.h"
#include "patience.bpf.h"
#include "rules.bpf.h"

char LICENSE[] SEC("license") = "GPL";

#define LEVEL_SOCKET 1
#define LEVEL_TCP 6
#define OPT_KEEPALIVE 9
#define OPT_KEEPIDLE 4
#define OPT_KEEPINTVL 5
#define OPT_KEEPCNT 6
#define LONGEST_S 32767 /* MAX_TCP_KEEPIDLE, MAX_TCP_KEEPINTVL */
#define MOST 127        /* MAX_TCP_KEEPCNT */

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

enum sock_flags {
	SOCK_KEEPOPEN = 3,
};

struct sock_common___probe {
	unsigned long skc_flags;
};

struct inet_connection_sock___probe {
	__u32 icsk_user_timeout;
	__u8 icsk_probes_out;
	struct {
		__u32 lrcvtime;
	} icsk_ack;
};

struct tcp_sock___probe {
	__u32 rcv_tstamp; /* jiffies: the last acknowledgement */
};

#pragma clang attribute pop

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct mps_probe_memory);
} mps_pr_memory SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, MPS_PROBE_ORDERS);
	__type(key, __u64);
	__type(value, __u32);
} mps_pr_orders SEC(".maps");

static __always_inline bool keeps_alive(const void *sk)
{
	const struct sock_common___probe *sc = sk; /* a socket begins with it */

	return BPF_CORE_READ(sc, skc_flags) >> bpf_core_enum_value(enum sock_flags, SOCK_KEEPOPEN) & 1;
}

#define get_option(tp, level, option)                                                                        \
	({                                                                                                   \
		int now_ = 0;                                                                                \
		bpf_getsockopt(tp, level, option, &now_, sizeof(now_));                                      \
		now_;                                                                                        \
	})

#define set_option(tp, level, option, number)                                                                \
	({                                                                                                   \
		int wish_ = (number);                                                                        \
		bpf_setsockopt(tp, level, option, &wish_, sizeof(wish_));                                    \
	})

/* Where the data path keeps it; NULL: it has not met it. */
static __always_inline struct mps_conn_subflow *known(__u32 token, __u64 sk)
{
	struct mps_conn *conn = bpf_map_lookup_elem(&mps_conns, &token);

	if (!conn)
		return NULL;
	for (int i = 0; i < MPS_MAX_SUBFLOWS; i++)
		if (conn->sf[i].sk == sk)
			return &conn->sf[i];
	return NULL;
}

/* Only what is still as we left it: the rest has been set by somebody else since. */
static __always_inline void put_back(struct tcp_sock *tp, const void *conn, struct mps_probe_memory *memory)
{
	if (!memory->is_set)
		return;
	memory->is_set = 0;
	/* An application has asked for a keepalive of the connection meanwhile, which is that of its subflows. */
	if (!keeps_alive(conn))
		set_option(tp, LEVEL_SOCKET, OPT_KEEPALIVE, 0);
	if (get_option(tp, LEVEL_TCP, OPT_KEEPCNT) == MOST)
		set_option(tp, LEVEL_TCP, OPT_KEEPCNT, memory->count);
	if (get_option(tp, LEVEL_TCP, OPT_KEEPINTVL) == LONGEST_S)
		set_option(tp, LEVEL_TCP, OPT_KEEPINTVL, memory->interval_s);
	if (get_option(tp, LEVEL_TCP, OPT_KEEPIDLE) == 1)
		set_option(tp, LEVEL_TCP, OPT_KEEPIDLE, memory->idle_s);
}

static __always_inline __u32 at_most(__u32 number, __u32 most)
{
	return number < most ? number : most;
}

static __always_inline void send_probe(struct tcp_sock *tp, struct mps_probe_memory *memory)
{
	if (!memory->is_set) {
		memory->idle_s = at_most(get_option(tp, LEVEL_TCP, OPT_KEEPIDLE), LONGEST_S);
		memory->interval_s = at_most(get_option(tp, LEVEL_TCP, OPT_KEEPINTVL), LONGEST_S);
		memory->count = at_most(get_option(tp, LEVEL_TCP, OPT_KEEPCNT), MOST);
		memory->is_set = 1;
		set_option(tp, LEVEL_TCP, OPT_KEEPCNT, MOST);
		set_option(tp, LEVEL_TCP, OPT_KEEPINTVL, LONGEST_S);
		set_option(tp, LEVEL_SOCKET, OPT_KEEPALIVE, 1);
	}
	set_option(tp, LEVEL_TCP, OPT_KEEPIDLE, 1);
}

static __always_inline void say_silent(struct mps_conn_subflow *mine, struct tcp_sock *tp,
				       struct mps_probe_memory *memory, bool silent)
{
	if (!mine || !(silent | memory->silent))
		return;
	memory->silent = silent;
	if (silent)
		mine->silent_acked = acked_digest(tp->bytes_acked);
	mine->silent = silent;
}

static __always_inline void carry_out(__u32 order, struct tcp_sock *tp, const void *conn,
				      struct mps_probe_memory *memory, struct mps_conn_subflow *mine)
{
	if (order & MPS_PROBE_SEND)
		send_probe(tp, memory);
	if (order & MPS_PROBE_END)
		put_back(tp, conn, memory);
	if (order & (MPS_PROBE_SILENT | MPS_PROBE_HEARD))
		say_silent(mine, tp, memory, order & MPS_PROBE_SILENT);
}

/* In jiffies, when anything last arrived. */
static __always_inline __u32 last_heard(struct tcp_sock *tp)
{
	const struct inet_connection_sock___probe *icsk = (void *)tp;
	const struct tcp_sock___probe *times = (void *)tp;
	__u32 acked = BPF_CORE_READ(times, rcv_tstamp);
	__u32 received = BPF_CORE_READ(icsk, icsk_ack.lrcvtime);

	return (__s32)(acked - received) > 0 ? acked : received;
}

/* Carries out what is ordered for a subflow, and tells of it. */
SEC("iter/tcp") int mps_pr_look(struct bpf_iter__tcp *it)
{
	struct sock_common *sc = it->sk_common;
	struct mps_probe_row row = {};
	struct mps_conn_subflow *mine;
	struct mps_probe_memory *memory;
	struct mptcp_subflow_context *ctx;
	struct inet_connection_sock___probe *icsk;
	struct sock *conn = NULL;
	struct tcp_sock *tp;
	__u32 *order;

	if (!sc || sc->skc_state != TCP_ESTABLISHED_STATE)
		return 0;
	tp = bpf_skc_to_tcp_sock(sc);
	if (!tp || !tp->is_mptcp)
		return 0;
	ctx = tp->inet_conn.icsk_ulp_data;
	if (!ctx)
		return 0;
	icsk = (void *)tp;
	bpf_core_read(&conn, sizeof(conn), &ctx->conn);
	row.sk = (__u64)tp;
	row.token = READ(ctx, token, false);
	mine = known(row.token, row.sk);
	order = bpf_map_lookup_elem(&mps_pr_orders, &row.sk);
	memory = bpf_sk_storage_get(&mps_pr_memory, sc, 0, order ? BPF_SK_STORAGE_GET_F_CREATE : 0);
	if (order && memory)
		carry_out(*order, tp, conn, memory, mine);
	row.ifindex = mine && mine->ifindex ? mine->ifindex : socket_ifindex((struct sock *)tp);
	put_endpoint(row.local, sc, sc->skc_family == AF_INET6, false);
	put_endpoint(row.remote, sc, sc->skc_family == AF_INET6, true);
	row.idle_ns = bpf_ktime_get_ns() - tp->tcp_clock_cache;
	row.now = bpf_jiffies64();
	row.heard = last_heard(tp);
	row.unanswered = BPF_CORE_READ(icsk, icsk_probes_out);
	if (tp->write_seq != tp->snd_una)
		row.flags |= MPS_PROBE_UNDER_WAY;
	if (memory && memory->is_set)
		row.flags |= MPS_PROBE_OURS;
	else if (keeps_alive(tp))
		row.flags |= MPS_PROBE_OWN;
	if (keeps_alive(conn) || BPF_CORE_READ(icsk, icsk_user_timeout))
		row.flags |= MPS_PROBE_OWN;
	if (mine)
		row.flags |= MPS_PROBE_KNOWN;
	if (mine && mine->silent)
		row.flags |= MPS_PROBE_IS_SILENT | (memory && memory->silent ? MPS_PROBE_BY_US : 0);
	bpf_seq_write(it->meta->seq, &row, sizeof(row));
	return 0;
}

/* Everything is as it was before the first probe. */
SEC("iter/tcp") int mps_pr_end(struct bpf_iter__tcp *it)
{
	struct sock_common *sc = it->sk_common;
	struct mptcp_subflow_context *ctx;
	struct mps_probe_memory *memory;
	struct sock *conn = NULL;
	struct tcp_sock *tp;

	if (!sc || sc->skc_state == TCP_LISTEN_STATE)
		return 0;
	tp = bpf_skc_to_tcp_sock(sc);
	if (!tp || !tp->is_mptcp)
		return 0;
	memory = bpf_sk_storage_get(&mps_pr_memory, sc, 0, 0);
	ctx = tp->inet_conn.icsk_ulp_data;
	if (!memory || !ctx)
		return 0;
	bpf_core_read(&conn, sizeof(conn), &ctx->conn);
	put_back(tp, conn, memory);
	say_silent(known(READ(ctx, token, false), (__u64)tp), tp, memory, false);
	bpf_sk_storage_delete(&mps_pr_memory, sc);
	return 0;
}
