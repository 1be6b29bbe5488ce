/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a path with a quota has carried, over all connections. Each subflow is counted at the packets of its
 * connection: by how much its own counters have grown since the last one, added to its path's. So the sum
 * needs no daemon, and no packet is counted twice.
 */
#ifndef MPS_METER_BPF_H
#define MPS_METER_BPF_H

#include "maps.bpf.h"

/* Beyond that a subflow that is met for the first time was at work before its path was metered. */
#define METER_YOUNG_BYTES 131072
/* The segment counters have 32 bits; a sum that falls by this much is one of theirs starting over. */
#define METER_WRAPPED (1ull << 36)

/*
 * Bytes at the IP layer, as operators bill them: data with its retransmissions, data that is bound to follow
 * (it waits in the subflow's own queue), what was received, and headers. Headers are counted with all of TCP's
 * option space, which data segments of MPTCP use up and pure ACKs do not: rather a little too much.
 */
static __always_inline __u64 wire_bytes(const struct mps_subflow_view *sf, __u64 sk, bool cast)
{
	struct tcp_sock *tp = KPTR(struct tcp_sock, (void *)sk, cast);
	__u32 segs = READ(tp, segs_out, cast) + READ(tp, segs_in, cast);
	__u32 header = sf->flags & MPS_SF_IPV6 ? 100 : 80;

	return READ(tp, bytes_sent, cast) + READ(tp, bytes_received, cast) + sf->notsent_bytes +
	       (__u64)segs * header;
}

/* What a path may save up while it is behind its quota: more than policies keep back (reserve_bytes of quota), and a second's worth. */
#define METER_SAVED_BYTES 131072

/*
 * What a path may still carry: of its quota, and behind that what its throttled rate has earned since, less what it has carried since.
 * So it is parked while it is in debt and taken up again with some credit, in both directions, and the mean is the rate. CPUs that
 * come here at once may each move the beginning; then one of them is a little too generous or too strict.
 */
__noinline int mps_quota_left(struct mps_subflow_view *sf, const struct mps_path *path,
			      struct mps_usage *usage)
{
	__u64 used, since, now_ns, elapsed_ms, earned, most, left;

	if (!sf || !path || !usage)
		return 0;
	used = usage->used_bytes;
	if (path->quota_bytes > used) {
		sf->quota_left_bytes = path->quota_bytes - used;
		usage->then_ns = 0;
		return 0;
	}
	sf->quota_left_bytes = 0;
	if (!path->then_bytes_s)
		return 0;
	now_ns = bpf_ktime_get_boot_ns();
	since = usage->then_bytes;
	if (!usage->then_ns || used < since) {
		usage->then_bytes = used;
		usage->then_ns = now_ns;
		return 0;
	}
	most = (__u64)path->then_bytes_s + METER_SAVED_BYTES;
	elapsed_ms = (now_ns - usage->then_ns) / 1000000;
	earned = elapsed_ms >> 31 ? ~0ull >> 1 : elapsed_ms * path->then_bytes_s / 1000;
	used -= since;
	left = earned > used ? earned - used : 0;
	if (left > most) {
		left = most;
		usage->then_bytes = since + used;
		usage->then_ns = now_ns - most * 1000000000 / path->then_bytes_s;
	}
	sf->quota_left_bytes = left;
	return 0;
}

/* Time spent in suspend counts, too. */
static __always_inline void begin_period(const struct mps_path *path, struct mps_usage *usage)
{
	__u64 period_ns = (__u64)path->quota_period_s * 1000000000, period, before;

	if (!period_ns)
		return;
	period = (bpf_ktime_get_boot_ns() - path->quota_since_ns) / period_ns;
	before = usage->period;
	if (period != before && __sync_val_compare_and_swap(&usage->period, before, period) == before)
		usage->used_bytes = 0;
}

/*
 * Counts what a subflow has carried since it was last seen, and tells in its view what its path may still carry.
 * Two CPUs may come here for one subflow at once: who moves its mark forward also adds the difference.
 */
__noinline int mps_meter(struct mps_conn_subflow *mine, struct mps_subflow_view *sf,
			 const struct mps_path *path)
{
	struct mps_usage *usage;
	__u64 total, before;
	__u32 index;

	if (!mine || !sf || !path)
		return 0;
	index = mine->path & (MPS_MAX_PATHS - 1);
	usage = bpf_map_lookup_elem(&mps_usage, &index);
	if (!usage)
		return 0;
	begin_period(path, usage);
	total = mps_rdonly_cast ? wire_bytes(sf, mine->sk, true) : wire_bytes(sf, mine->sk, false);
	before = mine->metered_bytes;
	if ((total > before || before - total > METER_WRAPPED) &&
	    __sync_val_compare_and_swap(&mine->metered_bytes, before, total) == before && total > before &&
	    (before || total <= METER_YOUNG_BYTES))
		__sync_fetch_and_add(&usage->used_bytes, total - before);
	return mps_quota_left(sf, path, usage);
}

#endif /* MPS_METER_BPF_H */
