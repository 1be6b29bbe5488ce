/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the peer sends: of its queues and windows nothing is known here, so the planner cannot answer. The question that decides about answers is
 * whether anything of one should come by a path that is late by its delay alone. So the peer keeps to the subflow with the shortest round
 * trip, and to another one as well once the present transfer has lasted for some of that one's round trips: until then what came over it
 * would be the last to arrive. It takes a round trip to open one, so a transfer that ends before has lost nothing.
 */
#ifndef MPS_AUTO_RECEIVER_H
#define MPS_AUTO_RECEIVER_H

#include "memory.core.h"

/* Without anything for that long, and for two round trips of the quickest, a transfer is over. */
#define AUTO_RECEIVE_GAP_US 30000
#define AUTO_RECEIVE_RTTS 3

MPS_CORE_PART __u32 auto_receive(const struct mps_view *v, struct auto_receive_state *st)
{
	__u32 candidates, quickest, allowed;
	__u64 gap_us, lasted_us;

	if (!v || !st)
		return 0;
	candidates = mps_welcome(v);
	quickest = mps_quickest(v, candidates, st->quickest, 10);
	if (quickest >= MPS_MAX_SUBFLOWS)
		return candidates;
	st->quickest = quickest + 1;
	gap_us = 2 * (__u64)mps_delay_us(mps_at(v, quickest));
	if (gap_us < AUTO_RECEIVE_GAP_US)
		gap_us = AUTO_RECEIVE_GAP_US;
	lasted_us = mps_follow_transfer(v, &st->transfer, gap_us);
	allowed = 1u << quickest;
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++)
		allowed |= (__u32)mps_is_less(AUTO_RECEIVE_RTTS * (__u64)mps_delay_us(&v->sf[i]), lasted_us)
			   << i;
	return allowed & candidates;
}

#endif
