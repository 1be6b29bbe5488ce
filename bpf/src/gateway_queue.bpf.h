/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What waits in front of an uplink, as note_delay() of peer.bpf.h finds it at a receiver: by how much what passes was longer on its way than the
 * quickest.
 *
 * What arrives by the uplink has been in its queue: its timestamp is the sender's clock, so the difference to ours tells no delay, but how much
 * longer one is than another. That takes a clock of milliseconds, as Linux has it, which shows within a second. What leaves by the uplink comes
 * into its queue after us: there it is the round trip from here to the receiver, and only of what has more behind it, since who is sent
 * one segment alone may wait before the ACK.
 */
#ifndef MPS_GATEWAY_QUEUE_BPF_H
#define MPS_GATEWAY_QUEUE_BPF_H

#include "gateway_maps.bpf.h"
#include "peer.bpf.h"

#define QUEUE_WINDOW_MS 20
/* What was seen of a queue longer ago than this is none. */
#define QUEUE_OLD_NS (300 * 1000 * 1000ull)
#define QUEUE_CLOCK_MS 1000

__noinline int mps_gw_note_delay(struct mps_gateway_way *way, __u32 delay, __u32 now_ms)
{
	if (!way)
		return 0;
	if (!way->has_delay) {
		way->has_delay = 1;
		way->delay_least = delay;
		way->delay_later = delay;
		way->delay_ms = now_ms;
		way->delay_now = delay;
		way->window_ms = now_ms;
		return 0;
	}
	if (is_sooner(delay, way->delay_least))
		way->delay_least = delay;
	if (is_sooner(delay, way->delay_later))
		way->delay_later = delay;
	/* Clocks drift apart, and routes change. */
	if (now_ms - way->delay_ms > PEER_DELAY_MS) {
		way->delay_least = way->delay_later;
		way->delay_later = delay;
		way->delay_ms = now_ms;
	}
	if (now_ms - way->window_ms >= QUEUE_WINDOW_MS) {
		way->queue_ms = way->delay_now - way->delay_least;
		way->delay_now = delay;
		way->window_ms = now_ms;
	} else if (is_sooner(delay, way->delay_now)) {
		way->delay_now = delay;
	}
	return 0;
}

/* Do its timestamps count milliseconds? 0 as long as that cannot be told. */
static __always_inline __u32 counts_ms(const struct mps_gateway_way *way, __u32 tsval, __u64 now_ns)
{
	__u32 elapsed_ms = (now_ns - way->first_ns) / 1000000, ticks = tsval - way->first_tsval;

	return elapsed_ms >= QUEUE_CLOCK_MS && ticks > elapsed_ms / 4 * 3 && ticks < elapsed_ms / 4 * 5;
}

/* A packet that arrived by the uplink. */
__noinline int mps_gw_note_arrival(struct mps_gateway_way *way, __u32 tsval)
{
	__u64 now_ns = bpf_ktime_get_ns();

	if (!way)
		return 0;
	if (!way->first_ns) {
		way->first_ns = now_ns;
		way->first_tsval = tsval;
	}
	/* From the first packet on, since later ones may all have found a queue. */
	mps_gw_note_delay(way, (__u32)(now_ns / 1000000) - tsval, now_ns / 1000000);
	way->is_clock = counts_ms(way, tsval, now_ns);
	return 0;
}

static __always_inline __u32 recent_queue_ms(const struct mps_gateway_way *way, __u64 now_ns, bool arrives)
{
	if ((__s64)(now_ns - way->last_ns) >= (__s64)QUEUE_OLD_NS || (arrives && !way->is_clock))
		return 0;
	return way->queue_ms;
}

/* In front of the uplink for what `sends` sends. `leaves`: by it. The round trip has the queue for the answers in it as well. */
static __always_inline __u32 queue_in_front_us(const struct mps_gateway_way *sends,
					       const struct mps_gateway_way *answers, __u64 now_ns,
					       bool leaves)
{
	__u32 queue = recent_queue_ms(sends, now_ns, !leaves);
	__u32 other = leaves ? recent_queue_ms(answers, now_ns, true) : 0;

	queue = queue > other ? queue - other : 0;
	return queue < 10000 ? queue * 1000 : 10000000;
}

#endif /* MPS_GATEWAY_QUEUE_BPF_H */
