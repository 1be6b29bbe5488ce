/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A core as a congestion control of the kernel: struct_ops of the type tcp_congestion_ops. What is not about the increase is the
 * kernel's Reno.
 *
 *	MPS_COUPLED(lia, mps_reno_left)
 *
 * after the core was included makes `mps_lia` of lia_share().
 */
#ifndef MPS_COUPLED_BPF_H
#define MPS_COUPLED_BPF_H

#include "../../bpf/src/kernel.bpf.h"
#include "coupling.core.h"
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "GPL";

/* Anybody may choose it, and a network namespace may have it as its default: include/net/tcp.h. */
#define TCP_CONG_NON_RESTRICTED 1

extern __u32 tcp_reno_ssthresh(struct sock *sk) __ksym;
extern __u32 tcp_reno_undo_cwnd(struct sock *sk) __ksym;
extern __u32 tcp_slow_start(struct tcp_sock *tp, __u32 acked) __ksym;
extern void tcp_cong_avoid_ai(struct tcp_sock *tp, __u32 w, __u32 acked) __ksym;

/* In the socket, zeroed by the kernel whenever it gets this congestion control. */
struct mps_cc_memory {
    __u32 lost_at;  /* tcp_sock.delivered at the last loss */
    __u32 run_segs; /* delivered between the last two */
    __u32 waiting;  /* acknowledged and not counted yet, see pay() */
    __u32 shrink;   /* acknowledged towards one segment less */
};
_Static_assert(sizeof(struct mps_cc_memory) <= sizeof(((struct inet_connection_sock *)0)->icsk_ca_priv),
               "what a congestion control may keep");

static __always_inline struct mps_cc_memory *memory_of(struct tcp_sock *tp) {
    return (struct mps_cc_memory *)tp->inet_conn.icsk_ca_priv;
}

static __always_inline __u32 run_of(__u32 delivered, __u32 lost_at, __u32 run_segs) {
    __u32 since = delivered - lost_at;

    return since > run_segs ? since : run_segs;
}

/* Kernel pointers as numbers: functions that are verified on their own cannot take them otherwise. */
struct mps_cc_ref {
    __u64 ctx;  /* struct mptcp_subflow_context of a sibling */
    __u64 self; /* struct tcp_sock of the one that it is a sibling of … */
    __u64 ours; /* … and its struct tcp_congestion_ops */
};

/* A sibling counts while it has something under way: one that is parked, or has nothing to send, takes nothing from anybody. */
static __always_inline void read_sibling(struct mps_cc_subflow *out, const struct mps_cc_ref *ref,
                                         bool cast) {
    struct mptcp_subflow_context *ctx = KPTR(struct mptcp_subflow_context, (void *)ref->ctx, cast);
    struct tcp_sock *tp = KPTR(struct tcp_sock, READ(ctx, tcp_sock, cast), cast);
    struct mps_cc_memory memory = {};

    if ((__u64)tp == ref->self || !READ(tp, packets_out, cast) ||
        READ(tp, inet_conn.icsk_inet.sk.__sk_common.skc_state, cast) != TCP_ESTABLISHED_STATE)
        return;
    out->cwnd_segs = READ(tp, snd_cwnd, cast);
    out->srtt_us = READ(tp, srtt_us, cast) >> 3;
    if ((__u64)READ(tp, inet_conn.icsk_ca_ops, cast) != ref->ours)
        return;
    bpf_core_read(&memory, sizeof(memory), &tp->inet_conn.icsk_ca_priv);
    out->run_segs = run_of(READ(tp, delivered, cast), memory.lost_at, memory.run_segs);
}

__noinline int mps_cc_read_sibling(struct mps_cc_subflow *out, const struct mps_cc_ref *ref) {
    if (!out || !ref)
        return 0;
    if (mps_rdonly_cast)
        read_sibling(out, ref, true);
    else
        read_sibling(out, ref, false);
    return 0;
}

/*
 * The siblings' sockets are not locked, and the list may change: what is read is checked for being of this connection, is
 * at worst a moment old, and can at most make this window grow as Reno's does.
 */
static __always_inline void read_siblings(struct mps_cc_flows *flows, struct tcp_sock *tp, bool cast) {
    struct mptcp_subflow_context *own = tp->inet_conn.icsk_ulp_data, *ctx;
    struct list_head *head, *node;
    struct mptcp_sock *msk;
    struct mps_cc_ref ref;

    if (!own)
        return;
    ref.self = (__u64)tp;
    ref.ours = (__u64)tp->inet_conn.icsk_ca_ops;
    own = KPTR(struct mptcp_subflow_context, own, cast);
    msk = KPTR(struct mptcp_sock, READ(own, conn, cast), cast);
    if (!msk)
        return;
    head = &msk->conn_list;
    node = READ(msk, conn_list.next, cast);
    for (__u32 i = 1; i < MPS_CC_ROWS && node && node != head; i++) {
        ctx = (void *)node - bpf_core_field_offset(struct mptcp_subflow_context, node);
        ref.ctx = (__u64)ctx;
        ctx = KPTR(struct mptcp_subflow_context, ctx, cast);
        if (READ(ctx, conn, cast) != (struct sock *)msk)
            return;
        mps_cc_read_sibling(&flows->sf[i], &ref);
        node = READ(ctx, node.next, cast);
    }
}

