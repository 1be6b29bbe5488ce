/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * What an application may say about its MPTCP sockets by setsockopt(), and ask by getsockopt(), at level SOL_MPTCP, where
 * `mpsched app attach` lets it; docs/application-interface.md tells what each option does. Elsewhere the kernel refuses: setsockopt() fails with
 * ENOPROTOOPT, getsockopt() with EOPNOTSUPP, and nothing is changed.
 *
 * Options count for the connection whose socket it is, before connect() and after; those of a listener for what it accepts from then on.
 *
 * Lengths. Structures only get longer, at their end; the sizes below are those of version 1 and the least that is taken (EINVAL). Whoever sets more
 * than is known here gets E2BIG, unless all of what is not known is zero. Whoever asks gets as much as he has room for, and the length of it.
 */
#ifndef MPS_SOCKET_OPTIONS_H
#define MPS_SOCKET_OPTIONS_H

#ifndef __VMLINUX_H__
#include <linux/types.h>
#endif

#define MPSCHED_SOL_MPTCP 284 /* SOL_MPTCP, for C libraries that do not know it */
#define MPSCHED_API_VERSION 1

#define MPSCHED_INFO 0x4d00       /* get: struct mpsched_info */
#define MPSCHED_POLICY 0x4d01     /* set: struct mpsched_policy */
#define MPSCHED_AVOID 0x4d02      /* set: struct mpsched_avoid */
#define MPSCHED_COST_LIMIT 0x4d03 /* set: struct mpsched_number, as `mpsched path IFACE cost=` */
#define MPSCHED_PREFER 0x4d04     /* set: struct mpsched_number, enum mpsched_preference */
#define MPSCHED_DEADLINE 0x4d05   /* set: struct mpsched_number, microseconds */
#define MPSCHED_SIZE 0x4d06       /* set: struct mpsched_number, octets */
#define MPSCHED_STATE 0x4d10      /* get: struct mpsched_state */
#define MPSCHED_SUBFLOWS 0x4d11   /* get: struct mpsched_subflows */

#define MPSCHED_NAME_LEN 32 /* of a policy, with its terminating NUL */
#define MPSCHED_IFNAME_LEN 16
#define MPSCHED_MAX_POLICIES 12
#define MPSCHED_MAX_SUBFLOWS 9
#define MPSCHED_MAX_AVOIDED 7
#define MPSCHED_MAX_DEADLINE 3600000000ull
/* Takes a number back: as if it had never been set. */
#define MPSCHED_NONE 0xffffffffffffffffull

/* What this socket's applications may choose. */
struct mpsched_info {
	__u32 version;  /* MPSCHED_API_VERSION of who answers */
	__u32 max_cost; /* of interfaces that a connection with a choice uses; 2^32-1: any */
	__u32 nr_policies;
	__u32 reserved;
	char policy[MPSCHED_MAX_POLICIES][MPSCHED_NAME_LEN];
};

enum mpsched_direction {
	MPSCHED_BOTH = 0,    /* what is sent, and what the peer sends if the policy has a rule for that */
	MPSCHED_SEND = 1,    /* what this host sends */
	MPSCHED_RECEIVE = 2, /* what the peer sends */
};

/* By which policy: one of mpsched_info.policy, else ENOENT. An empty name takes it back. */
struct mpsched_policy {
	__u32 direction; /* enum mpsched_direction; EOPNOTSUPP: the policy has no rule for what peers send */
	__u32 reserved;  /* 0 */
	char name[MPSCHED_NAME_LEN];
};

/*
 * Interfaces that are not to be used while there is another: all of them, each time. One that mpsched does not steer is refused
 * (ENODEV).
 */
struct mpsched_avoid {
	__u32 count; /* 0: none any more */
	__u32 ifindex[MPSCHED_MAX_AVOIDED];
};

struct mpsched_number {
	__u64 value; /* or MPSCHED_NONE */
};

/* A preference stands for the first policy for it that may be chosen (ENOENT: none); MPSCHED_POLICY and this replace each other. */
enum mpsched_preference {
	MPSCHED_PREFER_NOTHING = 0,
	MPSCHED_PREFER_LATENCY = 1,
	MPSCHED_PREFER_THROUGHPUT = 2,
	MPSCHED_PREFER_COST = 3,
	MPSCHED_PREFER_ENERGY = 4,
};

