/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* What applications may choose, and what they have chosen: part of datapath_abi.h, whose rules hold here. */
#ifndef MPS_APP_ABI_H
#define MPS_APP_ABI_H

#include <mps/policy_abi.h>

#define MPS_MAX_GRANTS 16
#define MPS_GRANT_POLICIES 12
#define MPS_GRANT_PATH_LEN 256
#define MPS_NO_COST_LIMIT (~0u)
#define MPS_CHOICE_MAGIC 0x6d70736368636531ull

struct mps_grant_policy {
	char name[MPS_NAME_LEN];
	__u32 slot;
	__u16 rx; /* it has a rule for what the peer sends */
	__u16 id; /* by which sockets have chosen it, never 0; another one each time that it is allowed anew */
};

/* What the applications of one cgroup, and of those below it, may choose for their sockets. */
struct mps_grant {
	__u64 cgroup_id;
	__u32 serial;   /* 0: unused. Another one each time: choices made under an earlier one are void */
	__u32 max_cost; /* of a path that connections of which an application has chosen something may use */
	__u32 nr_policies;
	__u32 last_id;  /* that was given to a policy */
	__u8 prefer[8]; /* by enum mpsched_preference: 1 + index of the policy for it; 0: none */
	struct mps_grant_policy policy[MPS_GRANT_POLICIES]; /* an empty name: none in this place */
	char path[MPS_GRANT_PATH_LEN];                      /* of the cgroup, below the mount point */
};

/* The policy that a socket has chosen by this id; NULL if it may not any more. */
static inline const struct mps_grant_policy *mps_granted(const struct mps_grant *grant, __u32 id)
{
	for (__u32 i = 0; i < MPS_GRANT_POLICIES; i++)
		if (grant->policy[i].name[0] && grant->policy[i].id == id)
			return &grant->policy[i];
	return 0;
}

enum mps_choice_field {
	MPS_CHOICE_POLICY = 1u << 0,
	MPS_CHOICE_RX_POLICY = 1u << 1,
	MPS_CHOICE_AVOID = 1u << 2,
	MPS_CHOICE_COST = 1u << 3,
	MPS_CHOICE_DEADLINE = 1u << 4,
	MPS_CHOICE_SIZE = 1u << 5,
};

/* What an application has chosen for one socket: kept with the socket, and handed on from a listener to what it accepts. */
struct mps_choice {
	__u64 magic; /* MPS_CHOICE_MAGIC: XDP programs find it by that among what others keep with the socket */
	__u64 msk;   /* the socket, as a number; for the program that sets */
	__u8 avoid_path[8]; /* not mps_paths[i], one for each in `avoided` */
	__u64 size_bytes;
	__u32 fields; /* enum mps_choice_field */
	__u32 grant;  /* index … */
	__u32 serial; /* … and serial of that under which it was made */
	__u32 policy; /* mps_grant_policy.id */
	__u32 rx_policy;
	__u32 cost_limit;
	__u32 deadline_us;
	__u32 prefer;     /* which preference led to the policy; 0: none */
	__u32 avoided[8]; /* how many, and their ifindexes then */
};

#endif /* MPS_APP_ABI_H */
