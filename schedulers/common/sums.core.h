/* SPDX-License-Identifier: GPL-2.0-only */
/* Sums over sets of subflows, as parts that the verifier checks on their own. A row that holds no subflow holds anything. */
#ifndef MPS_SUMS_CORE_H
#define MPS_SUMS_CORE_H

#include <mps/core.h>

/*
 * What waits in the subflows' own queues. Less than a segment does not: the end of a message is held back until what is before it has been
 * acknowledged (Nagle's rule, RFC 896), however much room there is.
 */
MPS_CORE_PART __u64 mps_notsent_of(const struct mps_view *v, __u32 among)
{
	__u64 sum = 0;

	if (!v)
		return 0;
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS && among >> i; i++) {
		__u64 waits = v->sf[i].notsent_bytes;

		sum += waits * (1 - mps_is_less(waits, v->sf[i].mss_bytes)) * (among >> i & 1);
	}
	return sum;
}

/* What was put on the subflows and is not acknowledged. */
MPS_CORE_PART __u64 mps_outstanding_of(const struct mps_view *v, __u32 among)
{
	__u64 sum = 0;

	if (!v)
		return 0;
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS && among >> i; i++)
		sum += (__u64)v->sf[i].outstanding_bytes * (among >> i & 1);
	return sum;
}

/* What was delivered on the subflows. */
MPS_CORE_PART __u64 mps_acked_of(const struct mps_view *v, __u32 among)
{
	__u64 sum = 0;

	if (!v)
		return 0;
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS && among >> i; i++)
		sum += v->sf[i].bytes_acked * (among >> i & 1);
	return sum;
}

/* The longest smoothed round trip. */
MPS_CORE_PART __u32 mps_longest_rtt_us(const struct mps_view *v, __u32 among)
{
	__u64 longest = 0;

	if (!v)
		return 0;
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS && among >> i; i++) {
		__u64 one = (__u64)v->sf[i].srtt_us * (among >> i & 1);

		longest = one + longest - mps_lesser(one, longest);
	}
	return (__u32)longest;
}

/* What the peer still accepts of what waits at the connection: the rest waits for the peer, not for a path. */
MPS_CORE __u64 mps_sendable_bytes(const struct mps_view *v)
{
	return v->unsent_bytes < v->window_bytes ? v->unsent_bytes : v->window_bytes;
}

/* Decisions of two CPUs may come out of order: a moment that lies ahead is now. */
MPS_CORE __u64 mps_elapsed_us(const struct mps_view *v, __u64 since_us)
{
	return v->now_us > since_us ? v->now_us - since_us : 0;
}

#endif
