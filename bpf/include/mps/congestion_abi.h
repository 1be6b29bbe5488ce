/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* What `mpsched cc` and its programs (bpf/src/congestion.bpf.c) share. */
#ifndef MPS_CONGESTION_ABI_H
#define MPS_CONGESTION_ABI_H

#include <linux/types.h>

#define MPS_CC_NAME_LEN 16 /* TCP_CA_NAME_MAX */

/* Names of pins below congestion/ of an installation. */
#define MPS_MAP_CC_RULES "mps_rules"
#define MPS_MAP_CC_CHOICES "mps_cc_choices"
#define MPS_MAP_CC_CONFIG "mps_cc_config"
#define MPS_MAP_CC_BEFORE "mps_cc_before"
#define MPS_CC_LINK "link"

/* A rule is struct mps_rule, its slot the index of its choice here; 0 is none. */
#define MPS_CC_CHOICES (MPS_MAX_RULES + 2)

enum mps_cc_choice_flag {
	MPS_CC_PLAIN_TCP = 1u << 0, /* for TCP without MPTCP as well */
};

struct mps_cc_choice {
	char name[MPS_CC_NAME_LEN];
	__u32 flags;
	__u32 pad;
	__u64 given;   /* sockets that got it, */
	__u64 refused; /* and that the kernel did not give it to: it is not loaded */
};

struct mps_cc_config {
	__u32 nr_rules;
	__u32 dflt; /* the choice for sockets that no rule names; 0: they are left alone */
};

/* What a socket had before, and what we gave it: once it has something else, somebody else has chosen. */
struct mps_cc_given {
	char before[MPS_CC_NAME_LEN];
	char given[MPS_CC_NAME_LEN];
};

/* A socket whose congestion control is one of ours, as mps_cc_users tells of it. */
struct mps_cc_user {
	char name[MPS_CC_NAME_LEN];
	__u8 local[16]; /* IPv4 as ::ffff:a.b.c.d */
	__u8 remote[16];
	__u16 local_port; /* host order */
	__u16 remote_port;
	__u32 token; /* of the MPTCP connection; 0: plain TCP, or not known yet */
	__u32 uid;
	__u32 is_mptcp;
	__u64 cgroup_id;
};

#endif /* MPS_CONGESTION_ABI_H */
