/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Carries out a plan (plan.bpf.h) on a packet on its way in. What stands among the TCP options is changed where it stands; what is
 * inserted are 4 bytes in front of them: everything before the options moves 4 bytes towards the head, and nothing behind them
 * moves. Lengths and checksums are adjusted incrementally (RFC 1624), so whatever the sender computed stays as right (or
 * wrong) as it was.
 */
#ifndef MPS_EDIT_BPF_H
#define MPS_EDIT_BPF_H

#include "maps.bpf.h"
#include "parse.bpf.h"
#include "checksum.bpf.h"
#include "plan.bpf.h"

#define INSERT_BYTES 4
#define TCP_DOFF_MAX 15
#define TCP_LEN_AND_FLAGS 12 /* offset of the 16-bit word with data offset and flags */

enum mps_edit_result {
	EDIT_DONE,
	EDIT_NO_ROOM,
	EDIT_MTU,
	EDIT_GSO,
	EDIT_FAILED,
};

/* `tcp` points to the moved header, followed by the 4 bytes to fill. */
static __always_inline void patch_tcp(struct tcphdr *tcp, __u32 l4_len, const struct mps_plan *plan)
{
	__be16 *words = (__be16 *)tcp, *option = (__be16 *)(tcp + 1);
	__u32 removed = words[TCP_LEN_AND_FLAGS / 2], added;

	tcp->doff += 1;
	option[0] = plan->insert[0];
	option[1] = plan->insert[1];
	added = words[TCP_LEN_AND_FLAGS / 2];
	/* The pseudo-header's length grows by 4; it is 32 bits wide in IPv6, which sums to the same here. */
	added += option[0];
	added += option[1];
	removed += bpf_htons(l4_len);
	added += bpf_htons(l4_len + INSERT_BYTES);
	tcp->check = patch_csum(tcp->check, removed, added);
}

static __always_inline void patch_ipv4(struct iphdr *ip)
{
	__be16 old = ip->tot_len, new = bpf_htons(bpf_ntohs(old) + INSERT_BYTES);

	ip->tot_len = new;
	ip->check = patch_csum(ip->check, old, new);
}

static __always_inline void patch_ipv6(struct ipv6hdr *ip)
{
	ip->payload_len = bpf_htons(bpf_ntohs(ip->payload_len) + INSERT_BYTES);
}

static __always_inline __u32 l4_len(const struct mps_packet *pkt)
{
	return sizeof(struct tcphdr) + pkt->options_len + pkt->payload_len;
}

static __always_inline enum mps_edit_result can_edit(void *ctx, const struct mps_packet *pkt)
{
	__u32 mtu = 0;

	if (pkt->options_len + INSERT_BYTES > TCP_OPTIONS_MAX)
		return EDIT_NO_ROOM;
	/* A pure ACK is at most 60 + 60 bytes, which every MTU allows (IPv4: 68 and no ACK is near it). */
	if (pkt->payload_len && bpf_check_mtu(ctx, 0, &mtu, INSERT_BYTES, 0))
		return EDIT_MTU;
	return EDIT_DONE;
}

/*
 * The usual packet: Ethernet, no VLAN, plain IP header, so `headers` (up to the options) is a constant and
 * the move is a row of loads and stores.
 */
static __always_inline enum mps_edit_result insert_plain(struct xdp_md *ctx, const struct mps_packet *pkt,
							 const struct mps_plan *plan, const __u32 headers)
{
	__u32 segment = l4_len(pkt);
	struct tcphdr *tcp;
	void *data, *end;
	__u16 *halves;

	if (bpf_xdp_adjust_head(ctx, -INSERT_BYTES))
		return EDIT_FAILED;
	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	if (data + headers + INSERT_BYTES > end)
		return EDIT_FAILED; /* cannot be: the packet was this long before it grew */
	halves = data;
#pragma unroll
	for (__u32 i = 0; i < headers / 2; i++)
		halves[i] = halves[i + INSERT_BYTES / 2];
	tcp = data + headers - sizeof(*tcp);
	patch_tcp(tcp, segment, plan);
	if (headers == sizeof(struct ethhdr) + sizeof(struct iphdr) + sizeof(*tcp))
		patch_ipv4(data + sizeof(struct ethhdr));
	else
		patch_ipv6(data + sizeof(struct ethhdr));
	return EDIT_DONE;
}

