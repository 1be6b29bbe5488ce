/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * What the programs of `mpsched trace` (bpf/src/trace.bpf.c) write into their ring buffer. Both sides come from one build, and nothing of it is
 * pinned: it lives as long as the command.
 */
#ifndef MPS_TRACE_ABI_H
#define MPS_TRACE_ABI_H

#include <mps/datapath_abi.h>

/* From the IP header on: IPv6, an extension header or two, TCP with all its options. */
#define MPS_TRACE_BYTES 160
/* Connections whose last told verdict is remembered. */
#define MPS_TRACE_CONNS 4096

enum mps_trace_kind {
	MPS_TRACE_PACKET = 1,
	MPS_TRACE_VERDICT = 2,
};

/* What of a packet is ours. */
enum mps_trace_ours {
	MPS_TRACE_NOTHING = 0,
	MPS_TRACE_INSERTED = 1,  /* an MP_PRIO that we have written into it */
	MPS_TRACE_REWRITTEN = 2, /* the peer's MP_PRIO, whose B bit we have changed */
	MPS_TRACE_WAKE = 3,      /* all of it: a wake */
};

/* A packet with MPTCP options, as it leaves our programs. */
struct mps_trace_packet {
	__u32 kind; /* MPS_TRACE_PACKET */
	__u32 ifindex;
	__u64 when_ns;    /* monotonic */
	__u32 token;      /* of its connection here; 0: not known */
	__u32 subflow;    /* its id, as in `conns`; 0 as well if not known */
	__u32 wire_bytes; /* of the IP packet */
	__u8 egress;
	__u8 ours;      /* enum mps_trace_ours */
	__u16 captured; /* octets in `data` */
	__u8 data[MPS_TRACE_BYTES];
};

struct mps_trace_subflow {
	__u32 id;
	__u32 ifindex;
	__u8 peer_backup;
	__u8 flipped; /* its bit was edited, or a wake asked for, since the last verdict that was told */
	__u8 backup;  /* to which value */
	__u8 woken;   /* that was a wake, and it has not been seen to land */
	__u32 pad;
	struct mps_reason reason;
};

/* A verdict that differs from the last one told of this connection, or after which something was done. */
struct mps_trace_verdict {
	__u32 kind; /* MPS_TRACE_VERDICT */
	__u32 ifindex;
	__u64 when_ns; /* of the decision */
	__u32 token;
	__u32 slot;
	__u32 known;    /* bit i: sf[i] is a subflow */
	__u32 allowed;  /* bit i; 0: all */
	__u32 restored; /* the verdict was to leave the kernel alone */
	__u32 reasoned; /* bit i: sf[i].reason says why */
	struct mps_trace_subflow sf[MPS_MAX_SUBFLOWS];
};

#endif /* MPS_TRACE_ABI_H */
