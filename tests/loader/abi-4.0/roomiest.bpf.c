// SPDX-License-Identifier: GPL-2.0-only
#include <mps/policy.bpf.h>

#define ROOMIEST_PARAMS(P)                                                                                   \
    P(__u32, max_cost, 100, 0, 1000000, "cost",                                                              \
      "paths that cost more are used only when nothing else is left")
MPS_PARAMS(roomiest, ROOMIEST_PARAMS)

struct roomiest_state {
    __u64 decisions;
};

MPS_CORE void roomiest_decide(const struct mps_view *v, struct mps_verdict *out,
                              const struct roomiest_params *p, struct roomiest_state *st) {
    __u32 candidates = mps_candidates(v);
    __u64 most = 0;

    st->decisions++;
    out->allowed = 0;
    for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++) {
        __u64 room = mps_room_bytes(&v->sf[i]);

        if (!(candidates >> i & 1) || v->sf[i].cost > p->max_cost || room < most)
            continue;
        most = room;
        out->allowed = 1u << i;
    }
}

MPS_POLICY(roomiest, "roomiest", "the affordable path with the most free congestion window");
