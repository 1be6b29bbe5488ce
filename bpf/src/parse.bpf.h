/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * From a packet to "TCP that carries an MPTCP option" or "not ours". Reads only what lies inside the packet,
 * changes nothing, and never guesses: whatever it does not fully understand is passed.
 */
#ifndef MPS_PARSE_BPF_H
#define MPS_PARSE_BPF_H

#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <bpf/bpf_endian.h>
#include <mps/mptcp_options.h>
#include "maps.bpf.h"

#define ETH_VLAN_LEN 4
/* NOP NOP kind 8 length 10: how Linux (and most others) start the options of an established connection. */
#define TCPOPT_ALIGNED_TIMESTAMP bpf_htonl(0x0101080a)
#define TCPOPT_ALIGNED_SACK bpf_htonl(0x01010500) /* NOP NOP kind 5, the length follows */
#define TCPOPT_ALIGNED_SACK1 bpf_htonl(0x0101050a)
#define IPV6_EXT_MAX 6
/* Longest run of headers before the TCP options that we edit. */
#define HEADERS_MAX 252

enum mps_parse {
	PARSE_NOT_OURS, /* not TCP, no MPTCP option, a fragment, SYN or RST */
	PARSE_MALFORMED,
	PARSE_MPTCP,
};

struct mps_packet {
	__u32 net_off; /* of the IP header, from the packet's start */
	__u32 tcp_off;
	__u32 options_len; /* bytes of TCP options */
	__u32 payload_len; /* bytes after the TCP header */
	__u32 seq;
	__u32 ack;
	__u32 tsval;
	__u8 has_tstamp;
	__u8 is_ipv6;
	__u8 has_prio; /* MP_PRIO is in this packet: the peer's own, or what we wrote just before */
	__u8 prio_backup;
	__u8 prio_off; /* of the option that the stack will go by, from the first option on */
	__u8 fin;
	__u8 nr_vlans;
	__u8 unusual; /* IP options or extension headers: edited the general way */
	/* It completes a join: its DSS acknowledges data (RFC 8684 3.2, the fourth packet), or it bears ADD_ADDR. */
	__u8 completes;
	__u16 vlan_tci[MPS_MAX_VLANS];
	__be16 vlan_proto[MPS_MAX_VLANS];
};

enum mps_options {
	OPTIONS_PLAIN = 0, /* no MPTCP option */
	OPTIONS_MPTCP = 1 << 0,
	OPTIONS_PRIO = 1 << 1,
	OPTIONS_PRIO_BACKUP = 1 << 2,
	OPTIONS_BAD = 1 << 3,
	OPTIONS_COMPLETES = 1 << 4, /* a join */
	/* An MP_JOIN as of a SYN or SYN/ACK, and no MP_PRIO: the stack would go by its B bit, whatever we write before it. */
	OPTIONS_JOIN = 1 << 5,
};

/*
 * Comparisons as arithmetic: a branch that sets a flag would double the states the verifier has to walk.
 * Both are for values below 2^31.
 */
static __always_inline __u32 is_equal(__u32 a, __u32 b)
{
	return ((a ^ b) - 1) >> 31;
}

static __always_inline __u32 is_set(__u32 value)
{
	return 1 - is_equal(value, 0);
}

#define DSS_HALF(flags)                                                                                      \
	((__u64)(((flags) & MPTCP_DSS_A ? (flags) & MPTCP_DSS_a ? 8 : 4 : 0) +                               \
		 ((flags) & MPTCP_DSS_M ? (flags) & MPTCP_DSS_m ? 14 : 10 : 0)) /                            \
	 2)
#define DSS_HALVES(flags)                                                                                    \
	(DSS_HALF(flags) | DSS_HALF((flags) + 1) << 4 | DSS_HALF((flags) + 2) << 8 |                         \
	 DSS_HALF((flags) + 3) << 12)
/* By these four flags: half of what such a DSS is longer than its head, four bits each, so that one shift tells. */
#define DSS_LENGTHS (DSS_HALVES(0) | DSS_HALVES(4) << 16 | DSS_HALVES(8) << 32 | DSS_HALVES(12) << 48)

/*
 * 0 if the stack takes a DSS with these flags and this length; else it passes over it as if it was not there. It expects what the
 * flags say, and lets a checksum follow also where there is no mapping (mptcp_parse_option(), net/mptcp/options.c).
 */
static __always_inline __u32 dss_excess(__u32 flags, __u32 size)
{
	__u32 body = (DSS_LENGTHS >> (flags & 15) * 4 & 15) * 2;

	return (size - MPTCP_LEN_dss - body) & 0x7ffffffd; /* as is_equal() asks */
}

