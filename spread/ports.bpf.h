/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Source ports by the map: of the first subflow when a program calls connect(), of those that the kernel makes when it binds them. A port is
 * taken by one entry of mps_sp_ports, which only one can make, so no two subflows get the same one.
 */
#ifndef MPS_SPREAD_PORTS_BPF_H
#define MPS_SPREAD_PORTS_BPF_H

#include "flows.bpf.h"
#include <linux/in.h>

/* How long a port is believed taken before its socket can be found by its addresses. */
#define CLAIM_NS (2 * NS_PER_S)
#define PATHS_TRIED 4

struct wanted_port {
    __u8 local[16] __attribute__((aligned(8))), peer[16];
    __be16 peer_port;
    __u16 path; /* 1 + its number */
    __u32 family;
};

static __always_inline bool has_socket(struct bpf_sock_addr *ctx, __u32 family, const __u8 *local,
                                       __u32 local_port, const __u8 *peer, __be16 peer_port) {
    struct bpf_sock_tuple tuple = {};
    struct bpf_sock *sk;

    /* The one that looks is the peer of the one that is looked for. */
    if (family == AF_INET) {
        __builtin_memcpy(&tuple.ipv4.saddr, peer + 12, 4);
        __builtin_memcpy(&tuple.ipv4.daddr, local + 12, 4);
        tuple.ipv4.sport = peer_port;
        tuple.ipv4.dport = bpf_htons(local_port);
        sk = bpf_skc_lookup_tcp(ctx, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
    } else {
        __builtin_memcpy(tuple.ipv6.saddr, peer, 16);
        __builtin_memcpy(tuple.ipv6.daddr, local, 16);
        tuple.ipv6.sport = peer_port;
        tuple.ipv6.dport = bpf_htons(local_port);
        sk = bpf_skc_lookup_tcp(ctx, &tuple, sizeof(tuple.ipv6), BPF_F_CURRENT_NETNS, 0);
    }
    if (!sk)
        return false;
    bpf_sk_release(sk);
    return true;
}

/* 1: the port is ours alone. Global, so that the verifier walks it once and not for every port that is tried. */
__noinline int mps_sp_claim(struct bpf_sock_addr *ctx, const struct wanted_port *wanted, __u32 port) {
    struct mps_spread_port fresh = {}, *there;
    __u64 since;

    if (!wanted)
        return 0;
    fresh.peer_port = bpf_ntohs(wanted->peer_port);
    fresh.path = wanted->path;
    fresh.family = wanted->family;
    if (has_socket(ctx, wanted->family, wanted->local, port, wanted->peer, wanted->peer_port))
        return 0;
    fresh.since_ns = bpf_ktime_get_ns();
    __builtin_memcpy(fresh.local, wanted->local, 16);
    __builtin_memcpy(fresh.peer, wanted->peer, 16);
    if (!bpf_map_update_elem(&mps_sp_ports, &port, &fresh, BPF_NOEXIST))
        return 1;
    there = bpf_map_lookup_elem(&mps_sp_ports, &port);
    if (!there)
        return 0;
    since = there->since_ns;
    if (fresh.since_ns - since < CLAIM_NS)
        return 0;
    if (has_socket(ctx, there->family, there->local, port, there->peer, bpf_htons(there->peer_port)))
        return 0;
    /* Who is the first to say so has it. */
    if (__sync_val_compare_and_swap(&there->since_ns, since, fresh.since_ns) != since)
        return 0;
    there->peer_port = fresh.peer_port;
    there->path = fresh.path;
    there->family = fresh.family;
    __builtin_memcpy(there->local, fresh.local, 16);
    __builtin_memcpy(there->peer, fresh.peer, 16);
    return 1;
}

/* One of this path's ports; 0: all are taken. */
static __always_inline __u32 free_port(struct bpf_sock_addr *ctx, const struct wanted_port *wanted,
                                       struct mps_spread_path *path) {
    for (__u32 i = 0; i < MPS_SPREAD_VALUES; i++) {
        __u32 port = i < path->nr ? path->value[i] : 0;

        if (!port)
            break;
        if (mps_sp_claim(ctx, wanted, port))
            return port;
    }
    return 0;
}

/*
 * A port of the path that the fewest siblings take, or else of the next best one; 0: none is free, or no map has any for these
 * addresses.
 */
static __always_inline __u32 choose_port(struct bpf_sock_addr *ctx, struct wanted_port *wanted,
                                         struct siblings *all) {
    struct mps_spread_config *config = config_now();
    struct mps_spread_route *route;
    __u32 number, start, usable, port;

    route = route_of(MPS_SPREAD_BY_PORT, wanted->peer_port, wanted->peer, wanted->local);
    if (!config || !route || !route->nr)
        return 0;
    mps_sp_siblings(all);
    start = all->taken ? 0 : __sync_fetch_and_add(&route->next, 1);
    usable = route->usable;
    for (__u32 i = 0; i < PATHS_TRIED; i++) {
        number =
            mps_spread_pick(all->taken, route->nr, usable, start, MPS_SPREAD_PATHS) & (MPS_SPREAD_PATHS - 1);
        wanted->path = number + 1;
        port = free_port(ctx, wanted, &route->path[number]);
        if (port) {
            __sync_fetch_and_add(&config->ports_given, 1);
            return port;
        }
        usable &= ~(1u << number);
    }
    __sync_fetch_and_add(&config->ports_exhausted, 1);
    return 0;
}

static __always_inline __u64 subflow_of(struct bpf_sock_addr *ctx, struct tcp_sock **tp) {
    struct bpf_sock *sk = ctx->sk;

    if (!sk || ctx->protocol != IPPROTO_TCP || bpf_get_netns_cookie(ctx) != mps_netns_cookie)
        return 0;
    *tp = bpf_skc_to_tcp_sock(sk);
    return *tp ? connection_of(*tp) : 0;
}

/* IPv4 in an IPv6 socket is IPv4 to the routers. */
static __always_inline __u32 family_of(const __u8 *address) {
    const __u32 *words = (const __u32 *)address;

    return !words[0] && !words[1] && words[2] == bpf_htonl(0xffff) ? AF_INET : AF_INET6;
}

/* The first subflow: not yet bound, and its peer is what the program has said. */
static __always_inline void bind_first(struct bpf_sock_addr *ctx, struct wanted_port *wanted) {
    struct tcp_sock *tp = NULL;
    struct siblings all = {};
    __u32 port;

    all.conn = subflow_of(ctx, &tp);
    if (!all.conn || tp->inet_conn.icsk_inet.sk.__sk_common.skc_num)
        return;
    all.self = (__u64)tp;
    wanted->peer_port = ctx->user_port;
    wanted->family = family_of(wanted->peer);
    port = choose_port(ctx, wanted, &all);
    if (!port)
        return;
    if (ctx->user_family == AF_INET6) {
        struct sockaddr_in6 name = {.sin6_family = AF_INET6, .sin6_port = bpf_htons(port)};

        __builtin_memcpy(&name.sin6_addr, wanted->local, 16);
        bpf_bind(ctx, (struct sockaddr *)&name, sizeof(name));
    } else {
        struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = bpf_htons(port)};

        __builtin_memcpy(&name.sin_addr, wanted->local + 12, 4);
        bpf_bind(ctx, (struct sockaddr *)&name, sizeof(name));
    }
}

