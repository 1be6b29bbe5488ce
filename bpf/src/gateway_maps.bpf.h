/* SPDX-License-Identifier: GPL-2.0-only */
/* The maps of the gateway's programs beside those of the data path, and what is known of the packet at hand. */
#ifndef MPS_GATEWAY_MAPS_BPF_H
#define MPS_GATEWAY_MAPS_BPF_H

#include "maps.bpf.h"
#include "parse.bpf.h"
#include <mps/gateway_abi.h>

/* A handshake of which the third packet has not come yet. */
struct gateway_half {
	__u64 key;       /* MP_CAPABLE: of who answers */
	__u32 token;     /* MP_JOIN: of who answers */
	__u32 isn[2];    /* by side */
	__u64 at_ns;     /* when its last packet passed; 0: it passed twice */
	__u32 rtt_us[2]; /* from here to who answers this side, once measured */
	__u32 ifindex;
	__u8 subtype;
	__u8 side;     /* whose SYN it is */
	__u8 out;      /* it left here */
	__u8 answered; /* the SYN/ACK has passed, the other way */
	__u8 backup[2];
	__u8 pad[2];
};

/* What is forged fills this one and nothing else. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, MPS_GATEWAY_HALF);
	__type(key, struct mps_gateway_key);
	__type(value, struct gateway_half);
} mps_gw_half SEC(".maps");

/* Never evicted. The loader sets the sizes of the following. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, MPS_DEFAULT_CONNS *MPS_GATEWAY_FLOWS_PER_CONN);
	__type(key, struct mps_gateway_key);
	__type(value, struct mps_gateway_flow);
} mps_gw_flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, MPS_DEFAULT_CONNS);
	__type(key, __u32);
	__type(value, struct mps_gateway_conn);
} mps_gw_conns SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, MPS_DEFAULT_CONNS * 2);
	__type(key, __u32);
	__type(value, struct mps_gateway_token);
} mps_gw_tokens SEC(".maps");

/*
 * Who has a place in mps_gw_conns, as in mps_places. What a record of mps_gw_conns has there: its key, or 0.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MPS_DEFAULT_CONNS);
	__type(key, __u32);
	__type(value, __u64);
} mps_gw_places SEC(".maps");

/* Where the next search for a place begins. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} mps_gw_hand SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MPS_MAX_PATHS);
	__type(key, __u32);
	__type(value, struct mps_gateway_uplink);
} mps_gw_uplinks SEC(".maps");

/*
 * What each end of a connection receives, that is what the other one sends, keyed by its token: as mps_peers has it where the end itself is
 * steered.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, MPS_DEFAULT_CONNS * 2);
	__type(key, __u32);
	__type(value, struct mps_peer);
} mps_gw_peers SEC(".maps");

/* A load with a length that the verifier cannot follow stays within it. */
#define GATEWAY_OPTION_BYTES 64

/*
 * The packet at hand. Not on the stack, which has no room for it, and fetched anew by each function that is verified on its own: 6.1 takes
 * no key or value of a map from memory that was handed on to one.
 */
struct gateway_work {
	struct mps_gateway_key key;
	__u32 side; /* the sender's */
	__u32 ifindex;
	__u32 out; /* it leaves here */
	__u32 mark;
	__u64 now_ns;
	struct mps_packet pkt;
	__u8 option[GATEWAY_OPTION_BYTES];
	struct gateway_half half;
	struct mps_gateway_flow flow;
	struct mps_gateway_conn conn;
	struct mps_gateway_token token;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct gateway_work);
} mps_gw_work SEC(".maps");

static __always_inline struct gateway_work *get_work(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&mps_gw_work, &zero);
}

/* After a comparison of sides the compiler may go on with the other one's number, of which 6.1 does not know that it is 0 or 1. */
static __always_inline __u32 bounded_side(__u32 side)
{
	barrier_var(side);
	return side & 1;
}

#endif /* MPS_GATEWAY_MAPS_BPF_H */
