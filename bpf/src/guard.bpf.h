/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Subflows that go silent. A path dies without a word: no packet of it comes any more that could ask for a decision, and with one
 * message under way TCP sends nothing that could tell of trouble before MPTCP's own timer has fired, 200 ms later; a parked subflow is
 * used after the third time. So while somebody follows (MPS_CONFIG_GUARD), a timer looks at each connection that has data under
 * way as soon as something of it should have been acknowledged, and ends when nothing is under way. It begins with
 * the first packet that leaves.
 *
 * Silent is a subflow with data under way of which nothing was acknowledged for two round trips and 10 ms. A Linux peer puts an
 * acknowledgement off by a round trip at most, or 40 ms (tcp_send_delayed_ack()), so the second round trip is at least that. It is so until
 * anything is acknowledged. Policies see it as troubled, which every one of them avoids while another subflow is healthy.
 *
 * What is opened for that waits for a packet (see watch.bpf.h). The event in mps_events makes who follows lend one at once.
 */
#ifndef MPS_GUARD_BPF_H
#define MPS_GUARD_BPF_H

#include "maps.bpf.h"
#include "view.bpf.h"
#include "paths.bpf.h"
#include "watch.bpf.h"
#include "patience.bpf.h"

struct mps_guard {
	struct bpf_timer timer;
};

/* Connections with data under way, by token. One that finds no room is tried again with its next packet. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct mps_guard);
} mps_guards SEC(".maps");

/* Is sf[i] silent? When to look at it next goes into `p`. Global for the sake of the verifier, as mps_add_path(). */
__noinline int mps_listen(struct mps_conn *conn, const struct mps_view *view, struct mps_counters *counters,
			  struct mps_pass *p, __u32 i)
{
	__u32 patience_us, left_us;
	const struct mps_subflow_view *sf;
	struct mps_conn_subflow *mine;
	struct tcp_sock *tp;
	__s64 waited_us;

	if (!conn || !view || !counters || !p)
		return 0;
	i &= MPS_SUBFLOW_ROWS - 1;
	mine = &conn->sf[i];
	sf = &view->sf[i];
	if (!(p->seen >> i & 1) || sf->outstanding_bytes <= sf->notsent_bytes)
		return 0;
	patience_us = guard_patience_us(sf->srtt_us, sf->rttvar_us);
	tp = (struct tcp_sock *)mine->sk;
	/* Begins anew with what is sent while nothing is under way (tcp_rate_skb_sent(), net/ipv4/tcp_rate.c). */
	waited_us = p->now_ns / 1000 - READ(tp, delivered_mstamp, false);
	left_us = waited_us < 0 ? patience_us : patience_us - (__u32)waited_us;
	if (waited_us >= patience_us) {
		left_us = patience_us;
		if (!mine->silent) {
			mine->silent = 1;
			mine->silent_acked = acked_digest(sf->bytes_acked);
			p->silenced |= 1u << i;
			COUNT(counters, SILENT);
		}
	}
	if (!p->next_look_us || left_us < p->next_look_us)
		p->next_look_us = left_us;
	return 0;
}

static __always_inline void tell_silence(const struct mps_conn *conn, __u32 token, __u64 now_ns, __u32 which)
{
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS && which >> i; i++) {
		struct mps_event event = {
			.when_ns = now_ns,
			.sk = conn->sf[i].sk,
			.token = token,
			.ifindex = conn->sf[i].ifindex,
		};

		if (which >> i & 1)
			bpf_ringbuf_output(&mps_events, &event, sizeof(event), 0);
	}
}

/* Returns in how many microseconds to look again, 0 if nothing is under way. */
__noinline int mps_guard_conn(struct mps_conn *conn, __u32 token, __u64 now_ns)
{
	struct mps_counters *counters = get_counters();
	struct mps_scratch *scratch = get_scratch();
	struct mps_config *config = get_config();
	struct mps_pass *p = get_pass(0);
	__u32 next_us, silenced;

	if (!conn || !scratch || !config || !counters || !p)
		return 0;
	if (config->flags & MPS_CONFIG_LEAVING || !(config->flags & MPS_CONFIG_GUARD))
		return 0;
	p->now_ns = now_ns;
	p->self = MPS_MAX_SUBFLOWS;
	if (!view_by_time(conn, &scratch->view, p))
		return GUARD_GRACE_US;
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++)
		mps_listen(conn, &scratch->view, counters, p, i);
	next_us = p->next_look_us;
	silenced = p->silenced;
	if (silenced) {
		mps_look_again(conn, now_ns);
		tell_silence(conn, token, now_ns, silenced);
	}
	return next_us & 0x7fffffff;
}

static int guard_expired(void *map MPS_UNUSED, __u32 *token, struct mps_guard *guard)
{
	struct mps_conn *conn = bpf_map_lookup_elem(&mps_conns, token);
	__u32 next_us = 0;

	if (conn && is_alive(conn, *token))
		next_us = mps_guard_conn(conn, *token, bpf_ktime_get_ns());
	if (next_us) {
		bpf_timer_start(&guard->timer, (__u64)next_us * 1000, 0);
		return 0;
	}
	/* What another CPU sends in this very moment is not guarded: the kernel's own timer is. */
	bpf_map_delete_elem(&mps_guards, token);
	return 0;
}

/* Global: the way of every packet that leaves goes by. */
__noinline int mps_start_guard(__u32 token, __u32 srtt_us, __u32 rttvar_us)
{
	struct mps_guard blank = {}, *guard;

	bpf_map_update_elem(&mps_guards, &token, &blank, BPF_NOEXIST);
	guard = bpf_map_lookup_elem(&mps_guards, &token);
	if (!guard || bpf_timer_init(&guard->timer, &mps_guards, CLOCK_MONOTONIC))
		return 0;
	bpf_timer_set_callback(&guard->timer, guard_expired);
	bpf_timer_start(&guard->timer, (__u64)guard_patience_us(srtt_us, rttvar_us) * 1000, 0);
	return 0;
}

/* A packet leaves: data may be under way from now on. */
static __always_inline void guard_departure(const struct mptcp_sock *msk, struct tcp_sock *tp)
{
	__u32 token = msk->token;

	if (msk->write_seq == msk->snd_una || bpf_map_lookup_elem(&mps_guards, &token))
		return;
	if (tp)
		mps_start_guard(token, tp->srtt_us >> 3, tp->mdev_us >> 2);
}

static long look_at_one(void *map MPS_UNUSED, __u32 *token, struct mps_conn *conn, __u64 *now_ns)
{
	if (is_alive(conn, *token))
		mps_look_again(conn, *now_ns);
	return 0;
}

#endif /* MPS_GUARD_BPF_H */
