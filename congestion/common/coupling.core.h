/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a coupled congestion control decides: how fast a subflow's window may grow, seeing the windows of its siblings.
 *
 * A core is a pure function. It answers with a share of Reno's increase, MPS_CC_RENO being all of it: Reno adds one segment
 * for each window that is acknowledged. No core may answer with more, so that a connection never takes more from anybody
 * than as many connections of TCP would. It does not depend on units: only the ratios of windows and round-trip times count.
 */
#ifndef MPS_COUPLING_CORE_H
#define MPS_COUPLING_CORE_H

#include <mps/core.h>

/* As many as a connection of the kernel can have: MPTCP_PM_ADDR_MAX, and the first one. Behind the one that it is about. */
#define MPS_CC_SUBFLOWS 9
#define MPS_CC_ROWS (MPS_CC_SUBFLOWS + 1)

#define MPS_CC_RATIO_BITS 20
#define MPS_CC_RATIO_ONE (1ull << MPS_CC_RATIO_BITS)
#define MPS_CC_RENO (1ull << (2 * MPS_CC_RATIO_BITS))

/* Beyond these a window or a time is taken for the greatest: 1.4 GB at 1400 octets, 16 s. Products then fit into 64 bits. */
#define MPS_CC_MOST_SEGS (1u << 20)
#define MPS_CC_MOST_US (1u << 24)
#define MPS_CC_MOST_RUN (1u << 24)

struct mps_cc_subflow {
    __u32 cwnd_segs; /* 0: there is none in this place */
    __u32 srtt_us;   /* 0: not known yet, and so not counted */
    __u32 run_segs;  /* delivered since the last loss, or between the last two if that is more */
};

/* The first is the one whose window is to grow, the others are its siblings as far as they are in use now. */
struct mps_cc_flows {
    struct mps_cc_subflow sf[MPS_CC_ROWS];
};

/* One subflow beside its siblings. */
struct mps_cc_place {
    __u32 segs;  /* 1 .. 2^20; 0: not counted */
    __u32 quick; /* the least round-trip time of all over its own, 0 .. 2^20 */
    __u32 run;   /* 0 .. 2^24 */
};

struct mps_cc_view {
    struct mps_cc_place at[MPS_CC_ROWS];
    __u32 n;
    __u64 speed;   /* of all together */
    __u64 fastest; /* of the one that has the most */
};

/* Segments per time, in a unit that all share; 0 .. 2^40. */
MPS_CORE __u64 mps_cc_speed(const struct mps_cc_place *at) { return (__u64)at->segs * at->quick; }

/* For numbers below 2^63, and without branches as in core.h. */
MPS_CORE __u64 mps_cc_greater(__u64 a, __u64 b) { return a ^ b ^ mps_lesser(a, b); }

MPS_CORE __u64 mps_cc_equal(__u64 a, __u64 b) { return 1 ^ (mps_is_less(a, b) | mps_is_less(b, a)); }

MPS_CORE __u64 mps_cc_counts(const struct mps_cc_subflow *sf) {
    return mps_is_less(0, sf->cwnd_segs) & mps_is_less(0, sf->srtt_us);
}

/* Returns 0 if there is nothing to be coupled with: one subflow, or one that does not know its own round-trip time. */
MPS_CORE_PART __u32 mps_cc_look(struct mps_cc_view *view, const struct mps_cc_flows *flows) {
    __u64 least_us = MPS_CC_MOST_US, all = 0, fastest = 0, n = 0;

    if (!view || !flows)
        return 0;
    for (__u32 i = 0; i < MPS_CC_ROWS; i++) {
        const struct mps_cc_subflow *sf = &flows->sf[i];

        least_us = mps_lesser(sf->srtt_us + (1 - mps_cc_counts(sf)) * MPS_CC_MOST_US, least_us);
    }
    for (__u32 i = 0; i < MPS_CC_ROWS; i++) {
        const struct mps_cc_subflow *sf = &flows->sf[i];
        struct mps_cc_place *at = &view->at[i];
        __u64 counts = mps_cc_counts(sf);
        /* 1 where it would be 0 */
        __u64 srtt_us = mps_lesser(sf->srtt_us, MPS_CC_MOST_US) | (1 - counts);

        at->segs = (__u32)(mps_lesser(sf->cwnd_segs, MPS_CC_MOST_SEGS) * counts);
        at->quick = (__u32)((least_us << MPS_CC_RATIO_BITS) / srtt_us * counts);
        at->run = (__u32)mps_lesser(sf->run_segs, MPS_CC_MOST_RUN);
        all += mps_cc_speed(at);
        fastest = mps_cc_greater(fastest, mps_cc_speed(at));
        n += counts;
    }
    view->speed = all;
    view->fastest = fastest;
    view->n = (__u32)n;
    return n > 1 && view->at[0].segs;
}

/* What one has of all speed; `speed` is one of the view's, so the sum is 0 only if it is. */
MPS_CORE __u64 mps_cc_ratio(const struct mps_cc_view *view, __u64 speed) {
    return view->speed ? (speed << MPS_CC_RATIO_BITS) / view->speed : 0;
}

/*
 * Acknowledged segments for one segment more, as the kernel's tcp_cong_avoid_ai() wants them, or for one less: that many for
 * the size of the share. 0: it stays as it is.
 */
MPS_CORE __u32 mps_cc_acks(__u32 cwnd_segs, __s64 share) {
    __u64 size = share < 0 ? -(__u64)share : (__u64)share, acks;

    if (!size)
        return 0;
    acks = (mps_lesser(cwnd_segs, MPS_CC_MOST_SEGS) << (2 * MPS_CC_RATIO_BITS)) / size;
    /* Never sooner than Reno, also where the window is greater than the greatest. */
    if (acks < cwnd_segs)
        acks = cwnd_segs;
    return (__u32)mps_lesser(acks, ~0u);
}

#endif /* MPS_COUPLING_CORE_H */
