/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * sttf: shortest transfer time first, with windows that grow in slow start. Where what waits would have arrived first is always allowed, and beside it each
 * subflow whose next burst would be there before that.
 */
#ifndef MPS_STTF_CORE_H
#define MPS_STTF_CORE_H

#include "../common/delay.core.h"

MPS_NO_PARAMS(sttf)

struct sttf_state {
	__u64 reserved;
};

/* MPTCP_SEND_BURST_SIZE, net/mptcp/protocol.c; and how many doublings of a window are followed. */
#define STTF_BURST 65536
#define STTF_ROUNDS 10

/* When so many bytes, behind those that are on it already, have arrived: half a round trip, and one for each window that is sent before. */
MPS_CORE_PART __u64 sttf_time_us(const struct mps_view *v, __u32 i, __u64 bytes)
{
	const struct mps_subflow_view *sf;
	__u64 left, window, most, rtt, us;

	if (!v)
		return 0;
	sf = mps_at(v, i);
	rtt = mps_delay_us(sf);
	left = mps_bounded_bytes(bytes) + mps_bounded_bytes(sf->outstanding_bytes);
	window = mps_window_bytes(sf);
	most = (__u64)sf->ssthresh_segs * sf->mss_bytes;
	us = rtt / 2;
	for (__u32 n = 0; n < STTF_ROUNDS && left > window; n++) {
		us += rtt;
		left -= window;
		if (window < most)
			window = window * 2 < most ? window * 2 : most;
	}
	return left > window ? us + left / window * rtt : us;
}

MPS_CORE void sttf_decide(const struct mps_view *v, struct mps_verdict *out, const struct sttf_params *p,
			  struct sttf_state *st)
{
	__u32 candidates = mps_welcome(v);
	__u64 all = v->unsent_bytes, burst = all < STTF_BURST ? all : STTF_BURST, least = ~0ull >> 1;

	(void)p;
	(void)st;
	out->allowed = 0;
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++)
		if (candidates >> i & 1)
			least = mps_lesser(sttf_time_us(v, i, all), least);
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++)
		if (candidates >> i & 1)
			out->allowed |= (__u32)(sttf_time_us(v, i, burst) <= least) << i;
}

#endif
