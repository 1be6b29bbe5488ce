/* SPDX-License-Identifier: GPL-2.0-only */
/* How what we have written into packets is known again. */
#ifndef MPS_FINGERPRINT_BPF_H
#define MPS_FINGERPRINT_BPF_H

#include "maps.bpf.h"

/*
 * Our own edits. While an interface changes between XDP and TC both programs are there, and what the first has written must
 * not be the peer's wish for the second; it stayed on the subflow for good, also behind a detach. Nothing in the
 * packet can tell, since whatever we write the peer can write too. So beside the subflow stay the fingerprints of its last
 * edits and wakes: which packet, which place in it, what was written, and by the program of which interface and hook. What
 * has been written by the very program that meets it now is another packet, the peer's: none meets a packet twice.
 */
#define OWN_EDIT_NS (250 * 1000 * 1000ull)
#define PLACE_MASK 0xff

/* Where a program runs, as far as eight bits can tell. */
static __always_inline __u32 place_of(__u32 ifindex, bool xdp)
{
	return (ifindex << 1 | xdp) & PLACE_MASK;
}

static __always_inline __u32 packet_print(__u32 seq, __u32 ack, __u32 tsval)
{
	__u64 mixed = (((__u64)seq << 32 | ack) ^ (__u64)tsval << 16) * 0x9e3779b97f4a7c15ull;

	return mixed >> 32;
}

/* `where`: of the option, as in mps_packet.prio_off. */
static __always_inline __u32 edit_print(__u32 packet, __u32 where, __u32 backup, __u32 place)
{
	return (((packet ^ (where << 1 | backup)) * 0x9e3779b1u) & ~PLACE_MASK) | place;
}

static __always_inline void remember_edit(struct mps_conn_subflow *mine, __u32 print)
{
	mine->edit[mine->next_edit++ & (MPS_EDITS_KEPT - 1)] = print;
}

#endif /* MPS_FINGERPRINT_BPF_H */