/*
 * Whether an MPTCP option completes a join: a DSS that acknowledges data; or ADD_ADDR, also an echo, also one whose HMAC is wrong
 * (check_fully_established(), net/mptcp/options.c), but of a length that the stack takes. Global: the verifier looks at it
 * once.
 */
__noinline int mps_completes(__u32 head, __u32 flags, __u32 size)
{
	if (head >> 4 == MPTCP_SUB_DSS)
		return (flags & MPTCP_DSS_A) && !dss_excess(flags, size);
	if (head >> 4 != MPTCP_SUB_ADD_ADDR)
		return 0;
	size -= head & 1 ? MPTCP_LEN_add_addr4_echo : MPTCP_LEN_add_addr4;
	/* With a port it is two octets longer. */
	size &= ~2u;
	return !size || size == MPTCP_LEN_add_addr6 - MPTCP_LEN_add_addr4;
}

struct mps_option_copy {
	__u32 word[16];
	/* Found in them; in memory, where the verifier does not follow it. */
	__u32 tsval;
	__u8 has_tstamp;
	__u8 prio_off;
	__u8 completes; /* an option that may complete a join is there, the last of them at … */
	__u8 completes_off;
};

/*
 * Walks any legal or illegal option list. On a copy, because 40 steps over packet pointers exceed the
 * verifier's budget; the offset is masked after each step so that all paths through a step look the same to it.
 */
__noinline int mps_walk_options(struct mps_option_copy *copy, __u32 len)
{
	const __u8 *options = (const __u8 *)copy;
	__u32 off = 0, found = OPTIONS_PLAIN;

	if (!copy)
		return OPTIONS_BAD;
	for (int step = 0; step < TCP_OPTIONS_MAX; step++) {
		__u32 kind, size, head, mptcp, prio, completes, join, tstamp, tsval;

		if (off >= len)
			break;
		kind = options[off & 63];
		if (kind == TCPOPT_EOL)
			break;
		if (kind == TCPOPT_NOP) {
			off = (off + 1) & 63;
			continue;
		}
		if (off + 1 >= len)
			return OPTIONS_BAD;
		size = options[(off + 1) & 63];
		if (size < 2 || off + size > len)
			return OPTIONS_BAD;
		head = options[(off + 2) & 63];
		mptcp = is_equal(kind, TCPOPT_MPTCP) & (1 - is_equal(size, 2));
		prio = mptcp & is_equal(head >> 4, MPTCP_SUB_MP_PRIO) & is_equal(size, MPTCP_LEN_prio);
		/* By its subtype. Its length is judged behind the walk: within it the verifier of 6.1 gives up. */
		completes = mptcp & (is_equal(head >> 4, MPTCP_SUB_ADD_ADDR) |
				     (is_equal(head >> 4, MPTCP_SUB_DSS) & (1 - is_equal(size, 3)) &
				      options[(off + 3) & 63]));
		copy->completes |= completes;
		copy->completes_off = (copy->completes_off & (completes - 1)) | (off & -completes);
		join = mptcp & is_equal(head >> 4, MPTCP_SUB_MP_JOIN) &
		       (is_equal(size, MPTCP_LEN_join_syn) | is_equal(size, MPTCP_LEN_join_synack));
		/*
		 * The last MP_PRIO counts. The stack keeps the B bit of an MP_JOIN at the same place, even outside of a SYN
		 * (mptcp_parse_option(), net/mptcp/options.c).
		 */
		found &= ~((prio | join) * OPTIONS_PRIO_BACKUP);
		found |= mptcp * OPTIONS_MPTCP | prio * OPTIONS_PRIO |
			 ((prio | join) & head) * OPTIONS_PRIO_BACKUP | join * OPTIONS_JOIN;
		copy->prio_off = (prio | join) ? off : copy->prio_off;
		tstamp = is_equal(kind, TCPOPT_TIMESTAMP) & is_equal(size, TCPOLEN_TIMESTAMP);
		tsval = (__u32)options[(off + 2) & 63] << 24 | (__u32)options[(off + 3) & 63] << 16 |
			(__u32)options[(off + 4) & 63] << 8 | options[(off + 5) & 63];
		copy->tsval = (copy->tsval & (tstamp - 1)) | (tsval & -tstamp);
		copy->has_tstamp |= tstamp;
		off = (off + size) & 63;
	}
	off = copy->completes_off & 63;
	if (copy->completes &&
	    mps_completes(options[(off + 2) & 63], options[(off + 3) & 63], options[(off + 1) & 63]))
		found |= OPTIONS_COMPLETES;
	return found;
}