enum mpsched_state_flag {
	MPSCHED_HAS_POLICY = 1 << 0,
	MPSCHED_HAS_RX_POLICY = 1 << 1,
	MPSCHED_HAS_AVOID = 1 << 2,
	MPSCHED_HAS_COST_LIMIT = 1 << 3,
	MPSCHED_HAS_DEADLINE = 1 << 4,
	MPSCHED_HAS_SIZE = 1 << 5,
	/* The connection has several subflows and is steered. */
	MPSCHED_STEERED = 1 << 17,
	/* The policy that was chosen decides about what is sent. Of a connection that was idle since, not yet. */
	MPSCHED_IN_FORCE = 1 << 18,
};

/* What was chosen, and what came of it. */
struct mpsched_state {
	__u32 flags; /* enum mpsched_state_flag */
	__u32 token; /* RFC 8684 section 3.2; as `mpsched conns` and `explain` have it. 0: not connected */
	char policy[MPSCHED_NAME_LEN];
	char rx_policy[MPSCHED_NAME_LEN];
	__u32 preference; /* enum mpsched_preference */
	__u32 cost_limit; /* that holds: the least of what was set and what is allowed; 2^32-1: none */
	struct mpsched_avoid avoid;
	__u64 size;
	__u32 deadline_us;
	__u32 reserved;
};

enum mpsched_subflow_flag {
	MPSCHED_SF_USABLE = 1 << 0,      /* established, and the kernel may send on it */
	MPSCHED_SF_BACKUP = 1 << 1,      /* the kernel uses it only where there is nothing else, now */
	MPSCHED_SF_STEERED = 1 << 2,     /* its interface is one of mpsched's */
	MPSCHED_SF_ALLOWED = 1 << 3,     /* by the last decision about what is sent */
	MPSCHED_SF_REASON = 1 << 4,      /* `reason` tells why */
	MPSCHED_SF_NUMBER = 1 << 5,      /* `reason_number` says something */
	MPSCHED_SF_QUOTA = 1 << 6,       /* its interface has a quota */
	MPSCHED_SF_PEER_TOLD = 1 << 7,   /* the peer was told something about it … */
	MPSCHED_SF_PEER_AVOIDS = 1 << 8, /* … namely not to use it */
	MPSCHED_SF_AVOIDED = 1 << 9,     /* this socket has said that its interface is not to be used */
};

/* As `mpsched path IFACE energy=`. */
enum mpsched_energy {
	MPSCHED_ENERGY_NONE = 0, /* mains powered or unknown */
	MPSCHED_ENERGY_WIFI = 1,
	MPSCHED_ENERGY_3G = 2,
	MPSCHED_ENERGY_LTE = 3,
	MPSCHED_ENERGY_5G = 4,
};

struct mpsched_subflow {
	__u32 id;                        /* as `mpsched conns` has it */
	__u32 flags;                     /* enum mpsched_subflow_flag */
	char ifname[MPSCHED_IFNAME_LEN]; /* "": not of mpsched */
	__u32 ifindex;
	__u32 energy; /* enum mpsched_energy */
	__u32 cost;
	__u32 priority;
	__u32 weight;
	__u32 srtt_us; /* 0: no sample yet */
	__u32 rttvar_us;
	__u32 min_rtt_us;
	__u32 cwnd_segs;
	__u32 mss_bytes;
	__u64 bytes_acked;      /* contents that the peer has acknowledged on it */
	__u64 bytes_received;   /* contents that arrived on it */
	__u64 quota_left_bytes; /* if it has one */
	__u16 reason;           /* enum mps_reason_code, mps/policy_abi.h: why it is allowed or not */
	__u16 reason_other;     /* id of the subflow that it was compared with; 0: none */
	__s32 reason_number;
};

struct mpsched_subflows {
	__u32 count;       /* how many there are */
	__u32 filled;      /* how many of them follow */
	__u32 entry_bytes; /* what one of them takes */
	__u32 reserved;
	struct mpsched_subflow subflow[MPSCHED_MAX_SUBFLOWS];
};

#ifdef __cplusplus
#define MPSCHED_ASSERT(type, bytes) static_assert(sizeof(struct type) == (bytes), #type)
#else
#define MPSCHED_ASSERT(type, bytes) _Static_assert(sizeof(struct type) == (bytes), #type)
#endif
MPSCHED_ASSERT(mpsched_info, 400);
MPSCHED_ASSERT(mpsched_policy, 40);
MPSCHED_ASSERT(mpsched_avoid, 32);
MPSCHED_ASSERT(mpsched_number, 8);
MPSCHED_ASSERT(mpsched_state, 128);
MPSCHED_ASSERT(mpsched_subflow, 96);
MPSCHED_ASSERT(mpsched_subflows, 880);
#undef MPSCHED_ASSERT

#endif /* MPS_SOCKET_OPTIONS_H */
