// SPDX-License-Identifier: GPL-2.0-only
/*
 * `mpsched spread`: subflows of one connection on different ones of several paths of equal cost. Routers choose among those by a hash of what a
 * packet's header has: the IPv6 flow label, the TCP ports. Labels are written at TC egress, where no checksum covers them and
 * a subflow may have another one at any time; ports are chosen when a subflow is made (ports.bpf.h).
 *
 * These programs are not part of the data path, need none of it and stand beside it.
 */
#include "flows.bpf.h"
#include "ports.bpf.h"
#include <linux/if_ether.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>

char LICENSE[] SEC("license") = "GPL";

static __always_inline __u32 new_label(void) {
    __u32 label = bpf_get_prandom_u32() & 0xfffff;

    return label ? label : 1;
}

/* Why a subflow gets a label. */
enum why {
    IS_NEW,
    IS_SLOW,
    IS_STUCK, /* its path may be dead: anything is better */
};

/* A label, and the path if a map tells of one. False: the subflow is slow, and there is no better path. */
static __always_inline bool choose_label(struct mps_spread_flow *flow, struct siblings *all,
                                         struct tcp_sock *tp, enum why why) {
    struct mps_spread_route *route;
    struct mps_spread_path *path;
    __u8 local[16], peer[16];
    __u32 number, start;

    put_addresses(local, peer, (struct sock *)tp);
    route = route_of(MPS_SPREAD_BY_LABEL, 0, peer, local);
    if (route && route->nr) {
        start = why != IS_NEW ? flow->path : all->taken ? 0 : __sync_fetch_and_add(&route->next, 1);
        number = mps_spread_pick(all->taken, route->nr, route->usable, start,
                                 why != IS_NEW && flow->path ? flow->path - 1 : MPS_SPREAD_PATHS);
        if (why == IS_SLOW && flow->path && !mps_spread_gains(all->taken, flow->path - 1, number))
            return false;
        path = &route->path[number & (MPS_SPREAD_PATHS - 1)];
        if (path->nr) {
            flow->label = path->value[bpf_get_prandom_u32() % path->nr & (MPS_SPREAD_VALUES - 1)];
            flow->path = number + 1;
            return true;
        }
    }
    flow->path = 0;
    flow->label = new_label();
    return true;
}

static __always_inline void begin(struct mps_spread_flow *flow, struct tcp_sock *tp, __u64 conn,
                                  __u32 ifindex, bool labels) {
    struct siblings all = {.conn = conn, .self = (__u64)tp};
    struct mps_spread_port *port;
    __u32 number;

    flow->conn = conn;
    flow->local_port = tp->inet_conn.icsk_inet.sk.__sk_common.skc_num;
    flow->peer_port = bpf_ntohs(tp->inet_conn.icsk_inet.sk.__sk_common.skc_dport);
    flow->ifindex = ifindex;
    flow->since_ns = bpf_ktime_get_ns();
    flow->bytes = tp->bytes_acked;
    number = flow->local_port;
    port = bpf_map_lookup_elem(&mps_sp_ports, &number);
    if (port && port->peer_port == flow->peer_port) {
        flow->by_port = 1;
        flow->path = port->path;
        put_addresses(port->local, port->peer, (struct sock *)tp);
        return;
    }
    if (!labels)
        return;
    mps_sp_siblings(&all);
    choose_label(flow, &all, tp, IS_NEW);
}

/* What leaves by the interface, in stretches of one period. */
static __always_inline void count_link(struct mps_spread_link *link, __u64 now, __u64 period, __u32 len) {
    __u64 bytes = __sync_fetch_and_add(&link->bytes, len) + len, since = link->since_ns;

    if (now - since < period || __sync_val_compare_and_swap(&link->since_ns, since, now) != since)
        return;
    if (since)
        link->rate = (bytes - link->bytes_then) * 1000 / ((now - since) / NS_PER_MS + 1);
    link->bytes_then = bytes;
}

/* Back to the label that it had, unless the other one has paid. */
static __always_inline void end_trial(struct mps_spread_flow *flow, __u64 rate) {
    if (mps_spread_pays(flow->old_rate, rate))
        return;
    flow->label = flow->old_label;
    flow->path = flow->old_path;
}

static __always_inline void move(struct mps_spread_flow *flow, struct mps_spread_config *config,
                                 struct siblings *all, struct tcp_sock *tp, enum why why) {
    __u32 label = flow->label, path = flow->path;

    if (!choose_label(flow, all, tp, why))
        return;
    if (why == IS_SLOW) {
        flow->trial = MPS_SPREAD_TRIAL;
        flow->old_label = label;
        flow->old_path = path;
        flow->old_rate = flow->rate + all->rate;
    }
    flow->moves++;
    __sync_fetch_and_add(&config->moved, 1);
}