/* Copies the options and walks them; out of line because the copy would crowd the caller's stack. */
static __noinline int scan_options(void *tcp, void *data_end, __u32 len, struct mps_packet *pkt)
{
	struct mps_option_copy copy;
	__u32 *from = tcp + sizeof(struct tcphdr);
	int found;

	__builtin_memset(&copy, 0, sizeof(copy));
	if ((void *)(from + TCP_OPTIONS_MAX / 4) <= data_end) {
		/* What follows the options is copied too, and not looked at. */
#pragma unroll
		for (__u32 i = 0; i < TCP_OPTIONS_MAX / 4; i++)
			copy.word[i] = from[i];
	} else {
		for (__u32 i = 0; i < TCP_OPTIONS_MAX / 4; i++) {
			if (i * 4 >= len)
				break;
			if ((void *)(from + i + 1) > data_end)
				return OPTIONS_BAD;
			copy.word[i] = from[i];
		}
	}
	found = mps_walk_options(&copy, len);
	pkt->tsval = copy.tsval;
	pkt->has_tstamp = copy.has_tstamp;
	pkt->prio_off = copy.prio_off;
	return found;
}

/*
 * From here on there is one DSS, padded to `len`, and nothing else: what it says, else OPTIONS_PLAIN. The length of each form is even, so
 * what pads it is too short to be an MP_PRIO; behind one of 4 n + 1 octets, which the stack passes over, there is room for one.
 */
static __always_inline int ends_with_dss(void *at, void *data_end, __u32 len)
{
	__u8 *option = at;

	if (len >= 4 && (void *)(option + 4) <= data_end && option[0] == TCPOPT_MPTCP &&
	    option[2] >> 4 == MPTCP_SUB_DSS && option[1] >= 4 && !(option[1] & 1) &&
	    ((option[1] + 3u) & ~3u) == len)
		return OPTIONS_MPTCP | (option[3] & MPTCP_DSS_A) / MPTCP_DSS_A *
					       is_equal(dss_excess(option[3], option[1]), 0) *
					       OPTIONS_COMPLETES;
	return OPTIONS_PLAIN;
}

/* What the TCP options hold; `tcp` is in bounds for the fixed header. */
static __always_inline int parse_options(void *tcp, void *data_end, __u32 len, struct mps_packet *pkt)
{
	__u32 *words = tcp + sizeof(struct tcphdr);
	int found = OPTIONS_PLAIN;

	if (len < 4)
		return OPTIONS_PLAIN;
	if ((void *)(words + 3) <= data_end) {
		if (words[0] == TCPOPT_ALIGNED_TIMESTAMP) {
			if (len == 12)
				return OPTIONS_PLAIN;
			pkt->has_tstamp = 1;
			pkt->tsval = bpf_ntohl(words[1]);
			found = ends_with_dss(words + 3, data_end, len - 12);
			/* One SACK block is all that leaves room for a DSS. */
			if (!found && len >= 28 && (void *)(words + 6) <= data_end &&
			    words[3] == TCPOPT_ALIGNED_SACK1)
				found = ends_with_dss(words + 6, data_end, len - 24);
		} else if ((words[0] & bpf_htonl(0xffff0000)) == bpf_htonl(0x080a0000) &&
			   (words[2] & bpf_htonl(0xffff)) == bpf_htonl(0x0101)) {
			/* The timestamp first, its NOPs behind it. */
			if (len == 12)
				return OPTIONS_PLAIN;
			pkt->has_tstamp = 1;
			pkt->tsval = bpf_ntohl(words[0]) << 16 | bpf_ntohl(words[1]) >> 16;
			found = ends_with_dss(words + 3, data_end, len - 12);
		} else {
			found = ends_with_dss(words, data_end, len);
		}
	}
	return found ? found : scan_options(tcp, data_end, len, pkt);
}

static __always_inline bool is_vlan(__be16 proto)
{
	return proto == bpf_htons(ETH_P_8021Q) || proto == bpf_htons(ETH_P_8021AD);
}

