/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What is to be done to a packet: a short list of edits of its TCP options, made by whoever decides and carried out by edit.bpf.h,
 * the same for XDP and TC. It lies in per-CPU memory, since the chain of calls has no stack left for it.
 *
 * Offsets are octets from the first option on, as the parser notes them. They are those of the packet as it came: what is inserted
 * goes in front of all options, and is done last.
 */
#ifndef MPS_PLAN_BPF_H
#define MPS_PLAN_BPF_H

#include "maps.bpf.h"
#include "parse.bpf.h"

/* Nothing, or MP_PRIO with this B bit (RFC 8684 section 3.3.8). */
enum mps_want {
	WANT_NOTHING = -1,
	WANT_ACTIVE = 0,
	WANT_BACKUP = 1,
};

static __always_inline struct mps_plan *get_plan(void)
{
	__u32 zero = 0;
	struct mps_plan *plan = bpf_map_lookup_elem(&mps_plans, &zero);

	if (plan) {
		plan->nr_changes = 0;
		plan->inserts = 0;
	}
	return plan;
}

/* Of the octet at `off` the bits in `mask` become those of `value`. */
static __always_inline void plan_replace(struct mps_plan *plan, __u32 off, __u8 mask, __u8 value)
{
	struct mps_change *change = &plan->change[plan->nr_changes++ & (MPS_PLAN_CHANGES - 1)];

	change->off = off;
	change->len = 1;
	change->mask = mask;
	change->value = value;
}

/* These octets become NOPs. */
static __always_inline void plan_neutralise(struct mps_plan *plan, __u32 off, __u32 len)
{
	struct mps_change *change = &plan->change[plan->nr_changes++ & (MPS_PLAN_CHANGES - 1)];

	change->off = off;
	change->len = len;
	change->mask = 0xff;
	change->value = TCPOPT_NOP;
}

/* Four octets in front of the first option; at most once in a plan. */
static __always_inline void plan_insert(struct mps_plan *plan, __u8 a, __u8 b, __u8 c, __u8 d)
{
	plan->insert[0] = bpf_htons(a << 8 | b);
	plan->insert[1] = bpf_htons(c << 8 | d);
	plan->inserts = 1;
}

/*
 * MP_PRIO. A packet that bears the peer's own: the stack goes by the last one, so ours in front of it would have no effect. Its
 * B bit is changed instead, and nothing becomes longer. Returns the plan, or NULL if there is nothing to do.
 */
static __always_inline struct mps_plan *plan_prio(const struct mps_packet *pkt, int want)
{
	struct mps_plan *plan;

	if (want < 0 || (pkt->fin && !pkt->has_prio))
		return NULL;
	plan = get_plan();
	if (!plan)
		return NULL;
	if (pkt->has_prio)
		plan_replace(plan, pkt->prio_off + 2, 1, want);
	else
		plan_insert(plan, TCPOPT_MPTCP, MPTCP_LEN_prio, MPTCP_SUB_MP_PRIO << 4 | (want & 1),
			    TCPOPT_NOP);
	return plan;
}

#endif /* MPS_PLAN_BPF_H */
