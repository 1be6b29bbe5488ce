// SPDX-License-Identifier: GPL-2.0-only
#include "../common/coupled.bpf.h"
#include "balia.core.h"

static __always_inline __u32 balia_after_loss(struct sock *sk) {
    struct mps_cc_flows flows;

    read_flows(&flows, (struct tcp_sock *)sk);
    return balia_left(&flows);
}

MPS_COUPLED(balia, balia_after_loss)