static __always_inline enum mps_parse parse_tcp(void *data, void *data_end, struct mps_packet *pkt,
						__u32 l4_len)
{
	struct tcphdr *tcp = data + pkt->tcp_off;
	__u32 header_len;
	int options;

	if ((void *)(tcp + 1) > data_end)
		return PARSE_MALFORMED;
	if (tcp->syn || tcp->rst)
		return PARSE_NOT_OURS;
	header_len = tcp->doff * 4;
	if (header_len < sizeof(*tcp) || header_len > l4_len)
		return PARSE_MALFORMED;
	pkt->options_len = header_len - sizeof(*tcp);
	pkt->payload_len = l4_len - header_len;
	options = parse_options(tcp, data_end, pkt->options_len, pkt);
	if (options & OPTIONS_BAD)
		return PARSE_MALFORMED;
	if (!(options & OPTIONS_MPTCP) || (options & (OPTIONS_JOIN | OPTIONS_PRIO)) == OPTIONS_JOIN)
		return PARSE_NOT_OURS;
	pkt->seq = bpf_ntohl(tcp->seq);
	pkt->ack = bpf_ntohl(tcp->ack_seq);
	pkt->fin = tcp->fin;
	pkt->has_prio = !!(options & OPTIONS_PRIO);
	pkt->prio_backup = !!(options & OPTIONS_PRIO_BACKUP);
	pkt->completes = !!(options & OPTIONS_COMPLETES);
	return PARSE_MPTCP;
}

/*
 * Whether the frame ends before that. Of a packet of XDP only the linear part is known without a call, and `frame_len` is that; `xdp` is NULL
 * where it is of the whole frame.
 */
static __always_inline bool ends_before(struct xdp_md *xdp, __u32 frame_len, __u32 end)
{
	return end > frame_len && (!xdp || end > bpf_xdp_get_buff_len(xdp));
}

static __always_inline enum mps_parse parse_ipv4(void *data, void *data_end, struct mps_packet *pkt,
						 struct xdp_md *xdp, __u32 frame_len)
{
	__u32 header_len, total, net_off = pkt->net_off; /* the verifier knows this one, of memory nothing */
	struct iphdr *ip = data + net_off;

	if ((void *)(ip + 1) > data_end)
		return PARSE_MALFORMED;
	if (ip->protocol != IPPROTO_TCP)
		return PARSE_NOT_OURS;
	header_len = ip->ihl * 4;
	total = bpf_ntohs(ip->tot_len);
	if (ip->version != 4 || header_len < sizeof(*ip) || total < header_len + sizeof(struct tcphdr) ||
	    ends_before(xdp, frame_len, net_off + total))
		return PARSE_MALFORMED;
	if (ip->frag_off & bpf_htons(0x3fff)) /* more fragments, or not the first */
		return PARSE_NOT_OURS;
	pkt->is_ipv6 = 0;
	pkt->unusual = header_len != sizeof(*ip);
	pkt->tcp_off = net_off + header_len;
	return parse_tcp(data, data_end, pkt, total - header_len);
}

/*
 * Returns the offset of the TCP header, 0 if something else follows. Authenticated (AH) packets must not be
 * edited and fragments cannot be, so both count as something else.
 */
static __noinline __u32 skip_ipv6_extensions(void *data, void *data_end, __u32 off, __u32 next)
{
	for (int i = 0; i < IPV6_EXT_MAX; i++) {
		__u8 *ext;

		if (next == IPPROTO_TCP)
			return off;
		if (next != IPPROTO_HOPOPTS && next != IPPROTO_ROUTING && next != IPPROTO_DSTOPTS)
			return 0;
		off &= 255;
		ext = data + off;
		if ((void *)(ext + 8) > data_end)
			return 0;
		next = ext[0];
		off += (ext[1] + 1u) * 8;
		if (off > HEADERS_MAX)
			return 0;
	}
	return next == IPPROTO_TCP ? off : 0;
}

static __always_inline enum mps_parse parse_ipv6(void *data, void *data_end, struct mps_packet *pkt,
						 struct xdp_md *xdp, __u32 frame_len)
{
	__u32 off, payload, net_off = pkt->net_off; /* as above */
	struct ipv6hdr *ip = data + net_off;

	if ((void *)(ip + 1) > data_end)
		return PARSE_MALFORMED;
	if (ip->version != 6)
		return PARSE_MALFORMED;
	off = net_off + sizeof(*ip);
	pkt->unusual = 0;
	if (ip->nexthdr != IPPROTO_TCP) {
		off = skip_ipv6_extensions(data, data_end, off, ip->nexthdr);
		if (!off || off > HEADERS_MAX)
			return PARSE_NOT_OURS;
		pkt->unusual = 1;
	}
	payload = bpf_ntohs(ip->payload_len); /* 0: a jumbogram, not ours */
	if (payload < off - net_off - sizeof(*ip) + sizeof(struct tcphdr) ||
	    ends_before(xdp, frame_len, net_off + sizeof(*ip) + payload))
		return PARSE_MALFORMED;
	pkt->is_ipv6 = 1;
	pkt->tcp_off = off;
	return parse_tcp(data, data_end, pkt, payload + sizeof(*ip) - (off - net_off));
}

