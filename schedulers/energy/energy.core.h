/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * energy: the set of paths that takes the least energy for what is to be sent, by a power model of each
 * radio: a power for each Mbit/s, a power while it sends at all, and a promotion and a tail that a sleeping
 * radio costs in addition. `device_mw` is what the rest of the device draws until the transfer is over: without
 * it one path alone is always the best.
 *
 * Nobody tells how long a transfer is. One that has moved n bytes is expected to move as many again.
 *
 * Of what the peer sends neither window nor queue is known: rates are those at which contents arrived when a path was last used, and a transfer is
 * over when nothing has come for a while. Receiving takes another power than sending.
 */
#ifndef MPS_ENERGY_CORE_H
#define MPS_ENERGY_CORE_H

#include "../common/receive.core.h"

/* One radio: mW for each Mbit/s, which is nJ for each bit; mW while it is used; promotion and tail. */
#define ENERGY_PROFILE(P, radio, title, up, down, base, promo_time, promo_power, tail_time, tail_power)      \
	P(__u32, radio##_up_mw, up, 0, 100000, "mW per Mbit/s", title " power by rate sent")                 \
	P(__u32, radio##_down_mw, down, 0, 100000, "mW per Mbit/s", title " power by rate received")         \
	P(__u32, radio##_base_mw, base, 0, 100000, "mW", title " power while it sends or receives")          \
	P(__u32, radio##_promo_ms, promo_time, 0, 60000, "ms", title " time to wake up")                     \
	P(__u32, radio##_promo_mw, promo_power, 0, 100000, "mW", title " power while it wakes up")           \
	P(__u32, radio##_tail_ms, tail_time, 0, 60000, "ms", title " time awake after the last packet")      \
	P(__u32, radio##_tail_mw, tail_power, 0, 100000, "mW", title " power during that time")

/* Huang et al., MobiSys'12, tables 3 and 4. They did not measure 5G, which starts with the numbers of LTE. */
#define ENERGY_PARAMS(P)                                                                                     \
	ENERGY_PROFILE(P, wifi, "WiFi", 283, 137, 133, 79, 124, 238, 119)                                    \
	ENERGY_PROFILE(P, umts, "3G", 869, 122, 818, 582, 659, 8088, 601)                                    \
	ENERGY_PROFILE(P, lte, "LTE", 438, 52, 1288, 260, 1210, 11576, 1060)                                 \
	ENERGY_PROFILE(P, nr, "5G", 438, 52, 1288, 260, 1210, 11576, 1060)                                   \
	P(__u32, device_mw, 1000, 0, 100000, "mW", "what the rest of the device draws during a transfer")    \
	P(__u32, margin_pct, 10, 0, 100, "%", "how much energy another set of paths must save to be taken")
MPS_PARAMS(energy, ENERGY_PARAMS)

#define ENERGY_MOST_MW 100000u
#define ENERGY_MOST_MS 60000u
/* What a message takes at least: one packet. */
#define ENERGY_LEAST_BYTES 1500
/* 19 hours; keeps the product with a power within 64 bits. */
#define ENERGY_MOST_US (1ull << 36)

struct energy_state {
	__u64 start_bytes; /* given to all subflows, or received, when this transfer began */
	struct mps_transfer received;
	__u32 set; /* in use */
	__u32 reserved;
	__u32 kept_rate[MPS_SUBFLOW_ROWS]; /* at which subflows brought contents when they last did */
	/* Of this decision, for each subflow. */
	__u64 rate[MPS_SUBFLOW_ROWS];
	__u64 fixed_nj[MPS_SUBFLOW_ROWS];
	__u32 bit_nj[MPS_SUBFLOW_ROWS];
	__u32 base_mw[MPS_SUBFLOW_ROWS];
	__u16 before[MPS_SUBFLOW_ROWS]; /* those of lower index on the same path, and hence radio */
};

/* Waking a sleeping radio costs promotion and tail; one that is awake prolongs its tail by its age. */
MPS_CORE __u64 energy_wake_nj(__u32 age_us, __u32 promo_ms, __u32 promo_mw, __u32 tail_ms, __u32 tail_mw)
{
	promo_ms = promo_ms < ENERGY_MOST_MS ? promo_ms : ENERGY_MOST_MS;
	tail_ms = tail_ms < ENERGY_MOST_MS ? tail_ms : ENERGY_MOST_MS;
	promo_mw = promo_mw < ENERGY_MOST_MW ? promo_mw : ENERGY_MOST_MW;
	tail_mw = tail_mw < ENERGY_MOST_MW ? tail_mw : ENERGY_MOST_MW;
	if (age_us < tail_ms * 1000)
		return (__u64)age_us * tail_mw;
	return (__u64)promo_ms * 1000 * promo_mw + (__u64)tail_ms * 1000 * tail_mw;
}

#define ENERGY_DESCRIBE(radio)                                                                               \
	do {                                                                                                 \
		bit = receives ? p->radio##_down_mw : p->radio##_up_mw;                                      \
		base = p->radio##_base_mw;                                                                   \
		wake = energy_wake_nj(age_us, p->radio##_promo_ms, p->radio##_promo_mw, p->radio##_tail_ms,  \
				      p->radio##_tail_mw);                                                   \
	} while (0)

/*
 * A radio is awake if any of the subflows on it was heard of lately. Returns for how long that was not so, and notes which of them
 * come before the one at `index`.
 */
MPS_CORE_PART __u32 energy_age_us(const struct mps_view *v, struct energy_state *st, __u32 index)
{
	__u32 own = mps_row(index), age = ~0u, before = 0;

	if (!v || !st)
		return age;
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++) {
		if (!(v->present >> i & 1) || v->sf[i].ifindex != v->sf[own].ifindex)
			continue;
		if (v->sf[i].last_rcv_age_us < age)
			age = v->sf[i].last_rcv_age_us;
		before |= (__u32)(i < own) << i;
	}
	st->before[own] = (__u16)before;
	return age;
}

/* Puts rate and cost of one subflow into the state. */
MPS_CORE_PART __u32 energy_describe(const struct mps_view *v, struct energy_state *st,
				    const struct energy_params *p, __u32 index)
{
	__u32 i = mps_row(index), bit = 0, base = 0, age_us, receives, kept;
	const struct mps_subflow_view *sf;
	__u64 wake = 0;

	if (!v || !st || !p)
		return 0;
	sf = &v->sf[i];
	receives = mps_receives(v);
	age_us = energy_age_us(v, st, i);
	if (sf->energy_class == MPS_ENERGY_WIFI)
		ENERGY_DESCRIBE(wifi);
	else if (sf->energy_class == MPS_ENERGY_3G)
		ENERGY_DESCRIBE(umts);
	else if (sf->energy_class == MPS_ENERGY_LTE)
		ENERGY_DESCRIBE(lte);
	else if (sf->energy_class == MPS_ENERGY_5G)
		ENERGY_DESCRIBE(nr);
	if (receives) {
		kept = sf->flags & MPS_SF_FRESH ? 0 : st->kept_rate[i];
		st->kept_rate[i] = mps_keep_rate(sf, kept, v->last_allowed >> i & 1);
		st->rate[i] = mps_receive_rate(sf, st->kept_rate[i]);
	} else {
		st->rate[i] = mps_rate(sf);
	}
	st->fixed_nj[i] = wake;
	st->bit_nj[i] = bit < ENERGY_MOST_MW ? bit : ENERGY_MOST_MW;
	st->base_mw[i] = base < ENERGY_MOST_MW ? base : ENERGY_MOST_MW;
	return 0;
}

/* What `bytes` cost over a set of subflows, in nJ (mW times µs). Each carries its share by rate; a radio is woken and kept awake once. */
MPS_CORE_PART __u64 energy_nj(const struct energy_state *st, __u32 set, __u64 bytes, __u32 device_mw)
{
	__u64 rate = 0, weighted = 0, fixed = 0, us, mw = device_mw;

	if (!st)
		return 0;
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++) {
		__u64 in = set >> i & 1, once = in * !(set & st->before[i]);

		rate += st->rate[i] * in;
		weighted += st->rate[i] * st->bit_nj[i] * in;
		fixed += st->fixed_nj[i] * once;
		mw += st->base_mw[i] * once;
	}
	if (!rate)
		return ~0ull >> 8;
	us = bytes * 1000000 / rate;
	us = us < ENERGY_MOST_US ? us : ENERGY_MOST_US;
	return us * mw + 8 * bytes * (weighted / rate) + fixed;
}

/* The subflow of `among` with which the set costs least, MPS_MAX_SUBFLOWS if there is none. */
MPS_CORE_PART __u32 energy_next(const struct energy_state *st, __u32 among, __u32 set, __u64 bytes,
				__u32 device_mw)
{
	__u32 best = MPS_MAX_SUBFLOWS;
	__u64 least = 0;

	if (!st)
		return best;
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++) {
		__u64 nj = energy_nj(st, set | 1u << i, bytes, device_mw);

		if ((among >> i & 1) && (best == MPS_MAX_SUBFLOWS || nj < least)) {
			best = i;
			least = nj;
		}
	}
	return best;
}

/* The cheapest subflow, and every further one that makes the set cheaper. */
MPS_CORE_PART __u32 energy_cheapest(const struct energy_state *st, __u32 among, __u64 bytes, __u32 device_mw)
{
	__u32 set = 0;

	if (!st)
		return 0;
	for (__u32 round = 0; round < MPS_MAX_SUBFLOWS; round++) {
		__u32 next = energy_next(st, among & ~set, set, bytes, device_mw), with;

		if (next >= MPS_MAX_SUBFLOWS)
			break;
		with = set | 1u << next;
		if (set && energy_nj(st, with, bytes, device_mw) >= energy_nj(st, set, bytes, device_mw))
			break;
		set = with;
	}
	return set;
}

/* Has a transfer begun that the state does not know of? The first decision is one, and a subflow may have gone and taken its count along. */
MPS_CORE_PART __u32 energy_begins(const struct mps_view *v, struct energy_state *st)
{
	if (!v || !st)
		return 1;
	if (!mps_receives(v))
		return !v->unsent_bytes && !mps_outstanding_of(v, v->present);
	return !mps_follow_transfer(v, &st->received, mps_transfer_gap_us(v));
}

MPS_CORE void energy_decide(const struct mps_view *v, struct mps_verdict *out, const struct energy_params *p,
			    struct energy_state *st)
{
	__u32 candidates = mps_candidates(v), device_mw, margin, set;
	__u64 given, moved, bytes;

	device_mw = p->device_mw < ENERGY_MOST_MW ? p->device_mw : ENERGY_MOST_MW;
	margin = p->margin_pct < 100 ? p->margin_pct : 100;
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++)
		energy_describe(v, st, p, i);
	given = mps_acked_of(v, v->present) + mps_outstanding_of(v, v->present);
	moved = given - st->start_bytes;
	if (energy_begins(v, st) || moved >> 63 || !st->set) {
		st->start_bytes = given;
		moved = 0;
	}
	bytes = mps_bounded_bytes(mps_bounded_bytes(moved) + mps_bounded_bytes(v->unsent_bytes) +
				  ENERGY_LEAST_BYTES);
	set = energy_cheapest(st, candidates, bytes, device_mw) & candidates;
	out->allowed = set ? set : candidates;
	/* Costs are below 2^58. */
	if (st->set && !(st->set & ~candidates) &&
	    energy_nj(st, st->set, bytes, device_mw) <=
		    energy_nj(st, set, bytes, device_mw) / 100 * (100 + margin))
		out->allowed = st->set;
	st->set = out->allowed;
}

#endif
