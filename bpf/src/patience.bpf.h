/* SPDX-License-Identifier: GPL-2.0-only */
/* After how long without an acknowledgement a subflow with data under way is silent (guard.bpf.h), and what ends that. */
#ifndef MPS_PATIENCE_BPF_H
#define MPS_PATIENCE_BPF_H

#include "kernel.bpf.h"

#define GUARD_GRACE_US 10000
/* TCP_DELACK_MIN, include/net/tcp.h */
#define GUARD_DELAYED_ACK_US 40000
/* Of a subflow whose round trip is not known: TCP_TIMEOUT_INIT is five times as long. */
#define GUARD_UNKNOWN_US 200000

/* How long nothing may be acknowledged. */
static __always_inline __u32 guard_patience_us(__u32 srtt_us, __u32 rttvar_us)
{
	__u32 delay_us = rttvar_us * 4;

	if (!srtt_us)
		return GUARD_UNKNOWN_US;
	if (delay_us < srtt_us)
		delay_us = srtt_us;
	if (delay_us < GUARD_DELAYED_ACK_US)
		delay_us = GUARD_DELAYED_ACK_US;
	return srtt_us + delay_us + GUARD_GRACE_US;
}

/* Changes with whatever is acknowledged; in the place there is for it. */
static __always_inline __u16 acked_digest(__u64 bytes_acked)
{
	return bytes_acked ^ bytes_acked >> 16;
}

#endif /* MPS_PATIENCE_BPF_H */