/* Once in a period: how much of it was acknowledged, and whether it is to take another path. */
static __always_inline void measure(struct mps_spread_flow *flow, struct mps_spread_config *config,
                                    struct mps_spread_link *link, struct tcp_sock *tp, __u64 now,
                                    __u64 period) {
    struct siblings all = {.conn = flow->conn, .self = (__u64)tp, .ifindex = flow->ifindex};
    struct mps_spread_look look = {};
    __u64 acked = tp->bytes_acked;
    enum why why = IS_SLOW;

    flow->rate = (acked - flow->bytes) * 1000 / ((now - flow->since_ns) / NS_PER_MS + 1);
    flow->bytes = acked;
    flow->since_ns = now;
    if (!flow->label || !(config->flags & MPS_SPREAD_MOVE))
        return; /* where labels are for life, they are so on dead paths as well */
    all.than = flow->rate;
    all.fresh = now - 3 * period;
    mps_sp_siblings(&all);
    look.rate = flow->rate;
    look.siblings_rate = all.rate;
    look.siblings = all.nr;
    look.slower = all.slower;
    look.trying = all.trying;
    look.link_rate = link->rate;
    look.link_speed = link->speed;
    look.limited = BPF_CORE_READ_BITFIELD(tp, is_cwnd_limited);
    /*
     * The kernel takes another label of its own when its retransmissions are not answered (sk_rethink_txhash), which ours hides. Else by a
     * coin, so that the subflows of two hosts that share a path do not leave it together.
     */
    if (tp->inet_conn.icsk_retransmits) {
        flow->trial = 0;
        why = IS_STUCK;
    } else if (flow->trial) {
        if (!--flow->trial)
            end_trial(flow, flow->rate + all.rate);
        return;
    } else if (!mps_spread_is_slow(&look) || (bpf_get_prandom_u32() & 1)) {
        return;
    }
    move(flow, config, &all, tp, why);
}

static __always_inline void write_label(struct __sk_buff *skb, __u32 offset, __u32 label) {
    __u8 octets[3] = {};

    if (bpf_skb_load_bytes(skb, offset + 1, octets, 1))
        return;
    octets[0] = (octets[0] & 0xf0) | (label >> 16 & 15);
    octets[1] = label >> 8;
    octets[2] = label;
    bpf_skb_store_bytes(skb, offset + 1, octets, sizeof(octets), 0);
}

/*
 * The address of a socket that is gone, or one that has left by another interface for a while. Packets that pass two interfaces, a VLAN's
 * and the one below, are measured at the first.
 */
static __always_inline bool is_another(struct mps_spread_flow *flow, struct tcp_sock *tp, __u32 ifindex,
                                       __u64 now, __u64 period) {
    return flow->local_port != tp->inet_conn.icsk_inet.sk.__sk_common.skc_num ||
           (flow->ifindex != ifindex && now - flow->since_ns >= 3 * period);
}

static __always_inline int leave(struct __sk_buff *skb, __u32 offset) {
    struct mps_spread_flow fresh = {}, *flow;
    struct mps_spread_config *config = config_now();
    struct mps_spread_link *link;
    struct bpf_sock *sk = skb->sk;
    __u64 key, conn, now, period;
    __u32 ifindex = skb->ifindex;
    struct tcp_sock *tp;

    link = bpf_map_lookup_elem(&mps_sp_links, &ifindex);
    if (!config || !link)
        return TC_ACT_UNSPEC;
    now = bpf_ktime_get_ns();
    period = config->period_ms * NS_PER_MS;
    count_link(link, now, period, skb->wire_len); /* with a header for each segment */
    if (!sk)
        return TC_ACT_UNSPEC;
    tp = bpf_skc_to_tcp_sock(sk);
    if (!tp)
        return TC_ACT_UNSPEC;
    conn = connection_of(tp);
    if (!conn)
        return TC_ACT_UNSPEC;
    key = (__u64)tp;
    flow = bpf_map_lookup_elem(&mps_sp_flows, &key);
    if (!flow || flow->conn != conn || is_another(flow, tp, ifindex, now, period)) {
        begin(&fresh, tp, conn, ifindex,
              skb->protocol == bpf_htons(ETH_P_IPV6) && (config->flags & MPS_SPREAD_LABELS));
        bpf_map_update_elem(&mps_sp_flows, &key, &fresh, BPF_ANY);
        flow = bpf_map_lookup_elem(&mps_sp_flows, &key);
        if (!flow)
            return TC_ACT_UNSPEC;
    } else if (flow->ifindex == ifindex && now - flow->since_ns >= period) {
        measure(flow, config, link, tp, now, period);
    }
    if (!flow->label && !flow->by_port)
        return TC_ACT_UNSPEC;
    if (flow->label && skb->protocol == bpf_htons(ETH_P_IPV6))
        write_label(skb, offset, flow->label);
    /*
     * The hash that the sender's kernel has stored is of the flow as it was. Routers, bridges and bonds on the same machine go by it
     * instead of looking at the packet.
     */
    bpf_set_hash_invalid(skb);
    return TC_ACT_UNSPEC;
}

SEC("tc") int mps_sp_out_eth(struct __sk_buff *skb) { return leave(skb, ETH_HLEN); }

SEC("tc") int mps_sp_out_l3(struct __sk_buff *skb) { return leave(skb, 0); }

/* Tells of every subflow of the reader's network namespace that these programs know. */
SEC("iter/tcp") int mps_sp_list(struct bpf_iter__tcp *it) {
    struct sock_common *sc = it->sk_common;
    struct mptcp_subflow_context *ctx;
    struct mps_spread_row row = {};
    struct mps_spread_flow *flow;
    struct tcp_sock *tp;
    __u64 key, conn;

    if (!sc)
        return 0;
    tp = bpf_skc_to_tcp_sock(sc);
    if (!tp)
        return 0;
    conn = connection_of(tp);
    key = (__u64)tp;
    flow = conn ? bpf_map_lookup_elem(&mps_sp_flows, &key) : NULL;
    if (!flow || flow->conn != conn || flow->local_port != sc->skc_num)
        return 0;
    ctx = tp->inet_conn.icsk_ulp_data;
    row.token = READ(ctx, token, false);
    row.flow = *flow;
    put_addresses(row.local, row.peer, (struct sock *)tp);
    bpf_seq_write(it->meta->seq, &row, sizeof(row));
    return 0;
}
