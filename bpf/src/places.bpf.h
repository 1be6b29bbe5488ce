/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Who has a place in mps_conns. Nothing tells an XDP program that a connection has ended, and a record must not go while its
 * connection lives: it alone says what the peer asked for, and that the backup flag of a subflow is ours. So whoever
 * comes new looks for the place of a connection that is gone, or for a free one, beginning where the last one stopped.
 * Where all are alive it gets none and is not steered, which is counted.
 *
 * A place holds a token, which is never 0, and whether the record is there. Each changes by compare-and-swap from
 * free or that of a dead connection to TOKEN, then to TOKEN | PLACE_FILLED; one that is being filled is nobody else's.
 */
#ifndef MPS_PLACES_BPF_H
#define MPS_PLACES_BPF_H

#include "maps.bpf.h"
#include "view.bpf.h"

#define PLACE_FILLED (1ull << 32)
/* At one packet. The next looks further on. */
#define PLACES_SEARCHED 64
#define NO_PLACE (~0u)
/* A connection that found none does not look again before that. */
#define REFUSED_NS (1000 * 1000ull)

/*
 * The kernel sets an msk to TCP_CLOSE before it lets go of it (__mptcp_destroy_sock(), net/mptcp/protocol.c), and another one
 * in the same memory has another token. Memory that has become something else entirely is read safely, too.
 */
static __always_inline bool is_gone(__u32 token)
{
	struct mps_conn *conn = bpf_map_lookup_elem(&mps_conns, &token);
	struct mptcp_sock *msk;
	__u32 now = 0;
	__u8 state = 0;

	if (!conn)
		return true;
	msk = (struct mptcp_sock *)conn->msk;
	if (!msk) /* has just been made */
		return false;
	return bpf_core_read(&now, sizeof(now), &msk->token) || now != token ||
	       bpf_core_read(&state, sizeof(state), &msk->sk.icsk_inet.sk.__sk_common.skc_state) ||
	       state == TCP_CLOSE_STATE;
}

/* Claims a place for this connection, or returns NO_PLACE. What was there is forgotten. */
__noinline __u32 mps_claim_place(__u32 token)
{
	__u32 size = mps_max_conns ? mps_max_conns : 1, first;

	first = __sync_fetch_and_add(&mps_places_hand, PLACES_SEARCHED);
	for (__u32 i = 0; i < PLACES_SEARCHED && i < size; i++) {
		__u32 index = (first + i) % size, old;
		__u64 *place = bpf_map_lookup_elem(&mps_places, &index), there;

		if (!place)
			break;
		there = *(volatile __u64 *)place;
		old = (__u32)there;
		if (old && (!(there & PLACE_FILLED) || !is_gone(old)))
			continue;
		if (__sync_val_compare_and_swap(place, there, (__u64)token) != there)
			continue;
		if (old) {
			bpf_map_delete_elem(&mps_peers, &old);
			bpf_map_delete_elem(&mps_conns, &old);
		}
		return index;
	}
	return NO_PLACE;
}

/* Was it refused just now? If not, that is noted and counted, unless it was the last time as well. */
static __always_inline void note_refused(__u32 token, __u64 now_ns, struct mps_counters *counters)
{
	__u32 index = token % MPS_REFUSED;
	struct mps_refused *r = bpf_map_lookup_elem(&mps_refused, &index);

	if (!r)
		return;
	if (r->token != token)
		COUNT(counters, CONN_FULL);
	r->token = token;
	r->when_ns = now_ns;
}

static __always_inline bool was_refused(__u32 token, __u64 now_ns)
{
	__u32 index = token % MPS_REFUSED;
	struct mps_refused *r = bpf_map_lookup_elem(&mps_refused, &index);

	return r && r->token == token && now_ns - r->when_ns < REFUSED_NS;
}

/* Puts a blank record for a connection that has none where there is a place. */
__noinline int mps_make_record(__u32 token, struct mps_counters *counters)
{
	__u64 now_ns = bpf_ktime_get_coarse_ns();
	__u32 zero = 0, index;
	struct mps_conn *blank = bpf_map_lookup_elem(&mps_blank_conn, &zero);
	__u64 *place;
	long failed;

	if (!blank || !counters || was_refused(token, now_ns))
		return 0;
	index = mps_claim_place(token);
	place = bpf_map_lookup_elem(&mps_places, &index);
	if (!place) {
		note_refused(token, now_ns, counters);
		return 0;
	}
	/*
	 * The record of another CPU stays: it may know already what the peer asked for, which the kernel's bits no longer tell. Without
	 * memory for the moment the next packet tries again.
	 */
	failed = bpf_map_update_elem(&mps_conns, &token, blank, BPF_NOEXIST);
	*(volatile __u64 *)place = failed ? 0 : PLACE_FILLED | token;
	if (!failed)
		COUNT(counters, CONN_NEW);
	return 0;
}

#endif /* MPS_PLACES_BPF_H */
