/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The few kernel types the data path reads, only the members it reads. CO-RE finds their real offsets and
 * widths in the running kernel's BTF, so members may be listed in any order and a bit field here may be a
 * byte there.
 */
#ifndef MPS_KERNEL_BPF_H
#define MPS_KERNEL_BPF_H

#include <linux/bpf.h>
#include <linux/in6.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

#define AF_INET 2
#define AF_INET6 10
#define TCP_ESTABLISHED_STATE 1 /* include/net/tcp_states.h */
#define TCP_TIME_WAIT_STATE 6
#define TCP_CLOSE_STATE 7
#define TCP_CLOSE_WAIT_STATE 8
#define TCP_LISTEN_STATE 10
#define TCP_NEW_SYN_RECV_STATE 12

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct list_head {
	struct list_head *next, *prev;
};

struct kernfs_node {
	__u64 id;
	const char *name;
};

struct cgroup {
	int level;
	struct kernfs_node *kn;
	struct cgroup *ancestors[]; /* 6.1 (commit 7f203bc89eb6) */
};

struct sock_cgroup_data {
	struct cgroup *cgroup;
};

struct sock_common {
	__be32 skc_daddr;
	__be32 skc_rcv_saddr;
	__u64 skc_addrpair; /* skc_daddr and skc_rcv_saddr in one load … */
	__u32 skc_portpair; /* … and skc_dport and skc_num */
	__be16 skc_dport;
	__u16 skc_num;
	unsigned short skc_family;
	unsigned char skc_state;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
};

struct net_device {
	int ifindex;
	unsigned char addr_len;
	const unsigned char *dev_addr; /* 5.17 (commit adeef3e32146) */
};

struct dst_entry {
	struct net_device *dev;
};

typedef struct {
	__u32 val;
} kuid_t;

/* What BPF programs keep with a socket: a list of pieces, one for each map. */
struct hlist_node {
	struct hlist_node *next;
};

struct hlist_head {
	struct hlist_node *first;
};

struct bpf_local_storage {
	struct hlist_head list;
};

struct bpf_local_storage_data {
	void *smap;
	__u8 data[];
};

struct bpf_local_storage_elem {
	struct hlist_node snode;
	struct bpf_local_storage_data sdata;
};

struct sock {
	struct sock_common __sk_common;
	struct bpf_local_storage *sk_bpf_storage;
	struct dst_entry *sk_dst_cache;
	__u16 sk_type;
	__u16 sk_protocol;
	int sk_wmem_queued;
	unsigned long sk_pacing_rate;
	unsigned long sk_max_pacing_rate;
	int sk_rx_dst_ifindex;
	__u32 sk_mark;
	kuid_t sk_uid;
	struct sock_cgroup_data sk_cgrp_data;
};

struct inet_sock {
	struct sock sk;
};

struct sock;

/* Those that ours set. libbpf finds each in the kernel's by its name. */
struct tcp_congestion_ops {
	__u32 (*ssthresh)(struct sock *sk);
	void (*cong_avoid)(struct sock *sk, __u32 ack, __u32 acked);
	__u32 (*undo_cwnd)(struct sock *sk);
	__u32 flags;
	char name[16];
};

struct inet_connection_sock {
	struct inet_sock icsk_inet;
	const struct tcp_congestion_ops *icsk_ca_ops;
	void *icsk_ulp_data;
	__u64 icsk_ca_priv[13];
	__u8 icsk_retransmits;
	struct {
		__u32 lrcvtime;
	} icsk_ack;
};

struct tcp_options_received {
	__u32 ts_recent;
	__u32 rcv_tsval;
	__u32 rcv_tsecr;
	__u16 tstamp_ok : 1, snd_wscale : 4, rcv_wscale : 4;
};

struct minmax_sample {
	__u32 t, v;
};

struct minmax {
	struct minmax_sample s[3];
};

struct tcp_rack {
	__u32 rtt_us;
};

struct tcp_rcv_rtt {
	__u32 rtt_us; /* << 3 */
};

