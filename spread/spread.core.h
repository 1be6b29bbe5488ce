/* SPDX-License-Identifier: GPL-2.0-only */
/* Which path a subflow takes, and when it is to try another one: pure functions, in the kernel and in tests alike. */
#ifndef MPS_SPREAD_CORE_H
#define MPS_SPREAD_CORE_H

#include <linux/types.h>
#include <mps/spread_abi.h>

#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif

/* How many siblings take each path: four bits for each of 16 paths. */
static __always_inline __u64 mps_spread_taken(__u64 taken, __u32 path) {
    __u32 shift = (path & (MPS_SPREAD_PATHS - 1)) * 4;

    return (taken >> shift & 15) == 15 ? taken : taken + (1ull << shift);
}

/*
 * Of the `usable` paths (bits) that which the fewest siblings take; of several the first one from `start` on, and `not_this` last
 * (MPS_SPREAD_PATHS: none).
 */
static __always_inline __u32 mps_spread_pick(__u64 taken, __u32 nr, __u32 usable, __u32 start,
                                             __u32 not_this) {
    __u64 best = 1ull << 32;

    if (!nr)
        return 0;
    if (nr > MPS_SPREAD_PATHS)
        nr = MPS_SPREAD_PATHS;
    /*
     * As arithmetic: each branch would double what the verifier has to walk, and so would a mask of sign bits, for both of whose values
     * Linux 7.2 looks. Turns beyond `nr` repeat earlier ones.
     */
    for (__u32 i = 0; i < MPS_SPREAD_PATHS; i++) {
        __u32 path = (start % nr + i) % nr, other = path ^ not_this;
        __u64 weight = taken >> path * 4 & 15, less;

        weight += (1 - ((other | -other) >> 31)) * 16;
        weight += (1 - (usable >> path & 1)) * 32;
        weight = weight << 16 | i << 8 | path;
        less = (weight - best) >> 63;
#if defined(__bpf__)
        __asm__ volatile("" : "+r"(less)); /* else the compiler makes a branch of it */
#endif
        best -= less * (best - weight);
    }
    return (__u32)(best & 255);
}

/* Whether that path is better than the own one, or as good: a subflow that has a path for itself does not go where a sibling is. */
static __always_inline int mps_spread_gains(__u64 taken, __u32 own, __u32 other) {
    return (taken >> (other & (MPS_SPREAD_PATHS - 1)) * 4 & 15) <=
           (taken >> (own & (MPS_SPREAD_PATHS - 1)) * 4 & 15);
}

struct mps_spread_look {
    __u64 rate;          /* of the subflow, bytes/s */
    __u64 siblings_rate; /* of those of its siblings over the same interface that send, together */
    __u32 siblings;
    __u32 slower;     /* siblings that are slower than it */
    __u32 trying;     /* siblings that are at a try */
    __u64 link_rate;  /* of all that leaves by the interface; 0: not measured yet */
    __u64 link_speed; /* 0: not known */
    __u32 limited;    /* it has more to send than its path takes */
};

/*
 * Is it worth a try to take another path? Only for the slowest subflow of a connection and one at a time, so that what a try brings can be
 * told; not where the interface itself is nearly full, since no path behind it would give much more: hosts that have almost all they can get
 * hold still, and the others find a network that stays as it is. Otherwise what tells is the interface, if its speed is known: it could carry
 * more, and this subflow would send it. Or the siblings: half of what they have in the mean.
 */
static __always_inline int mps_spread_is_slow(const struct mps_spread_look *look) {
    if (!look->limited || look->slower || look->trying)
        return 0;
    if (look->link_speed) {
        if (!look->link_rate || look->link_rate >= look->link_speed - look->link_speed / 8)
            return 0;
        return 1;
    }
    return look->siblings && look->rate * 2 * look->siblings < look->siblings_rate;
}

/*
 * Has another path paid? By what the connection has over the interface in all: a subflow that only takes from its siblings has not. By more
 * than measuring errs, so that a path which is no better is left to those that were there.
 */
static __always_inline int mps_spread_pays(__u64 before, __u64 now) { return now > before + before / 32; }

#endif /* MPS_SPREAD_CORE_H */
