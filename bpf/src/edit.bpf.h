/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Writes MP_PRIO and a NOP (4 bytes) in front of the TCP options of a packet on its way in. Everything
 * before the options moves 4 bytes towards the head; nothing behind them moves. Lengths and checksums are
 * adjusted incrementally (RFC 1624), so whatever the sender computed stays as right (or wrong) as it was.
 */
#ifndef MPS_EDIT_BPF_H
#define MPS_EDIT_BPF_H

#include "maps.bpf.h"
#include "parse.bpf.h"
#include "checksum.bpf.h"

#define PRIO_BYTES 4
#define TCP_DOFF_MAX 15
#define TCP_LEN_AND_FLAGS 12 /* offset of the 16-bit word with data offset and flags */

enum mps_edit_result {
	EDIT_DONE,
	EDIT_NO_ROOM,
	EDIT_MTU,
	EDIT_GSO,
	EDIT_FAILED,
};

static __always_inline __be16 prio_word(__u32 backup, int which)
{
	return which == 0 ? bpf_htons(TCPOPT_MPTCP << 8 | MPTCP_PRIO_LEN)
			  : bpf_htons((MPTCP_SUB_MP_PRIO << 4 | (backup & 1)) << 8 | TCPOPT_NOP);
}

/* `tcp` points to the moved header, followed by the 4 bytes to fill. */
static __always_inline void patch_tcp(struct tcphdr *tcp, __u32 l4_len, __u32 backup)
{
	__be16 *words = (__be16 *)tcp, *option = (__be16 *)(tcp + 1);
	__u32 removed = words[TCP_LEN_AND_FLAGS / 2], added;

	tcp->doff += 1;
	option[0] = prio_word(backup, 0);
	option[1] = prio_word(backup, 1);
	added = words[TCP_LEN_AND_FLAGS / 2];
	/* The pseudo-header's length grows by 4; it is 32 bits wide in IPv6, which sums to the same here. */
	added += option[0];
	added += option[1];
	removed += bpf_htons(l4_len);
	added += bpf_htons(l4_len + PRIO_BYTES);
	tcp->check = patch_csum(tcp->check, removed, added);
}

static __always_inline void patch_ipv4(struct iphdr *ip)
{
	__be16 old = ip->tot_len, new = bpf_htons(bpf_ntohs(old) + PRIO_BYTES);

	ip->tot_len = new;
	ip->check = patch_csum(ip->check, old, new);
}

static __always_inline void patch_ipv6(struct ipv6hdr *ip)
{
	ip->payload_len = bpf_htons(bpf_ntohs(ip->payload_len) + PRIO_BYTES);
}

static __always_inline __u32 l4_len(const struct mps_packet *pkt)
{
	return sizeof(struct tcphdr) + pkt->options_len + pkt->payload_len;
}

static __always_inline enum mps_edit_result can_edit(void *ctx, const struct mps_packet *pkt)
{
	__u32 mtu = 0;

	if (pkt->options_len + PRIO_BYTES > TCP_OPTIONS_MAX)
		return EDIT_NO_ROOM;
	/* A pure ACK is at most 60 + 60 bytes, which every MTU allows (IPv4: 68 and no ACK is near it). */
	if (pkt->payload_len && bpf_check_mtu(ctx, 0, &mtu, PRIO_BYTES, 0))
		return EDIT_MTU;
	return EDIT_DONE;
}

/*
 * The usual packet: Ethernet, no VLAN, plain IP header, so `headers` (up to the options) is a constant and
 * the move is a row of loads and stores.
 */
