/* SPDX-License-Identifier: GPL-2.0-only */
/* The maps of spread.bpf.c, and what its programs find out about a subflow and its siblings. */
#ifndef MPS_SPREAD_FLOWS_BPF_H
#define MPS_SPREAD_FLOWS_BPF_H

#include "../bpf/src/kernel.bpf.h"
#include "spread.core.h"
#include <bpf/bpf_endian.h>
#include <linux/bpf.h>

#define MOST_SUBFLOWS 16
#define NS_PER_MS 1000000ull
#define NS_PER_S 1000000000ull

/* Set before load. Programs at a cgroup see the sockets of every network namespace. */
const volatile __u64 mps_netns_cookie = 0;

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct mps_spread_config);
} mps_sp_config SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_LPM_TRIE);
    __uint(max_entries, MPS_SPREAD_ROUTES);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, struct mps_spread_key);
    __type(value, struct mps_spread_route);
} mps_sp_routes SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(max_entries, MPS_SPREAD_FLOWS);
    __type(key, __u64);
    __type(value, struct mps_spread_flow);
} mps_sp_flows SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, MPS_SPREAD_PORTS);
    __type(key, __u32);
    __type(value, struct mps_spread_port);
} mps_sp_ports SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, MPS_SPREAD_LINKS);
    __type(key, __u32);
    __type(value, struct mps_spread_link);
} mps_sp_links SEC(".maps");

static __always_inline struct mps_spread_config *config_now(void) {
    __u32 zero = 0;

    return bpf_map_lookup_elem(&mps_sp_config, &zero);
}

static __always_inline void put_mapped(__u8 *to, __be32 ipv4) {
    __builtin_memset(to, 0, 10);
    to[10] = to[11] = 0xff;
    __builtin_memcpy(to + 12, &ipv4, 4);
}

/* Both addresses of a socket as the maps have them. */
static __always_inline void put_addresses(__u8 *local, __u8 *peer, struct sock *sk) {
    struct sock_common *sc = &sk->__sk_common;
    __be32 v4;
    __u16 family;

    bpf_core_read(&family, sizeof(family), &sc->skc_family);
    bpf_core_read(local, 16, &sc->skc_v6_rcv_saddr);
    bpf_core_read(peer, 16, &sc->skc_v6_daddr);
    if (family == AF_INET6)
        return;
    bpf_core_read(&v4, sizeof(v4), &sc->skc_rcv_saddr);
    put_mapped(local, v4);
    bpf_core_read(&v4, sizeof(v4), &sc->skc_daddr);
    put_mapped(peer, v4);
}

struct siblings {
    __u64 conn, self; /* whose they are, and of whom */
    __u64 taken;      /* see mps_spread_taken() */
    __u64 rate;
    __u64 than;  /* the rate that slower ones are slower than */
    __u64 fresh; /* since when they must have been measured to count */
    __u32 ifindex;
    __u32 nr, slower, trying; /* no padding: 6.1 wants all of it initialised */
};

/* These two are global, so that the verifier walks each once and not once for every sibling. */
__noinline int mps_sp_sibling(struct siblings *all, __u64 sock) {
    struct mps_spread_flow *flow = bpf_map_lookup_elem(&mps_sp_flows, &sock);

    if (!all || !flow || flow->conn != all->conn)
        return 0;
    if (flow->path)
        all->taken = mps_spread_taken(all->taken, flow->path - 1);
    if (flow->ifindex != all->ifindex || flow->since_ns < all->fresh)
        return 0;
    if (flow->trial)
        all->trying++;
    if (!flow->rate)
        return 0;
    all->nr++;
    all->rate += flow->rate;
    if (flow->rate < all->than)
        all->slower++;
    return 0;
}

/*
 * The list is read without its lock: what is read is checked for being of this connection, and a moment's mistake costs
 * two subflows on one path.
 */
__noinline int mps_sp_siblings(struct siblings *all) {
    struct mptcp_subflow_context *ctx;
    struct list_head *head, *node = NULL, *next;
    struct sock *conn, *tcp_sock;

    if (!all)
        return 0;
    head = (void *)all->conn + bpf_core_field_offset(struct mptcp_sock, conn_list);
    bpf_probe_read_kernel(&node, sizeof(node), head);
    for (__u32 i = 0; i < MOST_SUBFLOWS && node && node != head; i++) {
        ctx = (void *)node - bpf_core_field_offset(struct mptcp_subflow_context, node);
        conn = tcp_sock = NULL;
        bpf_core_read(&conn, sizeof(conn), &ctx->conn);
        if ((__u64)conn != all->conn)
            return 0;
        bpf_core_read(&tcp_sock, sizeof(tcp_sock), &ctx->tcp_sock);
        if ((__u64)tcp_sock != all->self)
            mps_sp_sibling(all, (__u64)tcp_sock);
        bpf_probe_read_kernel(&next, sizeof(next), node);
        node = next;
    }
    return 0;
}

/* The socket of its connection; 0: it is no subflow. */
static __always_inline __u64 connection_of(struct tcp_sock *tp) {
    struct mptcp_subflow_context *ctx = tp->inet_conn.icsk_ulp_data;
    struct sock *conn = NULL;

    if (!tp->is_mptcp || !ctx)
        return 0;
    bpf_core_read(&conn, sizeof(conn), &ctx->conn);
    return (__u64)conn;
}

static __always_inline struct mps_spread_route *route_of(__u32 by, __be16 peer_port, const __u8 *peer,
                                                         const __u8 *local) {
    struct mps_spread_key key = {.bits = MPS_SPREAD_KEY_BITS, .by = by, .peer_port = peer_port};

    __builtin_memcpy(key.peer, peer, 16);
    __builtin_memcpy(key.local, local, 16);
    return bpf_map_lookup_elem(&mps_sp_routes, &key);
}

#endif /* MPS_SPREAD_FLOWS_BPF_H */