/*
 * Offsets into the edit buffer. The mask is no check (that comes first) but a reminder: 6.1 forgets the
 * range of a number that was spilled to the stack, and the compiler would drop a mask that it can prove
 * needless.
 */
static __always_inline void *edit_at(struct mps_edit *buf, __u32 off)
{
	barrier_var(off);
	return buf->bytes + (off & 255);
}

/* Any layout: through a buffer, with the kernel's copy helpers. */
static __always_inline int insert_any(struct xdp_md *ctx, const struct mps_packet *pkt,
				      const struct mps_plan *plan)
{
	__u32 zero = 0, headers = pkt->tcp_off + sizeof(struct tcphdr);
	__u32 net_off = pkt->net_off, tcp_off = pkt->tcp_off;
	struct mps_edit *buf = bpf_map_lookup_elem(&mps_edits, &zero);

	if (!buf || headers < 40 || headers > HEADERS_MAX || net_off > 32 || tcp_off > HEADERS_MAX - 24)
		return EDIT_FAILED;
	if (bpf_xdp_load_bytes(ctx, 0, buf->bytes, headers))
		return EDIT_FAILED;
	patch_tcp(edit_at(buf, tcp_off), l4_len(pkt), plan);
	if (pkt->is_ipv6)
		patch_ipv6(edit_at(buf, net_off));
	else
		patch_ipv4(edit_at(buf, net_off));
	if (bpf_xdp_adjust_head(ctx, -INSERT_BYTES))
		return EDIT_FAILED;
	/* Within what was just loaded plus the 4 bytes gained, so this cannot fail. */
	bpf_xdp_store_bytes(ctx, 0, buf->bytes, headers + INSERT_BYTES);
	return EDIT_DONE;
}

/* Both ways to an octet: of the two contexts the kernel knows different helpers. */
static __always_inline bool load_octets(void *ctx, bool xdp, __u32 at, void *to, __u32 len)
{
	return !(xdp ? bpf_xdp_load_bytes(ctx, at, to, len) : bpf_skb_load_bytes(ctx, at, to, len));
}

static __always_inline bool store_octets(void *ctx, bool xdp, __u32 at, void *from, __u32 len)
{
	return !(xdp ? bpf_xdp_store_bytes(ctx, at, from, len) : bpf_skb_store_bytes(ctx, at, from, len, 0));
}

/* One octet of a change, `off` from the first option on. The rest of its offset in the segment is even. */
static __always_inline bool change_octet(void *ctx, bool xdp, const struct mps_packet *pkt,
					 const struct mps_change *change, __u32 off)
{
	__u32 at = pkt->tcp_off + sizeof(struct tcphdr) + off;
	__u32 check_at = pkt->tcp_off + offsetof(struct tcphdr, check);
	__u16 check;
	__u8 old, new;

	if (!load_octets(ctx, xdp, at, &old, 1) || !load_octets(ctx, xdp, check_at, &check, 2))
		return false;
	new = (old & ~change->mask) | (change->value & change->mask);
	check = patch_csum(check, octet_in_sum(old, off), octet_in_sum(new, off));
	/*
	 * What was just read can be written. Both changes cancel in the sum over the packet, so that of a hardware-checked one
	 * stays right.
	 */
	return store_octets(ctx, xdp, check_at, &check, 2) && store_octets(ctx, xdp, at, &new, 1);
}

/* Global, so that the verifier looks at one octet and not at each of a plan. */
__noinline int mps_change_xdp(struct xdp_md *ctx, const struct mps_packet *pkt,
			      const struct mps_change *change, __u32 off)
{
	return pkt && change && change_octet(ctx, true, pkt, change, off);
}

__noinline int mps_change_tc(struct __sk_buff *skb, const struct mps_packet *pkt,
			     const struct mps_change *change, __u32 off)
{
	return pkt && change && change_octet(skb, false, pkt, change, off);
}