static __always_inline enum mps_edit_result
insert_prio_plain(struct xdp_md *ctx, const struct mps_packet *pkt, __u32 backup, const __u32 headers)
{
	__u32 segment = l4_len(pkt);
	struct tcphdr *tcp;
	void *data, *end;
	__u16 *halves;

	if (bpf_xdp_adjust_head(ctx, -PRIO_BYTES))
		return EDIT_FAILED;
	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	if (data + headers + PRIO_BYTES > end)
		return EDIT_FAILED; /* cannot be: the packet was this long before it grew */
	halves = data;
#pragma unroll
	for (__u32 i = 0; i < headers / 2; i++)
		halves[i] = halves[i + PRIO_BYTES / 2];
	tcp = data + headers - sizeof(*tcp);
	patch_tcp(tcp, segment, backup);
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
static __always_inline int insert_prio_any(struct xdp_md *ctx, const struct mps_packet *pkt, __u32 backup)
{
	__u32 zero = 0, headers = pkt->tcp_off + sizeof(struct tcphdr);
	__u32 net_off = pkt->net_off, tcp_off = pkt->tcp_off;
	struct mps_edit *buf = bpf_map_lookup_elem(&mps_edits, &zero);

	if (!buf || headers < 40 || headers > HEADERS_MAX || net_off > 32 || tcp_off > HEADERS_MAX - 24)
		return EDIT_FAILED;
	if (bpf_xdp_load_bytes(ctx, 0, buf->bytes, headers))
		return EDIT_FAILED;
	patch_tcp(edit_at(buf, tcp_off), l4_len(pkt), backup);
	if (pkt->is_ipv6)
		patch_ipv6(edit_at(buf, net_off));
	else
		patch_ipv4(edit_at(buf, net_off));
	if (bpf_xdp_adjust_head(ctx, -PRIO_BYTES))
		return EDIT_FAILED;
	/* Within what was just loaded plus the 4 bytes gained, so this cannot fail. */
	bpf_xdp_store_bytes(ctx, 0, buf->bytes, headers + PRIO_BYTES);
	return EDIT_DONE;
}

/*
 * A packet that bears the peer's own MP_PRIO: the stack goes by the last one, so ours in front of it would have no effect. Its
 * B bit is changed instead; both numbers are in front of the contents, and nothing becomes longer.
 */
static __always_inline __u32 prio_byte_off(const struct mps_packet *pkt)
{
	return pkt->tcp_off + sizeof(struct tcphdr) + pkt->prio_off + 2;
}

static __always_inline __u16 patch_octet_csum(__u16 check, const struct mps_packet *pkt, __u32 old, __u32 new)
{
	__u32 off = pkt->prio_off; /* the rest of the offset is even */

	return patch_csum(check, octet_in_sum(old, off), octet_in_sum(new, off));
}

static __always_inline int rewrite_prio_xdp(struct xdp_md *ctx, const struct mps_packet *pkt, __u32 backup)
{
	__u32 at = prio_byte_off(pkt), check_at = pkt->tcp_off + offsetof(struct tcphdr, check);
	__u16 check;
	__u8 old, new;

	if (bpf_xdp_load_bytes(ctx, at, &old, 1) || bpf_xdp_load_bytes(ctx, check_at, &check, 2))
		return EDIT_FAILED;
	new = (old & ~1) | (backup & 1);
	check = patch_octet_csum(check, pkt, old, new);
	/* What was just read can be written. */
	bpf_xdp_store_bytes(ctx, at, &new, 1);
	bpf_xdp_store_bytes(ctx, check_at, &check, 2);
	return EDIT_DONE;
}

static __always_inline int rewrite_prio_tc(struct __sk_buff *skb, const struct mps_packet *pkt, __u32 backup)
{
	__u32 at = prio_byte_off(pkt), check_at = pkt->tcp_off + offsetof(struct tcphdr, check);
	__u16 check;
	__u8 old, new;

	if (bpf_skb_load_bytes(skb, at, &old, 1) || bpf_skb_load_bytes(skb, check_at, &check, 2))
		return EDIT_FAILED;
	new = (old & ~1) | (backup & 1);
	check = patch_octet_csum(check, pkt, old, new);
	/* Both changes cancel in the sum over the packet, so that of a hardware-checked one stays right. */
	if (bpf_skb_store_bytes(skb, check_at, &check, 2, 0) || bpf_skb_store_bytes(skb, at, &new, 1, 0))
		return EDIT_FAILED;
	return EDIT_DONE;
}

/* Writes MP_PRIO into this packet; returns enum mps_edit_result. */
__noinline int mps_edit_xdp(struct xdp_md *ctx, const struct mps_packet *pkt, __u32 backup, __u32 l3)
{
	enum mps_edit_result can;

	if (!pkt)
		return EDIT_FAILED;
	if (pkt->has_prio)
		return rewrite_prio_xdp(ctx, pkt, backup);
	can = can_edit(ctx, pkt);
	if (can != EDIT_DONE)
		return can;
	if (!l3 && !pkt->nr_vlans && !pkt->unusual)
		return pkt->is_ipv6 ? insert_prio_plain(ctx, pkt, backup, 14 + 40 + 20)
				    : insert_prio_plain(ctx, pkt, backup, 14 + 20 + 20);
	return insert_prio_any(ctx, pkt, backup);
}

/*
 * On TC the packet is an skb: bpf_skb_adjust_room makes the gap behind the fixed IP header and keeps the
 * skb's own header offsets right; what stood there (extension headers or IP options, and the TCP header) is
 * written again, 4 bytes earlier. A merged (GRO) packet is left alone: its segments would all get the
 * option.
 */
__noinline int mps_edit_tc(struct __sk_buff *skb, const struct mps_packet *pkt, __u32 backup)
{
	__u32 zero = 0, net_off, tcp_off, fixed, moved;
	struct mps_edit *buf = bpf_map_lookup_elem(&mps_edits, &zero);
	enum mps_edit_result can;

	if (!pkt)
		return EDIT_FAILED;
	if (pkt->has_prio)
		return rewrite_prio_tc(skb, pkt, backup);
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
	if (moved < fixed + sizeof(struct tcphdr) || moved > HEADERS_MAX - PRIO_BYTES)
		return EDIT_FAILED;
	if (bpf_skb_load_bytes(skb, 0, buf->bytes, moved))
		return EDIT_FAILED;
	patch_tcp(edit_at(buf, tcp_off), l4_len(pkt), backup);
	if (pkt->is_ipv6)
		patch_ipv6(edit_at(buf, net_off));
	else
		patch_ipv4(edit_at(buf, net_off));
	if (bpf_skb_adjust_room(skb, PRIO_BYTES, BPF_ADJ_ROOM_NET, 0))
		return EDIT_FAILED;
	/* The link-layer header was moved by the kernel; the sum of a hardware-checked packet covers only what follows it. */
	moved -= net_off;
	barrier_var(moved); /* as in edit_at(): the range again, on the number itself */
	moved &= 255;
	if (moved > HEADERS_MAX - PRIO_BYTES || moved < 40)
		return EDIT_FAILED;
	bpf_skb_store_bytes(skb, net_off, edit_at(buf, net_off & 31), moved + PRIO_BYTES,
			    BPF_F_RECOMPUTE_CSUM);
	return EDIT_DONE;
}

#endif /* MPS_EDIT_BPF_H */
