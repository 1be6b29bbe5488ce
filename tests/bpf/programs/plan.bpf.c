// SPDX-License-Identifier: GPL-2.0-only
/* Plans of edits that no policy makes yet, carried out by the data path's own editor. */
/* The headers bring more than is tested here. */
#pragma clang diagnostic ignored "-Wunused-function"

#include "entry.bpf.h"
#include "edit.bpf.h"

char mps_license[] SEC("license") = "GPL";

/* These octets become NOPs, from the first option on, … */
__u32 neutral_off = 0;
__u32 neutral_len = 0;
/* … and four NOPs are put in front of them. */
__u32 inserts = 0;

static __always_inline struct mps_plan *make_plan(void)
{
	struct mps_plan *plan = get_plan();

	if (!plan)
		return NULL;
	plan_neutralise(plan, neutral_off, neutral_len);
	if (inserts)
		plan_insert(plan, TCPOPT_NOP, TCPOPT_NOP, TCPOPT_NOP, TCPOPT_NOP);
	return plan;
}

SEC("xdp.frags") int plan_xdp(struct xdp_md *ctx)
{
	struct mps_packet pkt = {};

	if (mps_parse_xdp(ctx, &pkt, 0) != PARSE_MPTCP)
		return XDP_ABORTED;
	return mps_edit_xdp(ctx, &pkt, make_plan(), 0) == EDIT_DONE ? XDP_PASS : XDP_DROP;
}

SEC("tc") int plan_tc(struct __sk_buff *skb)
{
	struct mps_packet pkt = {};

	if (mps_parse_tc(skb, &pkt, 0) != PARSE_MPTCP)
		return TC_ACT_SHOT;
	return mps_edit_tc(skb, &pkt, make_plan()) == EDIT_DONE ? TC_ACT_UNSPEC : TC_ACT_SHOT;
}
