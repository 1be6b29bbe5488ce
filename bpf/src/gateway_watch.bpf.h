/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Uplinks that go silent: what leaves by them is not acknowledged any more, although nobody says that the link is down. No packet of such a
 * subflow asks for a decision, and the others may be parked and have none, so who follows looks at the times in mps_gw_uplinks, and has
 * the program mps_gw_look decide for the connections of an uplink that is silent, or down.
 *
 * That a host sends nothing any more is no silence: what it would have sent nobody here knows.
 */
#ifndef MPS_GATEWAY_WATCH_BPF_H
#define MPS_GATEWAY_WATCH_BPF_H

#include "gateway_maps.bpf.h"
#include "patience.bpf.h"

/* Before the packet of `way` is counted. */
static __always_inline void note_waiting(struct mps_gateway_way *way, struct mps_gateway_way *back,
					 const struct mps_packet *pkt, __u64 now_ns)
{
	if ((pkt->payload_len || pkt->fin) && way->next_seq == back->ack)
		way->wait_ns = now_ns;
	if ((__s32)(pkt->ack - way->ack) > 0)
		back->wait_ns = now_ns;
}

static __always_inline void note_uplink(const struct mps_gateway_flow *flow, const struct mps_packet *pkt,
					__u64 now_ns, bool out)
{
	__u32 index = flow->path & (MPS_MAX_PATHS - 1);
	struct mps_gateway_uplink *uplink = bpf_map_lookup_elem(&mps_gw_uplinks, &index);

	if (!uplink)
		return;
	if (!out)
		uplink->in_ns = now_ns;
	else if (pkt->payload_len)
		uplink->out_ns = now_ns;
}

/* Does nothing come back on it, or can nothing? A path is not down on which something arrived since that was said. */
static __always_inline __u32 is_forward_dead(const struct mps_gateway_flow *flow, __u64 paths_down,
					     __u64 down_ns, __u64 now_ns)
{
	const struct mps_gateway_way *sends = &flow->way[flow->out & 1];
	const struct mps_gateway_way *answers = &flow->way[~flow->out & 1];
	__u32 down = paths_down >> (flow->path & (MPS_MAX_PATHS - 1)) & 1;
	__u64 waited_us = (now_ns - sends->wait_ns) / 1000;
	__u32 waits = (__s32)(sends->next_seq - answers->ack) > 0 && (__s64)(now_ns - sends->wait_ns) > 0 &&
		      waited_us > guard_patience_us(sends->srtt_us, sends->rttvar_us);

	return waits | (down & (__u32)((answers->last_ns - down_ns) >> 63));
}

#endif /* MPS_GATEWAY_WATCH_BPF_H */
