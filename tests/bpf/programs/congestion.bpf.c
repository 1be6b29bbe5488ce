// SPDX-License-Identifier: GPL-2.0-only
/* The cores of congestion/ as the kernel runs them, asked from outside. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <lia/lia.core.h>
#include <olia/olia.core.h>
#include <balia/balia.core.h>

char LICENSE[] SEC("license") = "GPL";

struct mps_cc_flows asked;
__s64 lia, olia, balia;
__u32 left_over, acks;

SEC("syscall") int ask(void *ctx)
{
	lia = lia_share(&asked);
	olia = olia_share(&asked);
	balia = balia_share(&asked);
	left_over = balia_left(&asked);
	acks = mps_cc_acks(asked.sf[0].cwnd_segs, olia);
	return 0;
}