static __always_inline void read_flows(struct mps_cc_flows *flows, struct tcp_sock *tp) {
    struct mps_cc_memory *memory = memory_of(tp);

    __builtin_memset(flows, 0, sizeof(*flows));
    flows->sf[0].cwnd_segs = tp->snd_cwnd;
    flows->sf[0].srtt_us = tp->srtt_us >> 3;
    flows->sf[0].run_segs = run_of(tp->delivered, memory->lost_at, memory->run_segs);
    if (!tp->is_mptcp)
        return;
    if (mps_rdonly_cast)
        read_siblings(flows, tp, true);
    else
        read_siblings(flows, tp, false);
}

/* tcp_is_cwnd_limited(), include/net/tcp.h */
static __always_inline bool is_limited(struct tcp_sock *tp) {
    if (BPF_CORE_READ_BITFIELD(tp, is_cwnd_limited))
        return true;
    return tp->snd_cwnd < tp->snd_ssthresh && tp->snd_cwnd < 2 * tp->max_packets_out;
}

/*
 * What is acknowledged is saved up to an eighth of the window and then counted at once: the shares move by the round-trip time, and
 * looking at all siblings at each ACK would be the most of what this costs. Returns what is to be counted now.
 */
static __always_inline __u32 due(struct tcp_sock *tp, __u32 acked) {
    struct mps_cc_memory *memory = memory_of(tp);
    __u32 all = memory->waiting + acked;

    if (all < tp->snd_cwnd >> 3) {
        memory->waiting = all;
        return 0;
    }
    memory->waiting = 0;
    return all;
}

static __always_inline void pay(struct tcp_sock *tp, __s64 share, __u32 acked) {
    struct mps_cc_memory *memory = memory_of(tp);
    __u32 acks = mps_cc_acks(tp->snd_cwnd, share);

    if (!acks)
        return;
    if (share > 0) {
        tcp_cong_avoid_ai(tp, acks, acked);
        return;
    }
    acked += memory->shrink;
    if (acked >= acks) {
        acked = 0;
        if (tp->snd_cwnd > 2)
            tp->snd_cwnd--;
    }
    memory->shrink = acked;
}

/* What was delivered since the last loss is now what was delivered between two. */
static __always_inline void note_loss(struct tcp_sock *tp) {
    struct mps_cc_memory *memory = memory_of(tp);

    memory->run_segs = tp->delivered - memory->lost_at;
    memory->lost_at = tp->delivered;
    memory->waiting = 0;
    memory->shrink = 0;
}

static __always_inline __u32 mps_reno_left(struct sock *sk) { return tcp_reno_ssthresh(sk); }

#define MPS_COUPLED(alg, left)                                                                               \
    SEC("struct_ops") __u32 BPF_PROG(mps_##alg##_loss, struct sock *sk) {                                    \
        note_loss((struct tcp_sock *)sk);                                                                    \
        return left(sk);                                                                                     \
    }                                                                                                        \
    SEC("struct_ops") void BPF_PROG(mps_##alg##_acked, struct sock *sk, __u32 ack, __u32 acked) {            \
        struct tcp_sock *tp = (struct tcp_sock *)sk;                                                         \
        struct mps_cc_flows flows;                                                                           \
                                                                                                             \
        if (!is_limited(tp))                                                                                 \
            return;                                                                                          \
        if (tp->snd_cwnd < tp->snd_ssthresh)                                                                 \
            acked = tcp_slow_start(tp, acked);                                                               \
        acked = acked ? due(tp, acked) : 0;                                                                  \
        if (!acked)                                                                                          \
            return;                                                                                          \
        read_flows(&flows, tp);                                                                              \
        pay(tp, alg##_share(&flows), acked);                                                                 \
    }                                                                                                        \
    SEC("struct_ops") __u32 BPF_PROG(mps_##alg##_undo, struct sock *sk) { return tcp_reno_undo_cwnd(sk); }   \
    SEC(".struct_ops") struct tcp_congestion_ops mps_##alg = {                                               \
        .ssthresh = (void *)mps_##alg##_loss,                                                                \
        .cong_avoid = (void *)mps_##alg##_acked,                                                             \
        .undo_cwnd = (void *)mps_##alg##_undo,                                                               \
        .flags = TCP_CONG_NON_RESTRICTED,                                                                    \
        .name = "mps_" #alg,                                                                                 \
    };

#endif /* MPS_COUPLED_BPF_H */
