/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* What `mpsched spread` and its programs (spread/) share. */
#ifndef MPS_SPREAD_ABI_H
#define MPS_SPREAD_ABI_H

#include <linux/types.h>

/* Names of pins below spread/ of an installation. */
#define MPS_MAP_SPREAD_CONFIG "mps_sp_config"
#define MPS_MAP_SPREAD_ROUTES "mps_sp_routes"
#define MPS_MAP_SPREAD_FLOWS "mps_sp_flows"
#define MPS_MAP_SPREAD_PORTS "mps_sp_ports"
#define MPS_MAP_SPREAD_LINKS "mps_sp_links"

#define MPS_SPREAD_PATHS 16  /* of one pair of addresses */
#define MPS_SPREAD_VALUES 16 /* labels or ports of one path */
#define MPS_SPREAD_ROUTES 1024
#define MPS_SPREAD_FLOWS 16384
#define MPS_SPREAD_PORTS 4096
#define MPS_SPREAD_LINKS 64

enum mps_spread_by {
	MPS_SPREAD_BY_LABEL = 1, /* IPv6 flow label */
	MPS_SPREAD_BY_PORT = 2,  /* TCP source port */
};

enum mps_spread_flag {
	MPS_SPREAD_LABELS = 1u << 0, /* subflows over IPv6 get labels */
	MPS_SPREAD_MOVE = 1u << 1,   /* and other ones while they live and are slow */
};

struct mps_spread_config {
	__u32 flags;
	__u32 period_ms; /* between two looks at one subflow */
	__u64 moved;
	__u64 ports_given;
	__u64 ports_exhausted; /* the kernel has chosen, since all ports of the map were taken */
};

/* Of a longest-prefix match: all of the first two, then as many bits of the addresses. IPv4 as ::ffff:a.b.c.d. */
struct mps_spread_key {
	__u32 bits;
	__u16 by;         /* enum mps_spread_by */
	__be16 peer_port; /* of ports; 0 of labels */
	__u8 peer[16];
	__u8 local[16]; /* zero: not known yet, the kernel is to choose it */
};
#define MPS_SPREAD_KEY_BITS 288 /* all of it but `bits` */

struct mps_spread_path {
	__u32 nr;
	__u32 value[MPS_SPREAD_VALUES];
};

struct mps_spread_route {
	__u32 nr;     /* of paths, at least 1 */
	__u32 next;   /* which path the next connection begins with */
	__u32 usable; /* bits of those that have a value */
	struct mps_spread_path path[MPS_SPREAD_PATHS];
};

/* A subflow, by the address of its socket. */
struct mps_spread_flow {
	__u64 conn;       /* its connection: another one at the same address is another subflow */
	__u16 local_port; /* host order */
	__u16 peer_port;
	__u32 ifindex;
	__u32 label;    /* 0: it was given none */
	__u32 path;     /* 1 + number of the path in the map; 0: no map tells */
	__u32 by_port;  /* its source port was given */
	__u32 moves;    /* other labels that it got because it was slow, those that did not pay as well */
	__u64 since_ns; /* of the stretch of time that is being measured */
	__u64 bytes;    /* acknowledged until then */
	__u64 rate;     /* bytes/s in the stretch before it */
	/* While it tries another label: how many looks are left, what it comes back to, and what all siblings had with that, bytes/s. */
	__u32 trial;
	__u32 old_label;
	__u32 old_path;
	__u32 pad;
	__u64 old_rate;
};
#define MPS_SPREAD_TRIAL 2 /* looks: the first one has the change itself in it */

/* A source port that was given to a subflow. */
struct mps_spread_port {
	__u64 since_ns;
	__u16 peer_port;
	__u16 path;     /* as in mps_spread_flow */
	__u32 family;   /* AF_INET, AF_INET6 */
	__u8 local[16]; /* zero until the first packet */
	__u8 peer[16];
};

/* An interface, by its index. */
struct mps_spread_link {
	__u64 speed; /* bytes/s; 0: not known */
	__u64 since_ns;
	__u64 bytes_then;
	__u64 rate; /* bytes/s, of all that leaves there */
	__u64 bytes;
};

/* A subflow as mps_sp_list tells of it. */
struct mps_spread_row {
	__u8 local[16];
	__u8 peer[16];
	__u32 token;
	__u32 pad;
	struct mps_spread_flow flow;
};

/* The same for every compiler that reads this. */
static_assert(sizeof(struct mps_spread_config) == 32, "mps_spread_config");
static_assert(sizeof(struct mps_spread_key) == 4 + MPS_SPREAD_KEY_BITS / 8, "mps_spread_key");
static_assert(sizeof(struct mps_spread_route) == 12 + MPS_SPREAD_PATHS * 4 * (1 + MPS_SPREAD_VALUES),
	      "mps_spread_route");
static_assert(sizeof(struct mps_spread_flow) == 80, "mps_spread_flow");
static_assert(sizeof(struct mps_spread_port) == 48, "mps_spread_port");
static_assert(sizeof(struct mps_spread_link) == 40, "mps_spread_link");
static_assert(sizeof(struct mps_spread_row) == 120, "mps_spread_row");

#endif /* MPS_SPREAD_ABI_H */
