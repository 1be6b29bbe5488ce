/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * What a policy core may use. A core is a pure function from view to verdict: it is compiled as BPF, natively
 * for tests and simulation, and must not call a helper, read a clock or touch a map. All loops are bounded
 * by MPS_MAX_SUBFLOWS.
 */
#ifndef MPS_CORE_H
#define MPS_CORE_H

#include <mps/policy_abi.h>

/*
 * MPS_CORE: a function of a core. MPS_CORE_PART: one that the kernel's verifier checks on its own, so that
 * the ways through it do not multiply with those of its callers; what it returns is then an unknown number
 * to them. Its pointer arguments must be checked against NULL. Use it for searches ("the index with the
 * least …"), which otherwise exceed the verifier's budget of a million steps.
 */
#ifdef __cplusplus
#define MPS_CORE inline
#define MPS_CORE_PART inline
#define MPS_TAGGED(text)
#elif defined(__bpf__)
#define MPS_CORE static __attribute__((always_inline)) inline
#define MPS_CORE_PART __attribute__((noinline))
#define MPS_TAGGED(text) __attribute__((btf_decl_tag(text)))
#else
#define MPS_CORE static inline
#define MPS_CORE_PART static inline
#define MPS_TAGGED(text)
#endif

/*
 * Parameters of a policy, described once:
 *
 *   #define RATIO_PARAMS(P)                                                        \
 *           P(__u32, hold_ms, 1000, 0, 600000, "ms", "wait this long before …")    \
 *           P(__u32, margin_pct, 10, 0, 100, "%", "…")
 *   MPS_PARAMS(ratio, RATIO_PARAMS)
 *
 * gives `struct ratio_params` and its defaults; name, default, least, greatest, unit and text travel in the
 * object's BTF, where `mpsched policy show` finds them. Types: __u32, __s32, __u64. Text: no colon.
 */
#define MPS_PARAM_FIELD(type, name, dflt, min, max, unit, text)                                              \
	type name MPS_TAGGED("mps:" #dflt ":" #min ":" #max ":" unit ":" text);
#define MPS_PARAM_DEFAULT(type, name, dflt, min, max, unit, text) .name = (dflt),
/* The reserved member keeps a policy without parameters from having an empty (C: 0, C++: 1 byte) struct. */
#define MPS_PARAMS(policy, LIST)                                                                             \
	struct policy##_params {                                                                             \
		__u32 reserved;                                                                              \
		LIST(MPS_PARAM_FIELD)                                                                        \
	};                                                                                                   \
	MPS_UNUSED static const struct policy##_params policy##_defaults = {.reserved = 0,                   \
									    LIST(MPS_PARAM_DEFAULT)};
#define MPS_NO_PARAMS(policy)                                                                                \
	struct policy##_params {                                                                             \
		__u32 reserved;                                                                              \
	};                                                                                                   \
	MPS_UNUSED static const struct policy##_params policy##_defaults = {.reserved = 0};

/* A policy's memory must fit in what the data path keeps for it. */
#define MPS_STATE_FITS(type)                                                                                 \
	MPS_STATIC_ASSERT(sizeof(type) <= sizeof(struct mps_state), #type " exceeds mps_state")

/*
 * A computed index of an array of MPS_SUBFLOW_ROWS, and the subflow there. The mask changes nothing for a valid index and
 * shows the verifier that it is one; an index that is a loop counter needs none.
 */
MPS_CORE __u32 mps_row(__u32 i)
{
#if defined(__bpf__)
	/*
	 * Otherwise the compiler drops the mask where it can prove it needless, and then it depends on how
	 * the index was computed whether the verifier can: 6.1 does not see that one of {0, 9} that is not 9
	 * is 0 (it took `best` in mps_quickest() for 9).
	 */
	__asm__ volatile("" : "+r"(i));
#endif
	return i & (MPS_SUBFLOW_ROWS - 1);
}

MPS_CORE const struct mps_subflow_view *mps_at(const struct mps_view *v, __u32 i)
{
	return &v->sf[mps_row(i)];
}

/*
 * Comparisons without a branch, for loops over subflows: what is kept from one round to the next would otherwise have twice
 * as many histories after each round, and the verifier follows them all. Numbers below 2^63.
 */
MPS_CORE __u64 mps_is_less(__u64 a, __u64 b)
{
#if defined(__bpf__)
	__asm__ volatile("" : "+r"(a)); /* or the compiler makes a branch of it */
#endif
	return (a - b) >> 63;
}

MPS_CORE __u64 mps_lesser(__u64 a, __u64 b)
{
	return b ^ ((a ^ b) & -mps_is_less(a, b));
}

/* 1 if that one flag is set, else 0; without a branch for the same reason. */
MPS_CORE __u32 mps_flag(__u32 flags, __u32 flag)
{
#if defined(__bpf__)
	__asm__ volatile("" : "+r"(flags));
#endif
	return (flags & flag) / flag;
}

/* Those of `among` that are in `better`, if there are any. */
MPS_CORE __u32 mps_narrow(__u32 among, __u32 better)
{
	return among & better ? among & better : among;
}

/*
 * The subflows worth choosing from, never empty for a connection that has a subflow. Each of these is kept to as long as it
 * leaves something:
 *
 *   - usable ones
 *   - no local backups: the kernel uses one as soon as all the others are parked, whatever a verdict says of it
 *   - none with a flag of `avoid`, while another one works
 *   - steered ones: one that nobody steers is used as the kernel likes, and is no reason to park another
 *   - healthy ones
 */
MPS_CORE __u32 mps_candidates_but(const struct mps_view *v, __u32 avoid)
{
	__u32 usable = 0, local = 0, avoided = 0, steered = 0, healthy = 0, among;

	if (!v)
		return 0;
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS && v->present >> i; i++) {
		__u32 flags = v->sf[i].flags;

		usable |= (mps_flag(flags, MPS_SF_PRESENT) & mps_flag(flags, MPS_SF_USABLE)) << i;
		local |= mps_flag(flags, MPS_SF_LOCAL_BACKUP) << i;
		avoided |= (__u32)mps_is_less(0, flags & avoid) << i;
		steered |= mps_flag(flags, MPS_SF_STEERABLE) << i;
		healthy |= (mps_flag(flags, MPS_SF_TROUBLED) ^ 1) << i;
	}
	among = mps_narrow(usable ? usable : v->present, ~local);
	if (among & ~avoided & healthy)
		among &= ~avoided;
	return mps_narrow(mps_narrow(among, steered), healthy);
}