/* What the plan changes where it stands. */
static __always_inline bool change_all(void *ctx, bool xdp, const struct mps_packet *pkt,
				       const struct mps_plan *plan)
{
	for (__u32 i = 0; i < MPS_PLAN_CHANGES; i++) {
		const struct mps_change *change = &plan->change[i];
		__u32 off = change->off, end = off + change->len;

		if (i >= plan->nr_changes)
			break;
		for (__u32 k = 0; k < TCP_OPTIONS_MAX && off < end; k++, off++)
			if (!(xdp ? mps_change_xdp(ctx, pkt, change, off)
				  : mps_change_tc(ctx, pkt, change, off)))
				return false;
	}
	return true;
}

/* Carries out the plan on this packet; returns enum mps_edit_result. */
__noinline int mps_edit_xdp(struct xdp_md *ctx, const struct mps_packet *pkt, const struct mps_plan *plan,
			    __u32 l3)
{
	enum mps_edit_result can;

	if (!pkt || !plan || !change_all(ctx, true, pkt, plan))
		return EDIT_FAILED;
	if (!plan->inserts)
		return EDIT_DONE;
	can = can_edit(ctx, pkt);
	if (can != EDIT_DONE)
		return can;
	if (!l3 && !pkt->nr_vlans && !pkt->unusual)
		return pkt->is_ipv6 ? insert_plain(ctx, pkt, plan, 14 + 40 + 20)
				    : insert_plain(ctx, pkt, plan, 14 + 20 + 20);
	return insert_any(ctx, pkt, plan);
}

/*
 * On TC the packet is an skb: bpf_skb_adjust_room makes the gap behind the fixed IP header and keeps the
 * skb's own header offsets right; what stood there (extension headers or IP options, and the TCP header) is
 * written again, 4 bytes earlier. A merged (GRO) packet is left alone: its segments would all get the
 * option.
 */
__noinline int mps_edit_tc(struct __sk_buff *skb, const struct mps_packet *pkt, const struct mps_plan *plan)
{
	__u32 zero = 0, net_off, tcp_off, fixed, moved;
	struct mps_edit *buf = bpf_map_lookup_elem(&mps_edits, &zero);
	enum mps_edit_result can;

	if (!pkt || !plan || !change_all(skb, false, pkt, plan))
		return EDIT_FAILED;
	if (!plan->inserts)
		return EDIT_DONE;
	net_off = pkt->net_off;
	tcp_off = pkt->tcp_off;
	if (!buf || net_off > 32 || tcp_off > HEADERS_MAX - 24)
		return EDIT_FAILED;
	if (skb->gso_size)
		return EDIT_GSO;
	can = can_edit(skb, pkt);
	if (can != EDIT_DONE)
		return can;
	fixed = net_off + (pkt->is_ipv6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr));
	moved = tcp_off + sizeof(struct tcphdr);
	if (moved < fixed + sizeof(struct tcphdr) || moved > HEADERS_MAX - INSERT_BYTES)
		return EDIT_FAILED;
	if (bpf_skb_load_bytes(skb, 0, buf->bytes, moved))
		return EDIT_FAILED;
	patch_tcp(edit_at(buf, tcp_off), l4_len(pkt), plan);
	if (pkt->is_ipv6)
		patch_ipv6(edit_at(buf, net_off));
	else
		patch_ipv4(edit_at(buf, net_off));
	if (bpf_skb_adjust_room(skb, INSERT_BYTES, BPF_ADJ_ROOM_NET, 0))
		return EDIT_FAILED;
	/* The link-layer header was moved by the kernel; the sum of a hardware-checked packet covers only what follows it. */
	moved -= net_off;
	barrier_var(moved); /* as in edit_at(): the range again, on the number itself */
	moved &= 255;
	if (moved > HEADERS_MAX - INSERT_BYTES || moved < 40)
		return EDIT_FAILED;
	bpf_skb_store_bytes(skb, net_off, edit_at(buf, net_off & 31), moved + INSERT_BYTES,
			    BPF_F_RECOMPUTE_CSUM);
	return EDIT_DONE;
}

#endif /* MPS_EDIT_BPF_H */
