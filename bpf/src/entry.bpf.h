/* SPDX-License-Identifier: GPL-2.0-only */
/* From a hook to the parsed packet. */
#ifndef MPS_ENTRY_BPF_H
#define MPS_ENTRY_BPF_H

#include "maps.bpf.h"
#include "parse.bpf.h"
#include "wake.bpf.h"

static __always_inline void count_malformed(void)
{
	struct mps_counters *counters = get_counters();

	if (counters)
		COUNT(counters, MALFORMED);
}

/* Global, so that the many ways through a packet's headers do not multiply with what follows. */
__noinline int mps_parse_xdp(struct xdp_md *ctx, struct mps_packet *pkt, __u32 l3)
{
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;

	if (!pkt)
		return PARSE_NOT_OURS;
	return l3 ? parse_frame(data, data_end, ctx, data_end - data, true, pkt)
		  : parse_frame(data, data_end, ctx, data_end - data, false, pkt);
}

__noinline int mps_parse_tc(struct __sk_buff *skb, struct mps_packet *pkt, __u32 l3)
{
	void *data = (void *)(long)skb->data, *data_end = (void *)(long)skb->data_end;
	int parsed;

	if (!pkt)
		return PARSE_NOT_OURS;
	if (!l3 && data + sizeof(struct ethhdr) <= data_end &&
	    ((struct ethhdr *)data)->h_proto != skb->protocol) {
		if (mps_restore_mac(skb))
			return PARSE_NOT_OURS;
		data = (void *)(long)skb->data;
		data_end = (void *)(long)skb->data_end;
	}
	parsed = l3 ? parse_packet(data, data_end, skb->len, true, pkt)
		    : parse_packet(data, data_end, skb->len, false, pkt);
	/*
	 * Headers outside the linear part: some drivers put whole packets into fragments. Only then, because
	 * pulling copies the head of a packet that is shared with its sender (every one of a veth).
	 */
	if (parsed == PARSE_MALFORMED && data + 128 > data_end && data + skb->len > data_end) {
		if (bpf_skb_pull_data(skb, skb->len < 128 ? skb->len : 128))
			return PARSE_NOT_OURS;
		data = (void *)(long)skb->data;
		data_end = (void *)(long)skb->data_end;
		parsed = l3 ? parse_packet(data, data_end, skb->len, true, pkt)
			    : parse_packet(data, data_end, skb->len, false, pkt);
	}
	/* The kernel keeps the outer tag beside the packet here. */
	if (parsed == PARSE_MPTCP && skb->vlan_present && pkt->nr_vlans < MPS_MAX_VLANS) {
		pkt->vlan_tci[1] = pkt->vlan_tci[0];
		pkt->vlan_proto[1] = pkt->vlan_proto[0];
		pkt->vlan_tci[0] = skb->vlan_tci;
		pkt->vlan_proto[0] = skb->vlan_proto;
		pkt->nr_vlans++;
	}
	return parsed;
}

#endif /* MPS_ENTRY_BPF_H */
