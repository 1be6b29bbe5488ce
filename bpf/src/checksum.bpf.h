/* SPDX-License-Identifier: GPL-2.0-only */
/* The internet checksum (RFC 1071), changed by what was changed (RFC 1624). */
#ifndef MPS_CHECKSUM_BPF_H
#define MPS_CHECKSUM_BPF_H

#include "kernel.bpf.h"

static __always_inline __u16 fold_csum(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (__u16)sum;
}

/* ~(~old_sum + ~old + new): RFC 1624, equation 3, over any number of changed words. */
static __always_inline __u16 patch_csum(__u16 check, __u32 removed, __u32 added)
{
	__u64 sum = (__u16)~check;

	/* ~removed as one's complement of its folded value */
	sum += (__u16)~fold_csum(removed);
	sum += added;
	return ~fold_csum(sum);
}

/* One octet of the segment as a word of the checksum. */
static __always_inline __u32 octet_in_sum(__u32 octet, __u32 off_in_segment)
{
	return off_in_segment & 1 ? bpf_htons(octet) : bpf_htons(octet << 8);
}

#endif /* MPS_CHECKSUM_BPF_H */
