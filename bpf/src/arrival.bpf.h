/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * From a parsed packet to the view of its connection, or to the reason, which is counted, why there is nothing to decide at
 * it.
 */
#ifndef MPS_ARRIVAL_BPF_H
#define MPS_ARRIVAL_BPF_H

#include "maps.bpf.h"
#include "parse.bpf.h"
#include "view.bpf.h"
#include "socket.bpf.h"
#include "known_socket.bpf.h"
#include "believe.bpf.h"
#include "connection.bpf.h"
#include "paths.bpf.h"
#include "act.bpf.h"
#include "vrf.bpf.h"

/* The record of the connection that the packet is for, if the packet may cause a decision on it. */
static __always_inline struct mps_conn *
conn_to_decide(struct tcp_sock *tp, struct mptcp_sock *msk, bool single, const struct mps_packet *pkt,
	       const struct mps_pass *p, const struct mps_config *config, struct mps_counters *counters)
{
	struct mps_conn *conn;

	if (single && !(config->flags & MPS_CONFIG_METERED)) {
		COUNT(counters, SINGLE);
		return NULL;
	}
	/* The body of a wake. What is of this interface may be what completes a join, and is decided on. */
	if (tp && p->clone && socket_ifindex((struct sock *)tp) != p->ifindex)
		return NULL;
	if (!tp || !is_believed(tp, pkt, counters)) {
		note_doubted(msk->token, (__u64)tp);
		return NULL;
	}
	conn = find_conn(counters, msk);
	if (!conn)
		return NULL;
	if (pkt->has_prio && is_own_edit(conn, pkt, (__u64)tp, p->place)) {
		COUNT(counters, MET_AGAIN);
		return NULL;
	}
	if (nothing_to_decide(conn, msk, tp, pkt, p, config)) {
		COUNT(counters, IDLE);
		return NULL;
	}
	return conn;
}

/* What the kernel says now of the connection and its subflows. Returns false if the list of these changed meanwhile. */
static __always_inline bool read_connection(struct mps_conn *conn, void *sk, struct mptcp_sock *msk,
					    const struct mps_packet *pkt, struct mps_pass *p,
					    struct mps_view *view)
{
	struct list_head *head = &msk->conn_list;
	__u64 write_seq = msk->write_seq, snd_nxt = msk->snd_nxt, wnd_end = msk->wnd_end;
	struct mps_walk walk;

	p->now_ns = bpf_ktime_get_ns();
	p->after_seq = pkt->seq + pkt->payload_len + pkt->fin;
	p->print = packet_print(pkt->seq, pkt->ack, pkt->tsval);
	p->self = MPS_MAX_SUBFLOWS;
	conn->decided_ns = p->now_ns;
	conn->last_node = (__u64)msk->conn_list.prev;
	view->token = msk->token;
	view->unsent_bytes = write_seq - snd_nxt;
	view->unacked_bytes = snd_nxt - msk->snd_una;
	view->window_bytes = (__s64)(wnd_end - snd_nxt) > 0 ? wnd_end - snd_nxt : 0;
	view->now_us = p->now_ns / 1000;
	view->last_allowed = conn->allowed;
	view->direction = MPS_DIRECTION_TX;
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++) {
		view->sf[i].flags = 0;
		view->known[i] = 0;
	}

	walk.view = view;
	walk.conn = conn;
	walk.pass = p;
	walk.msk = msk;
	walk.self_sk = sk;
	walk.ack = pkt->ack;
	walk.completes = pkt->completes;
	return mps_rdonly_cast ? walk_subflows_fast(&walk, head) : walk_subflows_probing(&walk, head);
}

/* Puts what was read beside what is known of the subflows. Returns false if another program is to decide. */
static __always_inline bool know_subflows(struct mps_conn *conn, const struct mps_packet *pkt,
					  struct mps_pass *p, struct mps_view *view,
					  const struct mps_config *config, struct mps_counters *counters)
{
	if (p->overflow)
		COUNT(counters, TOO_MANY_SUBFLOWS);
	if (conn->known != p->seen || p->unplaced || conn->unlisted)
		mps_forget_gone(conn, p->seen & ~(__u32)p->unlisted);
	if (p->self < MPS_MAX_SUBFLOWS && conn->sf[p->self & (MPS_SUBFLOW_ROWS - 1)].ifindex != p->ifindex &&
	    mps_belongs_above(&conn->sf[p->self & (MPS_SUBFLOW_ROWS - 1)], p->ifindex)) {
		COUNT(counters, ABOVE);
		return false;
	}
	view->present = p->seen;
	view->self = p->self;
	if (p->woken)
		mps_account_wakes(conn, p, counters);
	note_arrival(conn, pkt, p, counters);
	mps_add_paths(conn, view, config, p);
	return true;
}

