/* SPDX-License-Identifier: GPL-2.0-only */
/* The MPTCP subflows of a network namespace, for user space. */
#ifndef MPS_DUMP_BPF_H
#define MPS_DUMP_BPF_H

#include "maps.bpf.h"
#include "view.bpf.h"
#include "rules.bpf.h"

/* Dumps every MPTCP subflow of the reader's network namespace as a stream of struct mps_subflow_record. */
SEC("iter/tcp") int mps_dump(struct bpf_iter__tcp *it)
{
	struct sock_common *sc = it->sk_common;
	struct mps_subflow_record rec = {};
	struct mps_subflow_ref ref = {};
	struct mptcp_subflow_context *ctx;
	struct tcp_sock *tp;
	struct sock *sk;
	__u32 wscale;

	if (!sc)
		return 0;
	tp = bpf_skc_to_tcp_sock(sc);
	if (!tp || !tp->is_mptcp)
		return 0;
	ctx = tp->inet_conn.icsk_ulp_data;
	if (!ctx)
		return 0;
	sk = &tp->inet_conn.icsk_inet.sk;
	rec.state = sc->skc_state;
	if (rec.state == 10) /* TCP_LISTEN: a listener is no subflow */
		return 0;
	rec.abi = MPS_ABI_VERSION;
	rec.sk = (__u64)tp;
	rec.token = READ(ctx, token, false);
	rec.is_ipv6 = sc->skc_family == AF_INET6;
	put_endpoint(rec.local, sc, rec.is_ipv6, false);
	put_endpoint(rec.remote, sc, rec.is_ipv6, true);
	rec.local_port = sc->skc_num;
	rec.remote_port = bpf_ntohs(sc->skc_dport);
	rec.rx_ifindex = socket_ifindex(sk);
	rec.mark = sk->sk_mark;
	rec.rcv_nxt = tp->rcv_nxt;
	rec.snd_una = tp->snd_una;
	rec.tsval = tp->rx_opt.ts_recent;
	rec.tsecr = tp->rx_opt.rcv_tsecr;
	rec.has_tstamp = READ_BITS(tp, rx_opt.tstamp_ok, false);
	wscale = READ_BITS(tp, rx_opt.snd_wscale, false) & 15;
	rec.window = tp->snd_wnd >> wscale;
	rec.fully_established = READ_BITS(ctx, fully_established, false);
	rec.plain = rec.state == TCP_ESTABLISHED_STATE &&
		    !(READ_BITS(ctx, mp_capable, false) | READ_BITS(ctx, mp_join, false));
	ref.ctx = (__u64)ctx;
	ref.tp = (__u64)tp;
	read_subflow(&rec.view, &ref, false);
	rec.view.ifindex = rec.rx_ifindex;
	rec.bytes_received = tp->bytes_received;
	rec.notsent_lowat = tp->notsent_lowat;
	rec.max_pacing_rate = sk->sk_max_pacing_rate;
	bpf_seq_write(it->meta->seq, &rec, sizeof(rec));
	return 0;
}

#endif /* MPS_DUMP_BPF_H */
