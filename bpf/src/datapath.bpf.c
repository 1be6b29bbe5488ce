// SPDX-License-Identifier: GPL-2.0-only
/*
 * The data path: parse → is it TCP of an MPTCP socket here? → view → the connection's policy → act → pass.
 *
 * It decides at every packet that arrives for an MPTCP connection with several subflows, because the stack
 * pushes new data right after it has processed an ACK: the MP_PRIO we write into that ACK takes effect
 * before that push. Packets that are not MPTCP pay for parsing, those that are for a socket lookup
 * and a walk over the subflows as well (see `./run bench`). It never drops, and whatever it cannot do
 * it counts and leaves alone.
 */
#include "entry.bpf.h"
#include "arrival.bpf.h"
#include "policy.bpf.h"
#include "act.bpf.h"
#include "watch.bpf.h"
#include "wake.bpf.h"
#include "guard.bpf.h"
#include "departure.bpf.h"
#include "levers.bpf.h"
#include "netns.bpf.h"
#include "dump.bpf.h"

char mps_license[] SEC("license") = "GPL";

/*
 * From the parsed packet to what is to be written into it: WANT_NOTHING if nothing. `xdp` is a constant; data and
 * data_end are the context's, whose members have other widths in both.
 */
static __always_inline int decide(void *ctx, void *data, void *data_end, bool xdp,
				  const struct mps_packet *pkt, struct mps_pass *p,
				  struct mps_counters *counters, struct mps_scratch *scratch,
				  struct mps_conn **decided)
{
	struct mps_config *config = get_config();
	struct mps_conn *conn;
	int want;

	*decided = NULL;
	if (!config)
		return WANT_NOTHING;
	if (!p->vrf)
		COUNT(counters, SEEN);
	conn = build_view(ctx, data, data_end, pkt, p, &scratch->view, config, counters);
	if (!conn)
		return WANT_NOTHING;
	*decided = conn;
	if (wants_policy(config, conn)) {
		mps_prepare_policy(scratch, conn, p->wants);
		if (xdp)
			run_xdp_policy(ctx, conn->slot);
		else
			run_tc_policy(ctx, conn->slot);
	} else {
		scratch->decided = 0; /* another CPU may give the connection a policy right now */
	}
	mps_conclude(conn, scratch, config, counters, p);
	want = mps_apply_verdict(conn, &scratch->view, config, counters, p);
	if (!conn->watched && parked_by_us(p))
		conn->watched = mps_start_watch(scratch->view.token);
	/* The stack is about to change the bit as the peer wishes. */
	if (pkt->has_prio)
		conn->settled = 0;
	return want;
}

static __always_inline int handle_xdp(struct xdp_md *ctx, bool l3)
{
	struct mps_counters *counters;
	struct mps_scratch *scratch;
	struct mps_conn *conn;
	struct mps_packet pkt;
	struct mps_plan *plan;
	struct mps_pass *p;
	int want, parsed;

	if (has_no_mptcp((void *)(long)ctx->data, (void *)(long)ctx->data_end, l3))
		return XDP_PASS;
	__builtin_memset(&pkt, 0, sizeof(pkt));
	parsed = mps_parse_xdp(ctx, &pkt, l3);
	if (parsed != PARSE_MPTCP) {
		if (parsed == PARSE_MALFORMED)
			count_malformed();
		return XDP_PASS;
	}
	counters = get_counters();
	scratch = get_scratch();
	p = get_pass(ctx->ingress_ifindex);
	if (!counters || !scratch || !p)
		return XDP_PASS;
	if (mps_wakes_sent)
		p->clone = mps_wake_in_flight(ctx->ingress_ifindex);
	if (p->clone == WAKE_OF_THIS_DEVICE)
		return XDP_PASS;
	p->place = place_of(ctx->ingress_ifindex, true);
	want = decide(ctx, (void *)(long)ctx->data, (void *)(long)ctx->data_end, true, &pkt, p, counters,
		      scratch, &conn);
	if (conn && !l3)
		note_mac(conn, p, (void *)(long)ctx->data, (void *)(long)ctx->data_end);
	if (conn && (plan = plan_prio(&pkt, want)))
		mps_account_edit(conn, &scratch->view, counters, p,
				 mps_edit_xdp(ctx, &pkt, plan, l3) << 1 | want);
	return XDP_PASS;
}

SEC("xdp.frags") int mps_xdp_eth(struct xdp_md *ctx)
{
	return handle_xdp(ctx, false);
}

SEC("xdp.frags") int mps_xdp_l3(struct xdp_md *ctx)
{
	return handle_xdp(ctx, true);
}