struct tcp_sock {
	struct inet_connection_sock inet_conn;
	__u64 bytes_acked;
	__u64 bytes_sent; /* with retransmissions */
	__u64 bytes_received;
	__u32 segs_in;
	__u32 segs_out;
	__u32 srtt_us; /* << 3 */
	__u32 mdev_us; /* << 2 */
	__u32 snd_cwnd;
	__u32 snd_ssthresh;
	__u32 snd_cwnd_cnt;
	__u32 max_packets_out;
	__u8 is_cwnd_limited : 1;
	__u32 packets_out;
	__u32 sacked_out;
	__u32 lost_out;
	__u32 retrans_out;
	__u32 mss_cache;
	__u32 write_seq;
	__u32 snd_nxt;
	__u32 snd_una;
	__u32 snd_wnd;
	__u32 snd_wl1;
	__u32 max_window;
	__u32 delivered;
	__u32 delivered_ce;
	__u32 lost;
	__u32 data_segs_out;
	__u32 total_retrans;
	__u32 rate_delivered; /* segments of the last sample … */
	__u32 rate_interval_us;
	__u8 rate_app_limited : 1;
	__u8 ecn_flags;
	struct tcp_rack rack;
	__u32 rcv_nxt;
	__u32 rcv_wup;
	__u32 rcv_wnd;
	struct tcp_rcv_rtt rcv_rtt_est;
	__u32 tsoffset;
	__u64 tcp_wstamp_ns;
	__u64 delivered_mstamp; /* us; when something was last delivered, or sent while nothing was under way */
	__u64 tcp_clock_cache; /* ns */
	__u8 tcp_usec_ts : 1;  /* 6.7 (commit 614e8316aa4c) */
	__u32 notsent_lowat;
	__u8 bpf_sock_ops_cb_flags;
	struct minmax rtt_min;
	struct tcp_options_received rx_opt;
	bool is_mptcp;
};

struct mptcp_subflow_context {
	struct list_head node;
	unsigned long avg_pacing_rate;
	__u32 token;
	__u32 request_join : 1, request_bkup : 1, backup : 1, stale : 1, fully_established : 1;
	__u32 mp_capable : 1, mp_join : 1; /* what the peer agreed to */
	__u32 subflow_id;                  /* 6.5 (commit 4f6e14bd19d6) */
	struct sock *tcp_sock;
	struct sock *conn;
};

struct mptcp_sock {
	struct inet_connection_sock sk;
	__u64 write_seq;
	__u64 snd_nxt;
	__u64 snd_una;
	__u64 wnd_end;
	__u32 token;
	struct list_head conn_list;
};

struct seq_file;

struct bpf_iter_meta {
	struct seq_file *seq;
};

struct bpf_iter__tcp {
	struct bpf_iter_meta *meta;
	struct sock_common *sk_common;
};

#pragma clang attribute pop

/* 6.2 (commit a35b9af4ec2c). Drop the probe_read way when 6.1 leaves kernels.toml. */
extern void *bpf_rdonly_cast(const void *obj, __u32 btf_id) __ksym __weak;

/* Set before load: this kernel has bpf_rdonly_cast, so members are read without a helper call each. */
const volatile __u8 mps_rdonly_cast = 0;

/* A pointer whose members READ() may read. `cast` is a compile-time constant at every call. */
#define KPTR(type, ptr, cast)                                                                                \
	((cast) ? (type *)bpf_rdonly_cast((ptr), bpf_core_type_id_kernel(type)) : (type *)(ptr))

#define READ(ptr, member, cast)                                                                              \
	({                                                                                                   \
		typeof((ptr)->member) v_;                                                                    \
		if (cast)                                                                                    \
			v_ = (ptr)->member;                                                                  \
		else                                                                                         \
			bpf_core_read(&v_, sizeof(v_), &(ptr)->member);                                      \
		v_;                                                                                          \
	})

#define READ_BITS(ptr, member, cast)                                                                         \
	((cast) ? BPF_CORE_READ_BITFIELD(ptr, member) : BPF_CORE_READ_BITFIELD_PROBED(ptr, member))

/* The device as which IP last received for this socket: of a stack of devices the topmost. 0: none yet. */
static __always_inline __u32 socket_rx_ifindex(struct sock *sk)
{
	int ifindex = 0;

	bpf_core_read(&ifindex, sizeof(ifindex), &sk->sk_rx_dst_ifindex);
	return ifindex;
}

/*
 * The interface a subflow uses: where it last received, or, if it has received nothing since its handshake
 * (sk_rx_dst is set by the first segment in ESTABLISHED), where it sends.
 */
static __always_inline __u32 socket_ifindex(struct sock *sk)
{
	__u32 ifindex = socket_rx_ifindex(sk);
	struct dst_entry *dst = NULL;

	if (ifindex)
		return ifindex;
	bpf_core_read(&dst, sizeof(dst), &sk->sk_dst_cache);
	return dst ? BPF_CORE_READ(dst, dev, ifindex) : 0;
}

#endif /* MPS_KERNEL_BPF_H */
