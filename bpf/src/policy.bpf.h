/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The connection's policy: called with the view, and what it says made safe. The data path goes by the result and knows no
 * policy.
 */
#ifndef MPS_POLICY_BPF_H
#define MPS_POLICY_BPF_H

#include "maps.bpf.h"
#include "view.bpf.h"

/*
 * The policy returns here when it is done: a tail call in a subprogram replaces only that subprogram's
 * frame. The verifier and the compiler both take the value below for the call's result, so the answer comes
 * through the scratch map instead.
 */
static __noinline int run_xdp_policy(struct xdp_md *ctx, __u32 slot)
{
	bpf_tail_call(ctx, &mps_xdp_slots, slot);
	return 0;
}

static __noinline int run_tc_policy(struct __sk_buff *ctx, __u32 slot)
{
	bpf_tail_call(ctx, &mps_tc_slots, slot);
	return 0;
}

/* `kept` as in mps_scratch.kept_words, `most` a constant; eight words at a time. */
static __always_inline void copy_words(__u64 *to, const __u64 *from, __u32 kept, const __u32 most)
{
	__u32 words = kept ? kept - 1 : most;

	for (__u32 i = 0; i < most; i += 8) {
		if (i >= words)
			break;
		to[i] = from[i];
		to[i + 1] = from[i + 1];
		to[i + 2] = from[i + 2];
		to[i + 3] = from[i + 3];
		to[i + 4] = from[i + 4];
		to[i + 5] = from[i + 5];
		to[i + 6] = from[i + 6];
		to[i + 7] = from[i + 7];
	}
}

/* Where an object of policy ABI 4.0 has its state. */
static __always_inline __u64 *old_state(const struct mps_scratch *s)
{
	return (__u64 *)((char *)s + MPS_STATE_OFFSET_4_0);
}

/* Global, so that the verifier walks it once, and not everything behind it once for each number of words. */
__noinline int mps_prepare_policy(struct mps_scratch *s, const struct mps_conn *conn, __u32 wants)
{
	if (!s || !conn)
		return 0;
	s->decided = 0;
	s->kept_words = 0;
	s->verdict.allowed = 0;
	s->verdict.flags = 0;
	s->verdict.reasoned = 0;
	if (wants & MPS_SLOT_4_0)
		copy_words(old_state(s), conn->state.word, conn->kept_words, MPS_STATE_WORDS_4_0);
	else
		copy_words(s->state.word, conn->state.word, conn->kept_words, MPS_STATE_WORDS);
	return 0;
}

static __always_inline bool wants_policy(const struct mps_config *config, const struct mps_conn *conn)
{
	return !(config->flags & MPS_CONFIG_LEAVING) && conn->slot != MPS_SLOT_NONE;
}

/* Those of `among` that are in `better`, if there are any. */
static __always_inline __u32 narrow(__u32 among, __u32 better)
{
	return among & better ? among & better : among;
}

/*
 * What the policy said, made safe. To be allowed is at least one subflow on which the connection goes on and which asks for the next
 * decision: no local backup, steered, healthy, as far as there are such.
 */
static __always_inline __u32 safe_verdict(const struct mps_scratch *s, const struct mps_pass *p,
					  struct mps_counters *counters)
{
	__u32 welcome = p->seen & ~(__u32)p->never, allowed = s->verdict.allowed & welcome;
	__u32 among = p->usable & welcome, healthy = ~(__u32)p->troubled;

	/* Closing: nothing will be sent, so nothing is to be decided. */
	if (!among)
		return p->seen;
	/* The kernel uses a local backup as soon as everything else is parked. */
	among = narrow(among, ~(__u32)p->local_backup);
	/* A peer's backup need not be opened beside an unsteered subflow that works. */
	if (among & healthy & ~(p->steered | p->peer_backup))
		among &= ~(p->peer_backup & ~allowed);
	/* Of a connection that goes on where we hear nothing we would hear nothing more. */
	among = narrow(among, p->steered);
	/* Allowing only what is probably dead, while something else is alive, would stall the connection. */
	if (!(allowed & narrow(among, healthy))) {
		COUNT(counters, EMPTY_VERDICT);
		return welcome;
	}
	return allowed;
}

/* What the policy remembers. */
static __always_inline void keep_state(struct mps_conn *conn, const struct mps_scratch *s, __u32 wants)
{
	conn->kept_words = s->kept_words;
	if (wants & MPS_SLOT_4_0)
		copy_words(conn->state.word, old_state(s), s->kept_words, MPS_STATE_WORDS_4_0);
	else
		copy_words(conn->state.word, s->state.word, s->kept_words, MPS_STATE_WORDS);
}

/* Keeps why the policy allows or parks each subflow, for `conns`. An object of 4.0 has something else in that place. */
__noinline int mps_note_reasons(struct mps_conn *conn, const struct mps_scratch *s, __u32 reasoned)
{
	if (!conn || !s)
		return 0;
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS && reasoned >> i; i++)
		if (reasoned >> i & 1)
			conn->sf[i].reason = s->verdict.reason[i];
	return 0;
}

/* Keeps what the policy wishes for each subflow in `wished` and nothing for the others. */
__noinline int mps_note_levers(struct mps_conn *conn, const struct mps_scratch *s, __u32 wished)
{
	__u32 concerned, levers = 0;

	if (!conn || !s)
		return 0;
	concerned = wished | conn->levers;
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS && concerned >> i; i++) {
		__u32 lowat = 0, pace = 0;

		if (wished >> i & 1) {
			lowat = s->verdict.lever[i].lowat_bytes;
			pace = s->verdict.lever[i].pace_bytes_s;
		}
		conn->sf[i].lever.lowat_bytes = lowat;
		conn->sf[i].lever.pace_bytes_s = pace;
		levers |= is_set(lowat | pace) << i;
	}
	conn->levers = levers;
	return 0;
}

/* After the policy: which subflows are to be allowed, or that they go back to what the peers asked for. */
__noinline int mps_conclude(struct mps_conn *conn, const struct mps_scratch *s,
			    const struct mps_config *config, struct mps_counters *counters,
			    struct mps_pass *p)
{
	__u32 wished = 0, reasoned = 0;

	if (!conn || !s || !config || !counters || !p)
		return 0;
	p->restore = 1;
	p->allowed = 0;
	if (!wants_policy(config, conn)) {
		COUNT(counters, PASSED);
	} else if (!s->decided) {
		COUNT(counters, POLICY_FAILED);
	} else {
		COUNT(counters, DECIDED);
		keep_state(conn, s, p->wants);
		if (!(s->verdict.flags & MPS_VERDICT_PASS)) {
			p->restore = 0;
			p->allowed = safe_verdict(s, p, counters);
			if (s->verdict.flags & MPS_VERDICT_LEVERS)
				wished = p->seen;
			/* They are none for what was made of a verdict that could not be followed. */
			if (!(p->wants & MPS_SLOT_4_0) && p->allowed == (s->verdict.allowed & p->seen))
				reasoned = s->verdict.reasoned & p->seen;
		}
	}
	if (wished | conn->levers)
		mps_note_levers(conn, s, wished);
	if (reasoned)
		mps_note_reasons(conn, s, reasoned);
	conn->reasoned = reasoned;
	return 0;
}

#endif /* MPS_POLICY_BPF_H */
