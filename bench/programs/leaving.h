/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* Shared by leaving.bpf.c and egress.cpp. */
#ifndef MPS_BENCH_LEAVING_H
#define MPS_BENCH_LEAVING_H

#include <linux/types.h>

enum leaving_subject {
	LEAVING_EMPTY,
	LEAVING_LOOKUP, /* the kernel's */
	LEAVING_OURS,
	LEAVING_SUBJECTS
};

/* How often a packet runs each; together fewer than the tail calls that the kernel allows a packet (MAX_TAIL_CALL_CNT, 33). */
#define LEAVING_RUNS 8
#define LEAVING_SAMPLES 65536 /* a power of two */

struct leaving_sample {
	__u32 ns[LEAVING_SUBJECTS];
};

#endif /* MPS_BENCH_LEAVING_H */
