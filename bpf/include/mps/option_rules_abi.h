/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * What `mpsched rule` and its programs (bpf/src/option_rules.bpf.c) share. The table lies in a map of its own, which is replaced as a whole: a
 * packet is judged by the rules before a change or by those after it, never by some of each.
 */
#ifndef MPS_OPTION_RULES_ABI_H
#define MPS_OPTION_RULES_ABI_H

#include <linux/types.h>

#define MPS_MAX_OPTION_RULES 64

/* Joins of one connection that are told apart; Linux opens no more than eight subflows beside the first (MPTCP_SUBFLOWS_MAX). */
#define MPS_OPTION_JOINS 16
/* Connections whose joins are remembered; the one that had none for longest makes room. */
#define MPS_OPTION_JOIN_TABLE 4096

/* Names of pins below rules/ of an installation, and of the programs. */
#define MPS_MAP_OPTION_RULES "mps_orules"
#define MPS_MAP_OPTION_HITS "mps_orule_hits"
#define MPS_MAP_OPTION_JOINS "mps_orule_joins"

enum mps_option_direction {
	MPS_OPTION_IN = 0,
	MPS_OPTION_OUT = 1,
};

/* Which packet of a connection it is; a rule has a set of them. */
enum mps_option_state {
	MPS_OPTION_SYN = 1,
	MPS_OPTION_SYNACK = 2,
	MPS_OPTION_ESTABLISHED = 4, /* any other */
};

enum mps_option_action {
	MPS_OPTION_ALLOW = 0,
	MPS_OPTION_NEUTRALISE = 1,
	MPS_OPTION_REFUSE = 2, /* MP_CAPABLE of a handshake: the connection is plain TCP */
	MPS_OPTION_SET_BACKUP = 3,
	MPS_OPTION_CLEAR_BACKUP = 4,
};

/* An address under a mask, in network order; IPv4 as ::ffff:a.b.c.d. */
struct mps_option_prefix {
	__u32 address[4];
	__u32 mask[4];
	__u8 family; /* 4 or 6; 0: any address */
	__u8 bits;   /* of the mask, for whoever shows it */
	__u8 pad[2];
};

struct mps_option_rule {
	__u32 ifindex;                 /* 0: there is no interface of that name now */
	__u8 direction;                /* enum mps_option_direction */
	__u8 subtype;                  /* enum mptcp_subtype */
	__u8 states;                   /* of enum mps_option_state */
	__u8 action;                   /* enum mps_option_action */
	__u16 local_port, remote_port; /* 0: any */
	__u16 hits;                    /* its place in MPS_MAP_OPTION_HITS */
	__u16 joins;                   /* from this join of a connection on, which counts from 1; 0: any */
	struct mps_option_prefix local, remote;
	struct mps_option_prefix announced; /* of ADD_ADDR */
	char ifname[16];
};

struct mps_option_table {
	__u32 nr;
	__u32 subtypes[2];  /* by direction: bit n is set if some rule is about subtype n */
	__u32 counts_joins; /* 1 if a rule has `joins` */
	struct mps_option_rule rule[MPS_MAX_OPTION_RULES];
};

/* For each CPU. */
struct mps_option_hits {
	__u64 matched; /* options that the rule decided on */
	__u64 changed; /* and that were changed by it */
	__u64 failed;  /* or could not be, and passed as they were */
};

/*
 * The joins that were asked for with one token, which names the connection to the host that hears it (RFC 8684 section 3.2). A SYN that is
 * sent again has the nonce that it had.
 */
struct mps_option_joins {
	__u32 nr;
	__u32 nonce[MPS_OPTION_JOINS];
};

#endif /* MPS_OPTION_RULES_ABI_H */
