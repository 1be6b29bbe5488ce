/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* What probes of idle subflows and their programs (bpf/src/probe.bpf.c) share. */
#ifndef MPS_PROBE_ABI_H
#define MPS_PROBE_ABI_H

#include <linux/types.h>

/* Names of pins below probes/ of an installation. */
#define MPS_MAP_PROBE_MEMORY "mps_pr_memory"

/* Value of mps_pr_orders, which lives as long as its program: what is to be done with the socket at this kernel address. */
#define MPS_PROBE_ORDERS 4096

enum mps_probe_order {
	MPS_PROBE_SEND = 1u << 0,   /* one keepalive probe, now */
	MPS_PROBE_END = 1u << 1,    /* its keepalive is as it was before */
	MPS_PROBE_SILENT = 1u << 2, /* the data path takes it for silent … */
	MPS_PROBE_HEARD = 1u << 3,  /* … and does not any more */
};

enum mps_probe_flag {
	MPS_PROBE_UNDER_WAY = 1u << 0, /* something that it sent is not acknowledged, or waits to be sent */
	MPS_PROBE_OWN =
		1u << 1, /* the application has set a keepalive or a time-out of its own: it is left alone */
	MPS_PROBE_OURS = 1u << 2,      /* its keepalive is set for a probe */
	MPS_PROBE_IS_SILENT = 1u << 3, /* the data path takes it for silent */
	MPS_PROBE_BY_US = 1u << 4,     /* … since it did not answer probes */
	MPS_PROBE_KNOWN = 1u << 5,     /* the data path has met it */
};

/* An established subflow, as mps_pr_look tells of it. */
struct mps_probe_row {
	__u64 sk; /* joins with mps_subflow_record.sk */
	__u32 token;
	__u32 ifindex;  /* the attached interface that last saw a packet of it, else where it sends */
	__u8 local[16]; /* IPv6, or IPv4-mapped */
	__u8 remote[16];
	__u64 idle_ns;    /* since its TCP last sent or received anything */
	__u32 heard;      /* jiffies: when anything last arrived */
	__u32 now;        /* jiffies */
	__u32 unanswered; /* probes in a row */
	__u32 flags;      /* enum mps_probe_flag */
};

/* What a socket had before its first probe; lives and dies with it. */
struct mps_probe_memory {
	__u32 is_set;                    /* its keepalive is ours at present */
	__u32 silent;                    /* we said so */
	__u32 idle_s, interval_s, count; /* TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT */
};

#endif /* MPS_PROBE_ABI_H */