/* One that the kernel makes: bound to an address and any port, and its peer is most likely that of the first. */
static __always_inline __u32 port_of_join(struct bpf_sock_addr *ctx, struct wanted_port *wanted) {
    struct tcp_sock *tp = NULL;
    struct siblings all = {};
    struct sock *conn;
    __u8 nobody[16];

    all.conn = ctx->user_port ? 0 : subflow_of(ctx, &tp);
    if (!all.conn)
        return 0;
    all.self = (__u64)tp;
    conn = (struct sock *)all.conn;
    bpf_core_read(&wanted->peer_port, sizeof(wanted->peer_port), &conn->__sk_common.skc_dport);
    if (!wanted->peer_port) /* a program binds the first one */
        return 0;
    put_addresses(nobody, wanted->peer, conn);
    wanted->family = family_of(wanted->peer);
    return choose_port(ctx, wanted, &all);
}

SEC("cgroup/connect4") int mps_sp_conn4(struct bpf_sock_addr *ctx) {
    struct wanted_port wanted = {};
    __be32 local = ctx->sk ? ctx->sk->src_ip4 : 0;

    if (local)
        put_mapped(wanted.local, local);
    put_mapped(wanted.peer, ctx->user_ip4);
    bind_first(ctx, &wanted);
    return 1;
}

SEC("cgroup/connect6") int mps_sp_conn6(struct bpf_sock_addr *ctx) {
    struct wanted_port wanted = {};
    __u32 *local = (__u32 *)wanted.local, *peer = (__u32 *)wanted.peer;
    struct bpf_sock *sk = ctx->sk;

    if (!sk)
        return 1;
    local[0] = sk->src_ip6[0];
    local[1] = sk->src_ip6[1];
    local[2] = sk->src_ip6[2];
    local[3] = sk->src_ip6[3];
    peer[0] = ctx->user_ip6[0];
    peer[1] = ctx->user_ip6[1];
    peer[2] = ctx->user_ip6[2];
    peer[3] = ctx->user_ip6[3];
    bind_first(ctx, &wanted);
    return 1;
}

SEC("cgroup/bind4") int mps_sp_bind4(struct bpf_sock_addr *ctx) {
    struct wanted_port wanted = {};
    __u32 port;

    put_mapped(wanted.local, ctx->user_ip4);
    port = port_of_join(ctx, &wanted);
    if (port)
        ctx->user_port = bpf_htons(port);
    return 1;
}

SEC("cgroup/bind6") int mps_sp_bind6(struct bpf_sock_addr *ctx) {
    struct wanted_port wanted = {};
    __u32 *local = (__u32 *)wanted.local;
    __u32 port;

    local[0] = ctx->user_ip6[0];
    local[1] = ctx->user_ip6[1];
    local[2] = ctx->user_ip6[2];
    local[3] = ctx->user_ip6[3];
    port = port_of_join(ctx, &wanted);
    if (port)
        ctx->user_port = bpf_htons(port);
    return 1;
}

#endif /* MPS_SPREAD_PORTS_BPF_H */
