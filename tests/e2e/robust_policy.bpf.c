// SPDX-License-Identifier: GPL-2.0-only
/*
 * One policy that is right and several with one thing wrong each, chosen by FAULT_…:
 *   NONE     allows everything and has a parameter
 *   ABI      says it was built for another ABI
 *   INFO     has no description, so it is no policy object
 *   PROGRAM  has no program for TC
 *   UNSAFE   reads where the verifier cannot allow it
 */
#ifdef FAULT_ABI
#include <mps/policy_abi.h>
#undef MPS_POLICY_ABI
#define MPS_POLICY_ABI 99
#endif
#ifdef FAULT_PROGRAM
#define mps_policy_tc mps_policy_other
#endif
#include <mps/policy.bpf.h>

#ifdef FAULT_INFO
#undef MPS_INFO_SECTION
#define MPS_INFO_SECTION ".rodata.elsewhere"
#endif

#define ROBUST_PARAMS(P) P(__u32, patience_ms, 10, 5, 500, "ms", "what it is for does not matter")
MPS_PARAMS(robust, ROBUST_PARAMS)

struct robust_state {
    __u64 unused;
};

static __attribute__((always_inline)) inline void robust_decide(const struct mps_view *v,
                                                                struct mps_verdict *out,
                                                                const struct robust_params *p,
                                                                struct robust_state *st) {
#ifdef FAULT_UNSAFE
    /* The token is any number: the verifier must see that this leaves the map's value. */
    out->allowed = v->sf[v->token].flags + p->patience_ms;
#else
    out->allowed = v->present;
    st->unused = p->patience_ms;
#endif
}

MPS_POLICY(robust, "robust", "of the tests: allows everything");
