/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Opportunistic linked increases, Khalili et al., CoNEXT 2012, and draft-khalili-mptcp-congestion-control. For each segment
 * acknowledged on subflow r the window changes by
 *
 *	x_r / rtt_r / (sum of x)^2  +  a_r / w_r,   x = w / rtt
 *
 * of a segment: of Reno's increase (x_r / sum of x)^2 + a_r. The best subflows are those on which a TCP would be the fastest, by what
 * passes between two losses (l / rtt^2). If some of them have not got the greatest window, those share 1/n and grow, and those with the
 * greatest window give 1/n away, so that the windows move towards the best paths; else all a_r are 0.
 */
#ifndef MPS_OLIA_CORE_H
#define MPS_OLIA_CORE_H

#include "../common/coupling.core.h"

/* l / rtt^2, below 2^60 */
MPS_CORE __u64 olia_merit(const struct mps_cc_place *at) {
    return ((__u64)at->run * at->quick >> 4) * at->quick;
}

/* a_r */
MPS_CORE_PART __s64 olia_shift(const struct mps_cc_view *view) {
    __u64 merit = 0, widest = 0, wide = 0, promising = 0, is_wide, is_best;

    if (!view || !view->n)
        return 0;
    for (__u32 i = 0; i < MPS_CC_ROWS; i++) {
        merit = mps_cc_greater(merit, olia_merit(&view->at[i]));
        widest = mps_cc_greater(widest, view->at[i].segs);
    }
    for (__u32 i = 0; i < MPS_CC_ROWS; i++) {
        __u64 counts = mps_is_less(0, view->at[i].segs);

        is_wide = mps_cc_equal(view->at[i].segs, widest);
        is_best = mps_cc_equal(olia_merit(&view->at[i]), merit);
        wide += counts & is_wide;
        promising += counts & is_best & (1 ^ is_wide);
    }
    if (!promising || !wide)
        return 0;
    if (view->at[0].segs == widest)
        return -(__s64)(MPS_CC_RENO / (view->n * wide));
    return olia_merit(&view->at[0]) == merit ? (__s64)(MPS_CC_RENO / (view->n * promising)) : 0;
}

MPS_CORE_PART __s64 olia_share(const struct mps_cc_flows *flows) {
    struct mps_cc_view view = {};
    __u64 ratio;
    __s64 share;

    if (!flows || !mps_cc_look(&view, flows))
        return MPS_CC_RENO;
    ratio = mps_cc_ratio(&view, mps_cc_speed(&view.at[0]));
    share = (__s64)(ratio * ratio) + olia_shift(&view);
    return share < (__s64)MPS_CC_RENO ? share : (__s64)MPS_CC_RENO;
}

#endif /* MPS_OLIA_CORE_H */