/*
 * Nobody here is waiting for the packet, or its socket is bound to the VRF, which handle_tc() asks then. A clone of ours has another device's
 * packet for a body, whose socket may be bound to that device.
 */
static __always_inline void note_no_socket(void *data, void *data_end, const struct mps_packet *pkt,
					   struct mps_pass *p, struct mps_counters *counters)
{
	if (p->clone)
		return;
	if (p->vrf || !(p->vrf = mps_vrf_of(p->ifindex))) {
		COUNT(counters, NO_SOCKET);
		note_miss(data, data_end, pkt, p->ifindex);
	}
}

/*
 * The packet's subflow and its connection go into `p`; false if there is none. Without a reference: who reads them does so as
 * recall_socket().
 */
static __always_inline bool find_subflow(void *ctx, void *data, void *data_end, const struct mps_packet *pkt,
					 struct mps_pass *p, struct mps_counters *counters)
{
	struct bpf_sock *sk;

	if (recall_socket(data, data_end, pkt, p))
		return true;
	sk = lookup_socket(ctx, data, data_end, pkt);
	if (!sk) {
		note_no_socket(data, data_end, pkt, p, counters);
		return false;
	}
	p->sk = (__u64)bpf_skc_to_tcp_sock(sk);
	p->msk = (__u64)bpf_skc_to_mptcp_sock(sk);
	bpf_sk_release(sk);
	if (!p->msk) {
		COUNT(counters, NOT_MPTCP_SOCKET);
		return false;
	}
	remember_socket(p);
	return true;
}

/* Builds the view; returns the connection if there is something to decide. */
static __always_inline struct mps_conn *build_view(void *ctx, void *data, void *data_end,
						   const struct mps_packet *pkt, struct mps_pass *p,
						   struct mps_view *view, const struct mps_config *config,
						   struct mps_counters *counters)
{
	struct bpf_sock *held = NULL;
	struct mptcp_sock *msk;
	struct mps_conn *conn;
	struct tcp_sock *tp;
	bool complete, single;

	if (mps_rdonly_cast) {
		if (!find_subflow(ctx, data, data_end, pkt, p, counters))
			return NULL;
		msk = KPTR(struct mptcp_sock, (void *)p->msk, true);
		tp = KPTR(struct tcp_sock, (void *)p->sk, true);
	} else {
		held = lookup_socket(ctx, data, data_end, pkt);
		if (!held) {
			note_no_socket(data, data_end, pkt, p, counters);
			return NULL;
		}
		msk = bpf_skc_to_mptcp_sock(held);
		if (!msk) {
			bpf_sk_release(held);
			COUNT(counters, NOT_MPTCP_SOCKET);
			return NULL;
		}
		tp = bpf_skc_to_tcp_sock(held);
	}
	single = msk->conn_list.next == &msk->conn_list || msk->conn_list.prev == msk->conn_list.next;
	conn = conn_to_decide(tp, msk, single, pkt, p, config, counters);
	if (!conn) {
		if (held)
			bpf_sk_release(held);
		return NULL;
	}
	if (has_new_choice(conn, config))
		mps_follow_choice(conn, config, counters, p->ifindex, 0);
	p->wants = config->slot_wants[conn->slot & (MPS_MAX_SLOTS - 1)];
	complete = read_connection(conn, tp, msk, pkt, p, view);
	if (held)
		bpf_sk_release(held);
	if (!complete) {
		conn->settled = 0;
		COUNT(counters, LIST_RACED);
		return NULL;
	}
	if (!know_subflows(conn, pkt, p, view, config, counters))
		return NULL;
	if (single) {
		COUNT(counters, SINGLE);
		return NULL;
	}
	return conn;
}

#endif /* MPS_ARRIVAL_BPF_H */
