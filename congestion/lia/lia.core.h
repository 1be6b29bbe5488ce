/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Linked increases, RFC 6356. For each segment acknowledged on subflow r the window grows by
 *
 *	min(alpha / w_total, 1 / w_r),   alpha = w_total * max(w_i / rtt_i^2) / (sum of w_i / rtt_i)^2
 *
 * of a segment. With x_i = w_i / rtt_i and m the subflow of the maximum, that is (x_m / sum of x)^2 * w_r / w_m of Reno's increase,
 * and never more than all of it.
 */
#ifndef MPS_LIA_CORE_H
#define MPS_LIA_CORE_H

#include "../common/coupling.core.h"

MPS_CORE_PART __s64 lia_share(const struct mps_cc_flows *flows) {
    __u64 best = 0, best_speed = 0, best_segs = 0, ratio;
    struct mps_cc_view view = {};

    if (!flows || !mps_cc_look(&view, flows))
        return MPS_CC_RENO;
    for (__u32 i = 0; i < MPS_CC_ROWS; i++) {
        __u64 speed = mps_cc_speed(&view.at[i]), urge = speed * view.at[i].quick; /* w / rtt^2 */
        __u64 better = -mps_is_less(best, urge);

        best ^= (best ^ urge) & better;
        best_speed ^= (best_speed ^ speed) & better;
        best_segs ^= (best_segs ^ view.at[i].segs) & better;
    }
    ratio = mps_cc_ratio(&view, best_speed);
    /* The quickest of all is among those looked at, so there is one. */
    return (__s64)mps_lesser(ratio * ratio * view.at[0].segs / (best_segs ? best_segs : 1), MPS_CC_RENO);
}

#endif /* MPS_LIA_CORE_H */
