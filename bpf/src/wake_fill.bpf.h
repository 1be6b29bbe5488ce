/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What an injected ACK says: its addresses and numbers, from the socket of its subflow.
 */
#ifndef MPS_WAKE_FILL_BPF_H
#define MPS_WAKE_FILL_BPF_H

#include "maps.bpf.h"
#include "view.bpf.h"

struct mps_wake_order {
	__u64 now_ns;
	__u64 patience_ns; /* how much longer than WAKE_EXPIRE_NS it may wait for a packet */
	__u32 after_seq;   /* the sequence number behind the packet that it follows, if `follows` */
	__u8 backup;
	__u8 l3;
	__u8 follows;
	__u8 pad;
};

/* Addresses and ports, the other way round: as if the peer had sent it. */
static __always_inline void address_as_peer(struct mps_wake *w, struct sock *sk)
{
	__u16 family = 0, num = 0;

	bpf_core_read(&family, sizeof(family), &sk->__sk_common.skc_family);
	w->is_ipv6 = family == AF_INET6;
	/* A dual-stack listener's subflow is AF_INET6 with IPv4-mapped addresses on an IPv4 wire. */
	if (family == AF_INET6) {
		struct in6_addr a;

		bpf_core_read(&a, sizeof(a), &sk->__sk_common.skc_v6_daddr);
		w->is_ipv6 =
			!(a.s6_addr32[0] == 0 && a.s6_addr32[1] == 0 && a.s6_addr32[2] == bpf_htonl(0xffff));
	}
	if (w->is_ipv6) {
		bpf_core_read(&w->saddr, sizeof(w->saddr), &sk->__sk_common.skc_v6_daddr);
		bpf_core_read(&w->daddr, sizeof(w->daddr), &sk->__sk_common.skc_v6_rcv_saddr);
	} else {
		bpf_core_read(&w->saddr[0], sizeof(__be32), &sk->__sk_common.skc_daddr);
		bpf_core_read(&w->daddr[0], sizeof(__be32), &sk->__sk_common.skc_rcv_saddr);
	}
	bpf_core_read(&w->sport, sizeof(w->sport), &sk->__sk_common.skc_dport);
	bpf_core_read(&num, sizeof(num), &sk->__sk_common.skc_num);
	w->dport = bpf_htons(num);
}

/* What an ACK of the peer would say now, or that of the packet which `order` follows. */
static __always_inline void number_as_peer(struct mps_wake *w, struct tcp_sock *tp,
					   const struct mps_wake_order *order)
{
	__u32 snd_wnd = 0, wscale;

	bpf_core_read(&w->seq, sizeof(w->seq), &tp->rcv_nxt);
	bpf_core_read(&w->ack, sizeof(w->ack), &tp->snd_una);
	bpf_core_read(&w->tsval, sizeof(w->tsval), &tp->rx_opt.ts_recent);
	bpf_core_read(&w->tsecr, sizeof(w->tsecr), &tp->rx_opt.rcv_tsecr);
	w->has_tstamp = READ_BITS(tp, rx_opt.tstamp_ok, false);
	if (order->follows) {
		if ((__s32)(order->after_seq - w->seq) > 0)
			w->seq = order->after_seq;
		w->has_tstamp = 0;
	}
	wscale = READ_BITS(tp, rx_opt.snd_wscale, false) & 15;
	bpf_core_read(&snd_wnd, sizeof(snd_wnd), &tp->snd_wnd);
	snd_wnd >>= wscale;
	w->window = snd_wnd > 0xffff ? 0xffff : snd_wnd;
}

#endif
