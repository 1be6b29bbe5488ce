/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Sockets that are bound to a VRF. The kernel's lookup goes by the device that the packet is on, and on the VRF's member
 * that is the member: neither XDP nor TC finds them there (6.1 to 7.2; from 6.6 on the lookup knows that the device is a
 * member, but not of which VRF). The VRF itself has no hook on the way in. But it has one on the way out, and what is
 * sent to it comes there at once: so the member's program sends a clone, the program at the VRF finds the socket, since the
 * clone is on the VRF, decides as the member's would have, and drops it. Then the member's program does what was decided.
 */
#ifndef MPS_VRF_BPF_H
#define MPS_VRF_BPF_H

#include "maps.bpf.h"
#include "parse.bpf.h"
#include "view.bpf.h"

/* ifindex of an attached member -> ifindex of its VRF. Only members whose whole program is in TC. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MPS_MAX_PATHS);
	__type(key, __u32);
	__type(value, __u32);
} mps_vrfs SEC(".maps");

enum mps_vrf_state {
	VRF_QUIET, /* what the program at the VRF sees is no clone of ours */
	VRF_ASKED,
	VRF_ANSWERED, /* nothing to decide, and counted why */
	VRF_DECIDED,
};

/* Between the two programs: both run on this CPU, one inside of the other. */
struct mps_vrf_call {
	struct mps_packet pkt;
	struct mps_pass pass;
	__s32 want;
	__u32 state; /* enum mps_vrf_state */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct mps_vrf_call);
} mps_vrf_calls SEC(".maps");

static __always_inline struct mps_vrf_call *get_vrf_call(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&mps_vrf_calls, &zero);
}

/* The VRF in which to look for the socket as well, 0 if this interface is in none. */
static __always_inline __u32 mps_vrf_of(__u32 ifindex)
{
	__u32 *vrf = bpf_map_lookup_elem(&mps_vrfs, &ifindex);

	return vrf ? *vrf : 0;
}

/* Has the VRF's program decide. If it does, `p` is what it has found out, and the want is in the call. */
__noinline int mps_ask_vrf(struct __sk_buff *skb, const struct mps_packet *pkt, struct mps_pass *p)
{
	struct mps_vrf_call *call = get_vrf_call();
	__u32 state;

	if (!call || !pkt || !p)
		return VRF_QUIET;
	call->pkt = *pkt;
	call->pass = *p;
	call->state = VRF_ASKED;
	bpf_clone_redirect(skb, p->vrf, 0);
	state = call->state;
	call->state = VRF_QUIET;
	if (state == VRF_DECIDED)
		*p = call->pass;
	return state;
}

/* The socket may be bound to the VRF: what the program there decides, as decide() would have. */
static __always_inline struct mps_conn *ask_vrf(struct __sk_buff *skb, const struct mps_packet *pkt,
						struct mps_pass *p, struct mps_counters *counters,
						const struct mps_view *view, int *want)
{
	struct mps_vrf_call *call = get_vrf_call();
	__u32 token, state = mps_ask_vrf(skb, pkt, p);

	/* The clone did not get there: the VRF or our program is gone, or the packet has no link-layer header. */
	if (state == VRF_ASKED)
		COUNT(counters, NO_SOCKET);
	if (!call || state != VRF_DECIDED)
		return NULL;
	*want = call->want;
	token = view->token; /* the scratch memory is this CPU's: the VRF's program has filled it */
	return bpf_map_lookup_elem(&mps_conns, &token);
}

#endif /* MPS_VRF_BPF_H */
