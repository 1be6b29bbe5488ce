/* SPDX-License-Identifier: GPL-2.0-only */
/* Which network namespace a socket belongs to, for programs that see those of all. */
#ifndef MPS_SOCKET_NETNS_BPF_H
#define MPS_SOCKET_NETNS_BPF_H

#include "kernel.bpf.h"

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct net {
	__u64 net_cookie;
};

typedef struct {
	struct net *net;
} possible_net_t;

struct sock_common___net {
	possible_net_t skc_net;
};

#pragma clang attribute pop

/* Set before load: that of the installation. */
const volatile __u64 mps_netns_cookie = 0;

static __always_inline bool is_of_this_netns(const struct sock *sk)
{
	return BPF_CORE_READ((struct sock_common___net *)sk, skc_net.net, net_cookie) == mps_netns_cookie;
}

#endif /* MPS_SOCKET_NETNS_BPF_H */