MPS_CORE __u32 mps_candidates(const struct mps_view *v)
{
	return mps_candidates_but(v, 0);
}

/*
 * The candidates of a policy that nobody told what the paths are worth: what the peer asked to be a backup remains one,
 * while anything else works.
 */
MPS_CORE __u32 mps_welcome(const struct mps_view *v)
{
	return mps_candidates_but(v, MPS_SF_PEER_BACKUP);
}

/* Bytes this subflow was given so far: acknowledged, in flight, or waiting in its queue. */
MPS_CORE __u64 mps_given_bytes(const struct mps_subflow_view *sf)
{
	return sf->bytes_acked + sf->outstanding_bytes;
}

/* What the congestion window still takes now, in bytes, less what already waits for it. */
MPS_CORE __u64 mps_room_bytes(const struct mps_subflow_view *sf)
{
	__u64 window = (__u64)sf->cwnd_segs * sf->mss_bytes;
	__u64 used = (__u64)sf->in_flight_segs * sf->mss_bytes + sf->notsent_bytes;

	return window > used ? window - used : 0;
}

/* Is that part of v->extra[i] filled in? See enum mps_extra. */
MPS_CORE int mps_knows(const struct mps_view *v, __u32 i, __u32 extra)
{
	return (v->known[mps_row(i)] & extra) == extra;
}

/*
 * Says why subflow i is allowed or parked; `conns` puts it into words. What is not said is not shown.
 * mps_say_number() adds the number that the reason has a unit for; mps_say_than() as well which other subflow is meant,
 * MPS_MAX_SUBFLOWS if none.
 */
MPS_CORE struct mps_reason *mps_say(struct mps_verdict *out, __u32 i, __u32 code)
{
	struct mps_reason *why = &out->reason[mps_row(i)];

	out->reasoned |= 1u << (i & (MPS_SUBFLOW_ROWS - 1));
	why->code = (__u16)code;
	why->other = 0;
	why->flags = 0;
	return why;
}

MPS_CORE struct mps_reason *mps_say_number(struct mps_verdict *out, __u32 i, __u32 code, __s32 number)
{
	struct mps_reason *why = mps_say(out, i, code);

	why->flags = MPS_REASON_HAS_NUMBER;
	why->number = number;
	return why;
}

MPS_CORE void mps_say_than(struct mps_verdict *out, __u32 i, __u32 code, __s32 number, __u32 other)
{
	mps_say_number(out, i, code, number)->other = (__u8)(other < MPS_MAX_SUBFLOWS ? other + 1 : 0);
}

/*
 * At most about so many bytes are to wait unsent in each subflow (0: as many as the kernel likes). What waits there
 * has been decided and stays. The kernel looks between pieces of up to 32 KiB, so that more than this can wait: one piece
 * as a rule, a burst of 64 KiB at most. Needs MPS_POLICY_LEVERS.
 */
MPS_CORE void mps_wish_lowat(struct mps_verdict *out, __u32 bytes)
{
	if (!bytes)
		return;
	out->flags |= MPS_VERDICT_LEVERS;
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++) {
		out->lever[i].lowat_bytes = bytes;
		out->lever[i].pace_bytes_s = 0;
	}
}

#endif /* MPS_CORE_H */
