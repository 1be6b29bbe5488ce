/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Balanced linked adaptation, Peng, Walid, Hwang and Low 2016, and draft-walid-mptcp-congestion-control. For each segment
 * acknowledged on subflow r the window grows by
 *
 *	x_r / rtt_r / (sum of x)^2 * (1 + a) / 2 * (4 + a) / 5,   x = w / rtt,   a = max(x) / x_r
 *
 * of a segment: of Reno's increase, with u = x_r / sum of x and v = max(x) / sum of x, that is (u + v) * (4 u + v) / 10. A loss takes
 * w_r / 2 * min(a, 1.5) away.
 */
#ifndef MPS_BALIA_CORE_H
#define MPS_BALIA_CORE_H

#include "../common/coupling.core.h"

MPS_CORE_PART __s64 balia_share(const struct mps_cc_flows *flows) {
    struct mps_cc_view view = {};
    __u64 own, most;

    if (!flows || !mps_cc_look(&view, flows))
        return MPS_CC_RENO;
    own = mps_cc_ratio(&view, mps_cc_speed(&view.at[0]));
    most = mps_cc_ratio(&view, view.fastest);
    return (__s64)mps_lesser((own + most) * (4 * own + most) / 10, MPS_CC_RENO);
}

/* The window that a loss leaves. Reno's half, and down to a quarter where a sibling is faster. */
MPS_CORE_PART __u32 balia_left(const struct mps_cc_flows *flows) {
    __u64 times = MPS_CC_RATIO_ONE, most = MPS_CC_RATIO_ONE * 3 / 2, own;
    struct mps_cc_view view = {};
    __u32 cwnd;

    if (!flows)
        return 2;
    cwnd = flows->sf[0].cwnd_segs;
    /* A speed that is too small to be told from 0 is that many times smaller. */
    if (mps_cc_look(&view, flows)) {
        own = mps_cc_speed(&view.at[0]);
        times = most;
        if (own)
            times = mps_lesser((view.fastest << MPS_CC_RATIO_BITS) / own, most);
    }
    cwnd -= (__u32)((__u64)cwnd * times >> (MPS_CC_RATIO_BITS + 1));
    return cwnd > 2 ? cwnd : 2;
}

#endif /* MPS_BALIA_CORE_H */
