/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* What `mpsched proxy` and its programs (bpf/src/proxy.bpf.c) share. */
#ifndef MPS_PROXY_ABI_H
#define MPS_PROXY_ABI_H

#include <linux/types.h>

/* Of packets that go to the relay, whatever address they are for: a rule and a route make that of it. "mp" */
#define MPS_PROXY_MARK 0x6d705078u

#define MPS_PROXY_LANS 16
#define MPS_PROXY_PORTS 32

/* Keys of mps_listeners. */
enum mps_proxy_family {
	MPS_PROXY_IPV4,
	MPS_PROXY_IPV6,
	MPS_PROXY_FAMILIES,
};

/* Keys of mps_proxy_counts: what became of SYNs. */
enum mps_proxy_count {
	MPS_PROXY_TAKEN,    /* went to the relay */
	MPS_PROXY_MPTCP,    /* speaks MPTCP itself */
	MPS_PROXY_NO_RELAY, /* there was no relay to take it */
	MPS_PROXY_FAILED,   /* the kernel did not hand it over */
	MPS_PROXY_COUNTS,
};

#endif /* MPS_PROXY_ABI_H */
