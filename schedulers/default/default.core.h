/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * default: leave the kernel alone. Every subflow goes back to what its peer asked for, and the kernel's own
 * rule decides (least sk_wmem_queued / avg_pacing_rate among the subflows that are no backup:
 * mptcp_subflow_get_send()).
 */
#ifndef MPS_DEFAULT_CORE_H
#define MPS_DEFAULT_CORE_H

#include <mps/core.h>

MPS_NO_PARAMS(default_policy)

struct default_policy_state {
	__u32 unused;
};

MPS_CORE void default_policy_decide(const struct mps_view *v, struct mps_verdict *out,
				    const struct default_policy_params *p MPS_UNUSED,
				    struct default_policy_state *st MPS_UNUSED)
{
	out->allowed = v->present;
	out->flags = MPS_VERDICT_PASS;
}

#endif
