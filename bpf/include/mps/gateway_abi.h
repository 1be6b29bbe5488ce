/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * What the programs of `attach --role gateway` (bpf/src/gateway.bpf.c) and user space share: connections of other hosts whose packets pass
 * here. Nothing is in network byte order unless its type is __be16 or __be32.
 */
#ifndef MPS_GATEWAY_ABI_H
#define MPS_GATEWAY_ABI_H

#include <mps/datapath_abi.h>

/* Names of pins among those of the data path, there once an interface was attached in this role. */
#define MPS_MAP_GW_FLOWS "mps_gw_flows"
#define MPS_MAP_GW_CONNS "mps_gw_conns"
#define MPS_MAP_GW_PEERS "mps_gw_peers"
#define MPS_MAP_GW_TOKENS "mps_gw_tokens"
#define MPS_GATEWAY_MAP_PREFIX "mps_gw_"
#define MPS_MAP_GW_UPLINKS "mps_gw_uplinks"
#define MPS_PROG_GW_BACK "mps_gw_back"
#define MPS_PROG_GW_LOOK "mps_gw_look"

/* Handshakes under way; the one that was used last longest ago makes room. */
#define MPS_GATEWAY_HALF 8192
/* For each connection that there is room for: subflows of all together. */
#define MPS_GATEWAY_FLOWS_PER_CONN 4

/* The ends of a TCP connection in an order that does not depend on who sends: side 0 and 1. IPv4 as ::ffff:a.b.c.d. */
struct mps_gateway_key {
	__be32 address[2][4];
	__be16 port[2];
};

/* One direction of one subflow: what its sender sends. */
struct mps_gateway_way {
	__u64 bytes;        /* contents, each octet once */
	__u64 again_bytes;  /* contents that had passed before */
	__u64 last_ns;      /* of its last packet, by the coarse clock */
	__u64 ack_ns;       /* … and pure ACK */
	__u64 sample_ns;    /* a measurement of the round trip is under way since; 0: none is */
	__u32 sample_tsval; /* … until this is echoed */
	__u32 srtt_us;      /* from here to the receiver and back, smoothed as TCP does; 0: no sample yet */
	__u32 min_rtt_us;   /* the least of them */
	__u32 rttvar_us;    /* their mean deviation */
	__u32 next_seq;     /* behind the last octet that passed */
	__u32 ack;          /* acknowledged last … */
	__u32 tsval, tsecr; /* … with these timestamps … */
	__u16 window;       /* … and this window, as in the header */
	__u8 has_tstamp;
	__u8 fin;
	__u8 backup; /* the sender wishes the subflow to be a backup: MP_JOIN, MP_PRIO */
	__u8 has_mac;
	__u8 mac[MPS_MACS_LEN]; /* as its last pure ACK had them here */
	__u8 seen;              /* a packet of it behind the handshake was */
	__u8 has_delay;         /* delay_least means something */
	__u8 is_clock;          /* its timestamps count milliseconds */
	__u8 pad[3];
	__u64 wait_ns;     /* contents have waited for an acknowledgement since; by the coarse clock */
	__u64 first_ns;    /* of the first packet with a timestamp … */
	__u32 first_tsval; /* … which this was */
	__u32 delay_least; /* the least that was seen of what gateway_queue.bpf.h tells, in ms modulo 2^32 */
	__u32 delay_later; /* … since delay_ms, to take over from it */
	__u32 delay_ms;    /* ms modulo 2^32 */
	__u32 delay_now;   /* the least since window_ms */
	__u32 window_ms;
	__u32 queue_ms; /* by how much that was more than the least of all, in the last window */
	__u32 late_most; /* the farthest that contents were behind, see late_bytes, in octets of the connection */
	__u64 late_bytes; /* contents whose mapping begins before one of the connection that had passed already */
};

/* Value of mps_gw_flows, keyed by struct mps_gateway_key: a subflow whose handshake was seen whole. */
struct mps_gateway_flow {
	__u64 began_ns;
	__u64 unmetered; /* IP packets that have passed, in octets, and are not in mps_usage yet */
	__u32 conn;      /* token of the host that began the connection: key of mps_gw_conns */
	__u32 token[2];  /* of the host at this side */
	__u32 ifindex;   /* the attached interface where it passes */
	__u8 index;      /* of the subflow within its connection */
	__u8 initiator;  /* the side of the host that began the connection */
	__u8 out;        /* the side whose packets leave by the interface */
	__u8 grouped;    /* the connection has had more than one subflow */
	__u8 opener;     /* the side that sent the SYN */
	__u8 l3;         /* the interface has no link-layer header */
	__u8 path;       /* index of the interface in mps_paths */
	__u8 pad;
	struct mps_gateway_way way[2]; /* of what this side sends */
};

/* Of an attached interface, at the same index as its attributes: when known subflows last passed it, by the coarse clock. */
struct mps_gateway_uplink {
	__u64 in_ns;  /* anything arrived */
	__u64 out_ns; /* contents left */
};

/* Value of mps_gw_conns. */
struct mps_gateway_conn {
	__u64 began_ns;
	__u64 used;     /* bit i: subflow[i] is one; changed atomically */
	__u32 token[2]; /* of the host that began it, and of the other one */
	/* What each of them has sent: where the last mapping of the connection's data begins, modulo 2^32. */
	__u32 data_seq[2];
	__u32 has_data[2];
	struct mps_gateway_key subflow[MPS_SUBFLOW_ROWS];
};

/* Value of mps_gw_tokens, keyed by any of a connection's two tokens. */
struct mps_gateway_token {
	__u32 conn;      /* as in mps_gateway_flow */
	__u32 responder; /* it is that of the host which did not begin the connection */
};

#endif /* MPS_GATEWAY_ABI_H */