static __always_inline int handle_tc(struct __sk_buff *skb, bool l3)
{
	struct mps_counters *counters;
	struct mps_scratch *scratch;
	struct mps_conn *conn;
	struct mps_packet pkt;
	struct mps_plan *plan;
	struct mps_pass *p;
	int want, verdict, parsed;

	if (handle_wakes(skb, l3, &verdict))
		return verdict;
	if (has_no_mptcp((void *)(long)skb->data, (void *)(long)skb->data_end, l3))
		return TC_ACT_UNSPEC;
	__builtin_memset(&pkt, 0, sizeof(pkt));
	parsed = mps_parse_tc(skb, &pkt, l3);
	if (parsed != PARSE_MPTCP) {
		if (parsed == PARSE_MALFORMED)
			count_malformed();
		return TC_ACT_UNSPEC;
	}
	counters = get_counters();
	scratch = get_scratch();
	p = get_pass(skb->ifindex);
	if (!counters || !scratch || !p)
		return TC_ACT_UNSPEC;
	p->place = place_of(skb->ifindex, false);
	want = decide(skb, (void *)(long)skb->data, (void *)(long)skb->data_end, false, &pkt, p, counters,
		      scratch, &conn);
	if (!conn && p->vrf)
		conn = ask_vrf(skb, &pkt, p, counters, &scratch->view, &want);
	if (!conn)
		return TC_ACT_UNSPEC;
	if (!l3)
		note_mac(conn, p, (void *)(long)skb->data, (void *)(long)skb->data_end);
	plan = plan_prio(&pkt, want);
	if (plan)
		mps_account_edit(conn, &scratch->view, counters, p, mps_edit_tc(skb, &pkt, plan) << 1 | want);
	if (mps_wakes_ready)
		mps_send_wakes(skb, counters, l3);
	return TC_ACT_UNSPEC;
}

SEC("tc") int mps_tc_eth(struct __sk_buff *skb)
{
	return handle_tc(skb, false);
}

SEC("tc") int mps_tc_l3(struct __sk_buff *skb)
{
	return handle_tc(skb, true);
}

/* On the way out of a VRF (vrf.bpf.h): answers for the clones that its members' programs send here, and drops them. */
SEC("tc") int mps_tc_vrf(struct __sk_buff *skb)
{
	struct mps_vrf_call *call = get_vrf_call();
	struct mps_counters *counters;
	struct mps_scratch *scratch;
	struct mps_conn *conn;

	if (!call || call->state != VRF_ASKED)
		return TC_ACT_UNSPEC;
	counters = get_counters();
	scratch = get_scratch();
	if (!counters || !scratch)
		return TC_ACT_SHOT;
	call->want = decide(skb, (void *)(long)skb->data, (void *)(long)skb->data_end, false, &call->pkt,
			    &call->pass, counters, scratch, &conn);
	call->state = conn ? VRF_DECIDED : VRF_ANSWERED;
	return TC_ACT_SHOT;
}

SEC("tc") int mps_wake_eth(struct __sk_buff *skb)
{
	int verdict;

	handle_wakes(skb, false, &verdict);
	return verdict;
}

SEC("tc") int mps_wake_l3(struct __sk_buff *skb)
{
	int verdict;

	handle_wakes(skb, true, &verdict);
	return verdict;
}

/* On the way out of every attached interface: what the peer is to send. */
SEC("tc") int mps_out_eth(struct __sk_buff *skb)
{
	return handle_departure(skb, false);
}

SEC("tc") int mps_out_l3(struct __sk_buff *skb)
{
	return handle_departure(skb, true);
}

/*
 * Run by commands, with the token of a connection in cb[0] and a mask of its subflows in cb[1]: its peer gets to know again what our
 * endpoints say of them, although no packet of the connection leaves. Returns the mask of those to which that was sent.
 */
SEC("tc") int mps_take_back(struct __sk_buff *skb)
{
	__u32 token = skb->cb[0], todo = skb->cb[1], done = 0;
	struct mps_peer *peer = bpf_map_lookup_elem(&mps_peers, &token);
	struct mps_counters *counters = get_counters();

	if (!peer || !counters)
		return 0;
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++) {
		struct mps_conn_subflow *mine = &peer->conn.sf[i];

		if (todo >> i & 1 && mine->sk)
			done |= (mps_send_notice(skb, peer, counters, i << 1 | (mine->peer_backup & 1)) & 1)
				<< i;
	}
	return done;
}

/*
 * Run by who follows the interfaces, after a path was lost: no packet may come that asks for a decision. Returns how many wakes found
 * their place in the queue taken.
 */
SEC("tc") int mps_look(struct __sk_buff *skb MPS_UNUSED)
{
	struct mps_counters *counters = get_counters();
	__u64 now_ns = bpf_ktime_get_ns(), before;

	if (!counters)
		return 0;
	before = counters->n[MPS_C_WAKE_BUSY];
	bpf_for_each_map_elem(&mps_conns, look_at_one, &now_ns, 0);
	return (counters->n[MPS_C_WAKE_BUSY] - before) & 0x7fffffff;
}

/* Carries forged ACKs from user space: `detach` has no packets of its own to edit. */
SEC("xdp") int mps_inject(struct xdp_md *ctx MPS_UNUSED)
{
	return XDP_PASS;
}
