/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Joins that the peer asks for. The kernel makes the subflow while it takes in the third packet of the handshake, which finds no
 * socket on its way in, and may push to it from then on. The next packet of the connection that arrives here comes too late: it
 * causes a push itself. But the kernel answers the third packet at once, from the new socket (check_fully_established(),
 * net/mptcp/options.c; RFC 8684 section 3.2), and the answer leaves through our program. So there the connection is decided on, and
 * the answer lends its body to the wake that follows from it.
 *
 * While a thread holds the connection, as one that writes does, the new subflow waits for it to let go, is put into the
 * kernel's list then, and may be pushed to in the same moment. Here it is one from the answer on, and is not forgotten for not being in
 * the list (mps_conn.unlisted): begun anew, it would have our wake for its peer's wish.
 */
#ifndef MPS_JOIN_BPF_H
#define MPS_JOIN_BPF_H

#include "maps.bpf.h"
#include "arrival.bpf.h"
#include "policy.bpf.h"
#include "act.bpf.h"
#include "watch.bpf.h"
#include "wake.bpf.h"

/* The first packet of a subflow that the peer asked for. */
static __always_inline bool answers_join(struct tcp_sock *tp)
{
	struct mptcp_subflow_context *ctx;

	if (tp->segs_out != 1 || tp->data_segs_out)
		return false;
	ctx = tp->inet_conn.icsk_ulp_data;
	return READ_BITS(ctx, mp_join, false) && !READ_BITS(ctx, request_join, false);
}

/*
 * A subflow that was not met on the walk over the kernel's list becomes the last one of the view. Another CPU that decides at this
 * moment may have taken it for one that is gone, until the bit says otherwise: then it is none here. Returns false in that case.
 */
__noinline int mps_take_unlisted(struct mps_view *view, struct mps_conn *conn, struct mps_pass *p,
				 struct mps_subflow_ref *ref)
{
	__u32 index, before = 0;

	if (!view || !conn || !p || !ref)
		return 0;
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++) {
		if (!(p->seen >> i & 1))
			continue;
		if (conn->sf[i].sk == ref->tp)
			return 1;
		before++;
	}
	ref->hint = before;
	index = mps_take_subflow(view, conn, ref, p);
	if (index >= MPS_MAX_SUBFLOWS)
		return 1;
	barrier_var(index);
	index &= MPS_SUBFLOW_ROWS - 1;
	if (p->wants & ~MPS_SLOT_4_0)
		mps_take_extra(view, ref, index, p->wants);
	p->unlisted = 1u << index;
	__sync_fetch_and_or(&conn->unlisted, 1u << index);
	return conn->sf[index].sk == ref->tp;
}

/* `none`: a blank packet, since none of the peer's is at hand. */
static __always_inline void decide_on_join(struct __sk_buff *skb, const struct mps_packet *none,
					   struct mptcp_sock *msk, struct tcp_sock *tp,
					   const struct mps_config *config, struct mps_counters *counters,
					   bool l3)
{
	struct mps_scratch *scratch = get_scratch();
	struct mps_pass *p = get_pass(skb->ifindex);
	struct mps_conn *conn = find_conn(counters, msk);
	struct mps_subflow_ref ref = {.ctx = (__u64)tp->inet_conn.icsk_ulp_data, .tp = (__u64)tp};

	if (!none || !scratch || !p || !conn)
		return;
	mps_follow_choice(conn, config, counters, p->ifindex, 0);
	p->wants = config->slot_wants[conn->slot & (MPS_MAX_SLOTS - 1)];
	if (!read_connection(conn, NULL, msk, none, p, &scratch->view) ||
	    !mps_take_unlisted(&scratch->view, conn, p, &ref)) {
		conn->settled = 0;
		COUNT(counters, LIST_RACED);
		return;
	}
	know_subflows(conn, none, p, &scratch->view, config, counters);
	if (wants_policy(config, conn)) {
		mps_prepare_policy(scratch, conn, p->wants);
		run_tc_policy(skb, conn->slot);
	} else {
		scratch->decided = 0;
	}
	mps_conclude(conn, scratch, config, counters, p);
	mps_apply_verdict(conn, &scratch->view, config, counters, p);
	if (!conn->watched && parked_by_us(p))
		conn->watched = mps_start_watch(scratch->view.token);
	if (mps_wakes_ready)
		mps_send_wakes(skb, counters, l3);
}

#endif /* MPS_JOIN_BPF_H */