/*
 * Whether the first loads tell that there is no MPTCP option: most packets of most hosts leave here. False means
 * that only the whole parser can tell. Nothing else of such a packet is checked, because nothing is done
 * with it.
 */
static __always_inline bool has_no_mptcp(void *data, void *data_end, bool l3)
{
	const __u32 net_off = l3 ? 0 : sizeof(struct ethhdr);
	struct ethhdr *eth = data;
	__u8 *ip = data + net_off, *tcp;
	__u32 *options, len;

	/* Up to the timestamps, over IPv4; the shorter ones are few. */
	if ((void *)(ip + 20 + 20 + 12) > data_end)
		return false;
	if (ip[0] == 0x45 && (l3 || eth->h_proto == bpf_htons(ETH_P_IP))) {
		if (ip[9] != IPPROTO_TCP)
			return true;
		tcp = ip + 20;
	} else if (ip[0] >> 4 == 6 && ip[6] == IPPROTO_TCP && (l3 || eth->h_proto == bpf_htons(ETH_P_IPV6))) {
		tcp = ip + 40;
		if ((void *)(tcp + 20 + 12) > data_end)
			return false;
	} else {
		return false;
	}
	len = tcp[12] >> 4;
	options = (__u32 *)(tcp + 20);
	if (len == 5)
		return true;
	if (len < 8 || options[0] != TCPOPT_ALIGNED_TIMESTAMP)
		return false;
	if (len == 8)
		return true;
	/* NOP NOP SACK to the end */
	if ((void *)(options + 4) > data_end)
		return false;
	return (options[3] & bpf_htonl(0xffffff00)) == TCPOPT_ALIGNED_SACK &&
	       (bpf_ntohl(options[3]) & 0xff) + 2 == len * 4 - 32;
}

/*
 * `xdp` and `frame_len` as in ends_before(); only data…data_end can be read (the rest may lie in
 * fragments). `l3` is a constant: the interface has no link-layer header. On TC ingress the kernel has
 * moved the outer VLAN tag out of the packet.
 */
static __always_inline enum mps_parse parse_frame(void *data, void *data_end, struct xdp_md *xdp,
						  __u32 frame_len, bool l3, struct mps_packet *pkt)
{
	__be16 proto;

	pkt->nr_vlans = 0;
	if (l3) {
		__u8 *first = data;

		pkt->net_off = 0;
		if ((void *)(first + 1) > data_end)
			return PARSE_MALFORMED;
		if (*first >> 4 == 4)
			return parse_ipv4(data, data_end, pkt, xdp, frame_len);
		if (*first >> 4 == 6)
			return parse_ipv6(data, data_end, pkt, xdp, frame_len);
		return PARSE_NOT_OURS;
	}

	struct ethhdr *eth = data;

	if ((void *)(eth + 1) > data_end)
		return PARSE_MALFORMED;
	proto = eth->h_proto;
	pkt->net_off = sizeof(*eth);
#pragma unroll
	for (int i = 0; i < MPS_MAX_VLANS; i++) {
		__be16 *tag = data + sizeof(*eth) + i * ETH_VLAN_LEN;

		if (!is_vlan(proto))
			break;
		if ((void *)(tag + 2) > data_end)
			return PARSE_MALFORMED;
		pkt->vlan_proto[i] = proto;
		pkt->vlan_tci[i] = bpf_ntohs(tag[0]);
		pkt->nr_vlans = i + 1;
		proto = tag[1];
		pkt->net_off += ETH_VLAN_LEN;
	}
	if (proto == bpf_htons(ETH_P_IP))
		return parse_ipv4(data, data_end, pkt, xdp, frame_len);
	if (proto == bpf_htons(ETH_P_IPV6))
		return parse_ipv6(data, data_end, pkt, xdp, frame_len);
	return PARSE_NOT_OURS;
}

static __always_inline enum mps_parse parse_packet(void *data, void *data_end, __u32 frame_len, bool l3,
						   struct mps_packet *pkt)
{
	return parse_frame(data, data_end, NULL, frame_len, l3, pkt);
}

#endif /* MPS_PARSE_BPF_H */
