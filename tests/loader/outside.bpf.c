// SPDX-License-Identifier: GPL-2.0-only
/*
 * One policy from outside the tree in several builds, as if its author had edited it:
 *   BUILD 1  the first
 *   BUILD 2  only a constant in .rodata is another: the instructions, and with them the kernel's tag, are the same
 *   BUILD 3  the parameter's range is smaller, and there is one more
 *   BUILD 4  has the name of a policy that is built in
 *   BUILD 5  has another name of such a one
 */
#include <mps/policy.bpf.h>

#if BUILD == 3
#define OUTSIDE_PARAMS(P)                                                                                    \
    P(__u32, patience_ms, 10, 5, 50, "ms", "smaller than before")                                            \
    P(__u32, added, 1, 0, 9, "", "new in this build")
#else
#define OUTSIDE_PARAMS(P)                                                                                    \
    P(__u32, patience_ms, 10, 5, 500, "ms", "what it is for does not matter")                                \
    P(__u32, calm_ms, 20, 5, 500, "ms", "nor does this")
#endif
MPS_PARAMS(outside, OUTSIDE_PARAMS)

struct outside_state {
    __u64 runs;
};

const volatile __u32 table[2] = {BUILD, 0};

static __attribute__((always_inline)) inline void outside_decide(const struct mps_view *v,
                                                                 struct mps_verdict *out,
                                                                 const struct outside_params *p,
                                                                 struct outside_state *st) {
    out->allowed = v->present;
    st->runs += table[0] + p->patience_ms;
}

#if BUILD == 4
MPS_POLICY(outside, "weighted", "of the tests");
#elif BUILD == 5
MPS_POLICY(outside, "load-balancing", "of the tests");
#else
MPS_POLICY(outside, "outside", "of the tests: allows everything");
#endif
