/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What an uplink with a quota has carried of connections that pass: IP packets in both directions, with their headers, and again what was
 * sent again. Each subflow collects, and hands over what it has at a pure ACK, at its end, or when it is much: so a packet of contents
 * costs an addition.
 */
#ifndef MPS_GATEWAY_METER_BPF_H
#define MPS_GATEWAY_METER_BPF_H

#include "gateway_maps.bpf.h"
#include "meter.bpf.h"

#define GATEWAY_UNMETERED_MOST 65536

/* Each segment of what travels as one packet has headers of its own. */
static __always_inline __u32 ip_bytes(const struct __sk_buff *skb, const struct mps_packet *pkt)
{
	__u32 headers = pkt->tcp_off - pkt->net_off + sizeof(struct tcphdr) + pkt->options_len;
	__u32 more = skb->gso_segs > 1 ? skb->gso_segs - 1 : 0;

	return skb->len - pkt->net_off + more * headers;
}

__noinline int mps_gw_settle(struct mps_gateway_flow *flow)
{
	struct mps_usage *usage;
	struct mps_path *path;
	__u32 *found, ifindex;
	__u64 bytes;

	if (!flow)
		return 0;
	ifindex = flow->ifindex;
	found = bpf_map_lookup_elem(&mps_path_index, &ifindex);
	path = found ? bpf_map_lookup_elem(&mps_paths, found) : NULL;
	usage = found ? bpf_map_lookup_elem(&mps_usage, found) : NULL;
	bytes = *(volatile __u64 *)&flow->unmetered;
	if (__sync_val_compare_and_swap(&flow->unmetered, bytes, 0) != bytes || !path || !usage ||
	    !path->quota_bytes)
		return 0;
	begin_period(path, usage);
	__sync_fetch_and_add(&usage->used_bytes, bytes);
	return 0;
}

static __always_inline void meter_forward(const struct __sk_buff *skb, struct mps_gateway_flow *flow,
					  const struct mps_packet *pkt, bool now)
{
	__u32 bytes = ip_bytes(skb, pkt);

	if (__sync_fetch_and_add(&flow->unmetered, bytes) + bytes > GATEWAY_UNMETERED_MOST || now)
		mps_gw_settle(flow);
}

#endif /* MPS_GATEWAY_METER_BPF_H */
