/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The contract between policies and the data path: what a policy is shown (view), what it answers (verdict), its memory (state),
 * its parameters and how it describes itself (info). It has a version of its own, apart from that of what is pinned (datapath_abi.h):
 * a policy object that somebody built once is to run with later versions of mpsched.
 *
 * Units are in the names: _us microseconds, _ns nanoseconds, _bytes octets, _segs TCP segments. Nothing here is in network byte order.
 *
 * How it grows. Within a major version it only gets longer: what an object was compiled against stays where it was and means what it
 * meant. An object has the offsets and the size of the entries of the view's arrays in its instructions, so an array's entries never
 * grow: what is new comes as an array of its own behind the last one, read by objects that know it. The data path thus writes every
 * policy's view at constant offsets; entries of another size for each policy would be a multiplication and a second bound for the
 * verifier at each of some thirty stores. Each addition raises MPS_POLICY_ABI_MINOR. An object of a later minor than ours, or of
 * another major, is refused. What becomes wrong is left in place and said to be so until the next major version.
 *
 * policy_layout.h has every size and offset, which all compilers that read this assert.
 */
#ifndef MPS_POLICY_ABI_H
#define MPS_POLICY_ABI_H

#ifndef __VMLINUX_H__ /* BPF code gets its types from kernel.bpf.h */
#include <linux/types.h>
#endif

#ifdef __cplusplus
#define MPS_STATIC_ASSERT(cond, text) static_assert(cond, text)
#else
#define MPS_STATIC_ASSERT(cond, text) _Static_assert(cond, text)
#endif

#define MPS_UNUSED __attribute__((unused))

/* 4.0 is what was called ABI 4 when pins and policies had one version. */
#define MPS_POLICY_ABI_MAJOR 4
#define MPS_POLICY_ABI_MINOR 4
#define MPS_POLICY_ABI (MPS_POLICY_ABI_MINOR << 16 | MPS_POLICY_ABI_MAJOR)

/*
 * The kernel's path manager opens at most MPTCP_PM_ADDR_MAX subflows beside the first (net/mptcp/protocol.h). One in user
 * space may open more: those are left alone, and `status` tells.
 */
#define MPS_MAX_SUBFLOWS 9
/*
 * Rows of an array that is indexed by a number which the verifier cannot follow: a power of two, so that a mask is enough
 * for it. The rows behind MPS_MAX_SUBFLOWS stay empty.
 */
#define MPS_SUBFLOW_ROWS 16
/* Including the terminating NUL. */
#define MPS_NAME_LEN 32
#define MPS_DOC_LEN 160
/* The most that a policy may keep for one connection; 64 in 4.0. */
#define MPS_STATE_WORDS 128
#define MPS_NO_QUOTA (~0ull)

/* An interface's radio, set by `mpsched path`. */
enum mps_energy_class {
	MPS_ENERGY_NONE = 0, /* mains powered or unknown */
	MPS_ENERGY_WIFI = 1,
	MPS_ENERGY_3G = 2,
	MPS_ENERGY_LTE = 3,
	MPS_ENERGY_5G = 4,
	MPS_ENERGY_MAX
};

/* ------------------------------------------------- what a policy is shown */

enum mps_subflow_flag {
	/* The kernel may send on it now: __mptcp_subflow_active() and not stale. */
	MPS_SF_USABLE = 1u << 0,
	/* subflow->stale: too many MPTCP retransmission intervals without progress. */
	MPS_SF_STALE = 1u << 1,
	/* subflow->backup, the bit that MP_PRIO from the peer (or we) sets. */
	MPS_SF_BACKUP = 1u << 2,
	/* What the peer itself asked for: backup in MP_JOIN, MP_PRIO on the wire. */
	MPS_SF_PEER_BACKUP = 1u << 3,
	/* subflow->request_bkup: the local endpoint has the backup flag. Cannot be overridden. */
	MPS_SF_LOCAL_BACKUP = 1u << 4,
	/* Its interface is attached and its packets are met there: its backup bit can be changed, and its ACKs ask for decisions. */
	MPS_SF_STEERABLE = 1u << 5,
	/* The packet that caused this decision arrived on it. */
	MPS_SF_SELF = 1u << 6,
	/* First decision in which this index holds this subflow: per-subflow state starts over. */
	MPS_SF_FRESH = 1u << 7,
	/* In RTO recovery without progress (icsk_retransmits > 0): probably dead, not yet stale. */
	MPS_SF_TROUBLED = 1u << 8,
	MPS_SF_IPV6 = 1u << 9,
	/* The index holds a subflow. Indices may have holes; an index is kept for a subflow's life. */
	MPS_SF_PRESENT = 1u << 10,
	/* tp->snd_ssthresh > tp->snd_cwnd: in slow start. */
	MPS_SF_SLOW_START = 1u << 11,
};

/* One subflow as the kernel sees it now. Kernel fields are named after struct tcp_sock. */
struct mps_subflow_view {
	__u64 bytes_acked; /* tcp_sock.bytes_acked, RFC 4898 tcpEStatsAppHCThruOctetsAcked */
	/* bytes/s, what `default` divides by: mptcp_subflow_context.avg_pacing_rate, or sk_pacing_rate of an idle one, which the next burst takes over */
	__u64 pacing_rate;
	__u64 quota_left_bytes; /* what its path may still carry, all connections together; 2^64-1 = no quota */
	__u32 flags;            /* enum mps_subflow_flag */
	__u32 id;               /* kernel's subflow_id (6.5+), else position in the connection, from 1 */
	__u32 ifindex;
	__u32 srtt_us;    /* smoothed RTT; 0 = no sample yet */
	__u32 rttvar_us;  /* mean deviation (mdev_us) */
	__u32 min_rtt_us; /* least RTT in the kernel's window; 0 = no sample yet */
	__u32 cwnd_segs;
	__u32 ssthresh_segs;
	__u32 in_flight_segs; /* tcp_packets_in_flight(), less what this packet acknowledges */
	__u32 mss_bytes;
	__u32 outstanding_bytes; /* write_seq - snd_una: put on this subflow and not yet acknowledged */
	__u32 notsent_bytes;     /* write_seq - snd_nxt */
	__u32 queued_bytes;      /* sk_wmem_queued: what `default` divides by the pacing rate */
	__u32 snd_wnd_bytes;
	__u32 delivered_segs;
	__u32 lost_segs;   /* tcp_sock.lost: cumulative */
	__u32 retransmits; /* icsk_retransmits: consecutive RTOs */
	__u32 weight;      /* path attributes, see struct mps_path */
	__u32 priority;
	__u32 cost;
	__u32 energy_class;
	__u32 last_rcv_age_us; /* since the last data or ACK on it reached the kernel; 4294967295 = never */
};

/*
 * From 4.1: what a policy may ask for by `wants` in its info, beside what every view has. Only that is read for it, and v->known[i] tells
 * what of it the kernel knows of subflow i; the rest of the entry is undefined. All of it is as the kernel left it before the packet
 * at hand, of which nothing is in it yet.
 */
enum mps_extra {
	MPS_EXTRA_RECEIVED = 1u << 0, /* bytes_received */
	MPS_EXTRA_SENT = 1u << 1,     /* sent_segs, retrans_segs */
	MPS_EXTRA_ECN = 1u << 2,      /* ce_segs; known where both ends agreed on ECN */
	MPS_EXTRA_RTT = 1u << 3,      /* last_rtt_us; known from the first sample on */
	MPS_EXTRA_RATE = 1u << 4,     /* delivery_rate; known from the first sample on */
	MPS_EXTRA_CC = 1u << 5,       /* cc */
	/* Only in `known`: the sender had too little to send while delivery_rate was measured: the path may be quicker. */
	MPS_EXTRA_RATE_APP_LIMITED = 1u << 6,
};

#define MPS_CC_LEN 16 /* TCP_CA_NAME_MAX */

/* Named after struct tcp_info where that has it. */
struct mps_subflow_extra {
	__u64 bytes_received; /* contents that arrived on it, RFC 4898 tcpEStatsAppHCThruOctetsReceived */
	__u64 delivery_rate;  /* bytes/s, the last sample, as tcpi_delivery_rate */
	__u32 sent_segs;      /* tcpi_data_segs_out: with contents, retransmissions included */
	__u32 retrans_segs;   /* tcpi_total_retrans */
	__u32 ce_segs;        /* tcpi_delivered_ce: delivered with a congestion mark */
	__u32 last_rtt_us;    /* not smoothed; of the segment that was sent last among those acknowledged */
	char cc[MPS_CC_LEN];  /* its congestion control's name */
};

/* From 4.3: what else is seen of what arrives on a subflow. */
struct mps_subflow_receipt {
	/*
	 * The round trip as the receiving end knows it (rcv_rtt_est): of this host's ACKs and what the peer sends upon them. The peer's
	 * pauses are in it, so it tells something only where contents arrive all the time; 0 = no sample yet.
	 */
	__u32 rtt_us;
	/*
	 * How much longer than the least of the last minute contents were on their way in the last while (20 ms or more), by their
	 * timestamps, exact to some milliseconds: what waits in front of the path. 0 as well where nothing is known: no timestamps, nothing
	 * arrives, single segments whose ACKs are delayed.
	 */
	__u32 queue_us;
};

/*
 * Whose sending is to be decided on. From 4.2 a policy with MPS_POLICY_RX is asked about what the peer sends as well, with a state of its
 * own for that. The verdict means the same; what is to be parked is told to the peer by MP_PRIO. The view is what a receiver knows:
 *
 *   bytes_acked            contents received on the subflow, so that what counts bytes needs no other rule
 *   pacing_rate            bytes/s, measured: what arrived in the last while; 0 = nothing lately
 *   srtt_us, rttvar_us, min_rtt_us   of this host's own segments; srtt_us by the receiver's estimate where there are none
 *   last_rcv_age_us        since contents were last seen to arrive on it
 *   MPS_SF_BACKUP          what the peer was told last, or else our endpoint's flag
 *   MPS_SF_PEER_BACKUP     our endpoint's flag: what holds if nobody steers, and can be overridden
 *   MPS_SF_LOCAL_BACKUP    the peer itself asked for the subflow to be a backup, and will treat it as one
 *   MPS_SF_USABLE, MPS_SF_STALE, MPS_SF_TROUBLED   as this host sees the path when it sends
 *   path attributes, quota, last_allowed   as ever
 *   receipt                from 4.3: the round trip and the queue in front of the path, as they can be seen from here
 *
 * Queues and windows are the sender's secret: cwnd_segs, ssthresh_segs, in_flight_segs, outstanding_bytes, notsent_bytes, queued_bytes,
 * snd_wnd_bytes, delivered_segs, lost_segs and retransmits are 0, and so are unsent_bytes, unacked_bytes and window_bytes. Levers have no effect.
 */
enum mps_direction {
	MPS_DIRECTION_TX = 0, /* what this host sends */
	MPS_DIRECTION_RX = 1, /* what the peer sends */
};

/* From 4.4: what the application has said of its messages by socket options. 0: nothing, so the policy's own parameters count. */
struct mps_message {
	__u64 bytes;       /* how large one is, at least */
	__u32 deadline_us; /* within which it should be delivered */
	__u32 reserved;
};

/* One connection at the moment of a decision. */
struct mps_view {
	__u64 now_us;        /* monotonic */
	__u64 unsent_bytes;  /* msk->write_seq - snd_nxt: written by the application, on no subflow yet */
	__u64 unacked_bytes; /* msk->snd_nxt - snd_una */
	__u64 window_bytes;  /* msk->wnd_end - snd_nxt, 0 if closed: what the peer still accepts */
	__u32 token;         /* RFC 8684 3.2, the local token */
	__u32 present;       /* bit i: sf[i] holds a subflow */
	__u32 self;          /* index on which the packet arrived, MPS_MAX_SUBFLOWS if none */
	__u16 last_allowed; /* from 4.1: what came of the last verdict of any policy, as in mps_verdict; 0 = there was none */
	__u8 direction; /* from 4.1: enum mps_direction */
	__u8 reserved;
	struct mps_subflow_view sf[MPS_SUBFLOW_ROWS];
	/* From 4.1. */
	__u32 known[MPS_SUBFLOW_ROWS]; /* enum mps_extra: what of extra[i] is filled in */
	struct mps_subflow_extra extra[MPS_SUBFLOW_ROWS];
	/* From 4.3, filled in where the direction is MPS_DIRECTION_RX. */
	struct mps_subflow_receipt receipt[MPS_SUBFLOW_ROWS];
	/* From 4.4. */
	struct mps_message message;
};

enum mps_verdict_flag {
	/* Leave the kernel alone: every subflow goes back to what the peer asked for. */
	MPS_VERDICT_PASS = 1u << 0,
	/* `lever` says something; else every subflow has the kernel's own settings. */
	MPS_VERDICT_LEVERS = 1u << 1,
};

/* What a policy wishes for one subflow beside allowing it. 0 leaves the setting as it was. */
struct mps_lever {
	__u32 lowat_bytes;  /* at most so much waits unsent in the subflow: TCP_NOTSENT_LOWAT, tcp(7) */
	__u32 pace_bytes_s; /* it sends no faster: SO_MAX_PACING_RATE, socket(7) */
};

/* What the number beside a reason counts. */
enum mps_reason_unit {
	MPS_UNIT_NONE = 0,
	MPS_UNIT_US = 1,
	MPS_UNIT_BYTES = 2,
	MPS_UNIT_PLAIN = 3,
};

/*
 * Why a subflow is allowed or parked: X(identifier, code, name in JSON, unit of the number, text). In the text {} is the number and {other} the
 * subflow that this one is compared with; where a reason has neither, the words in [] around it are left out. Codes keep their
 * meaning for good; new ones are added at the end.
 */
#define MPS_REASONS(X)                                                                                       \
	X(EARLIEST, 1, "earliest", MPS_UNIT_US, "it delivers earliest[, in {}]")                             \
	X(LATER, 2, "later", MPS_UNIT_US, "its burst would arrive[ {}] later[ than {other}'s]")              \
	X(HELPS, 3, "helps", MPS_UNIT_US, "with it everything arrives earlier[, by {}]")                     \
	X(HAS_ROOM, 4, "has-room", MPS_UNIT_BYTES, "it has room[ for {}]")                                   \
	X(NOT_NEEDED, 5, "not-needed", MPS_UNIT_BYTES, "the others[ ({other})] have room[ for {}]")          \
	X(OTHERS_FULL, 6, "others-full", MPS_UNIT_NONE, "the preferred ones[ ({other})] are full")           \
	X(PREFERRED, 7, "preferred", MPS_UNIT_PLAIN, "no other has a better priority[ than its {}]")         \
	X(PRIORITY, 8, "priority", MPS_UNIT_PLAIN,                                                           \
	  "another[ ({other})] has a better priority[ than its {}]")                                         \
	X(BEHIND_SHARE, 9, "behind-share", MPS_UNIT_BYTES, "it is behind its share[ by {}]")                 \
	X(AHEAD_OF_SHARE, 10, "ahead-of-share", MPS_UNIT_BYTES, "it is ahead of its share[ by {}]")          \
	X(TURN, 11, "turn", MPS_UNIT_BYTES, "it is its turn[, {} are left of it]")                           \
	X(NOT_TURN, 12, "not-turn", MPS_UNIT_NONE, "it is another's turn[: {other}'s]")                      \
	X(WITHIN_BUDGET, 13, "within-budget", MPS_UNIT_US, "its delay is within the budget[ by {}]")         \
	X(OVER_BUDGET, 14, "over-budget", MPS_UNIT_US, "its delay is over the budget[ by {}]")               \
	X(QUOTA, 15, "quota", MPS_UNIT_BYTES, "of its quota too little is left[: {}]")                       \
	X(COST, 16, "cost", MPS_UNIT_PLAIN, "it costs too much[: {}]")                                       \
	X(ENERGY, 17, "energy", MPS_UNIT_NONE, "the others[ ({other})] take less energy")                    \
	X(WINDOW, 18, "window", MPS_UNIT_BYTES, "it would block the peer's window[ for {} of the others]")   \
	X(TRIED, 19, "tried", MPS_UNIT_NONE, "it is tried to find out what it is worth")                     \
	X(HELD, 20, "held", MPS_UNIT_US, "it is kept as it is[ for another {}]")                             \
	X(NO_ANSWER, 21, "no-answer", MPS_UNIT_US, "it does not answer[, since {}]")                         \
	X(PEER_BACKUP, 22, "peer-backup", MPS_UNIT_NONE, "its peer asked for it to be a backup")             \
	X(UNKNOWN, 23, "unknown", MPS_UNIT_NONE, "nothing is known of it yet")                               \
	X(LOSSY, 24, "lossy", MPS_UNIT_PLAIN, "it loses more than it may[: {} of 1000]")

enum mps_reason_code {
	MPS_REASON_NONE = 0,
#define MPS_REASON_ENUM(id, code, name, unit, text) MPS_REASON_##id = code,
	MPS_REASONS(MPS_REASON_ENUM)
#undef MPS_REASON_ENUM
	/* From here on they are the policy's own, and shown as numbers. */
	MPS_REASON_OWN = 0x8000,
};

struct mps_reason {
	__u16 code; /* enum mps_reason_code */
	__u8 other; /* 1 + index of the subflow that it is compared with; 0 = none */
	__u8 flags; /* enum mps_reason_flag */
	__s32 number;
};

enum mps_reason_flag {
	MPS_REASON_HAS_NUMBER = 1u << 0,
};

/* A policy's answer. Empty `allowed` means "all". */
struct mps_verdict {
	__u32 allowed;                            /* bit i: the kernel may use sf[i] for the next burst */
	__u32 flags;                              /* enum mps_verdict_flag */
	struct mps_lever lever[MPS_SUBFLOW_ROWS]; /* not read unless MPS_VERDICT_LEVERS is set */
	/* From 4.1. */
	__u32 reasoned; /* bit i: reason[i] says why; 0 when the policy is asked */
	__u32 reserved;
	struct mps_reason reason[MPS_SUBFLOW_ROWS];
};

/* A policy's memory for one connection; zeroed when a connection comes to the policy. */
struct mps_state {
	__u64 word[MPS_STATE_WORDS];
};

/*
 * Per-CPU work area: the data path fills `view` and `state`, the policy fills `verdict`. Each part begins at a fixed offset, with room
 * behind it to become longer.
 */
#define MPS_VIEW_OFFSET 656
#define MPS_STATE_OFFSET 7168

struct mps_scratch {
	__u32 decided; /* set by the policy: a tail call cannot return a value */
	/* Set by the policy: 1 + the words of `state` that it uses, so that only these are copied; 0 = all. */
	__u32 kept_words;
	struct mps_verdict verdict;
	/* Objects of 4.0 have their state here, of 64 words at offset 144. */
	__u8 verdict_room[MPS_VIEW_OFFSET - 8 - sizeof(struct mps_verdict)];
	struct mps_view view;
	__u8 view_room[MPS_STATE_OFFSET - MPS_VIEW_OFFSET - sizeof(struct mps_view)];
	struct mps_state state;
};

#define MPS_STATE_OFFSET_4_0 144
#define MPS_STATE_WORDS_4_0 64
/* The least that an object's map mps_scratch can have. */
#define MPS_SCRATCH_BYTES_4_0 2496

/* ------------------------------------------------------- policy metadata */

enum mps_policy_flag {
	/* Its verdicts may have MPS_VERDICT_LEVERS: the programs that set them are needed. */
	MPS_POLICY_LEVERS = 1u << 0,
	/* From 4.2: its rule makes sense for what the peer sends, too (MPS_DIRECTION_RX). Others are never asked about that. */
	MPS_POLICY_RX = 1u << 1,
};

/* Lives in the policy object's section .rodata.mps; read back from the kernel to tell what a slot holds. */
struct mps_policy_info {
	__u32 abi;         /* MPS_POLICY_ABI: the minor version in the upper half, the major in the lower */
	__u32 state_bytes; /* at most MPS_STATE_WORDS * 8 */
	char name[MPS_NAME_LEN];
	char doc[MPS_DOC_LEN];
	__u32 flags; /* enum mps_policy_flag */
	__u32 wants; /* from 4.1: enum mps_extra */
};

/*
 * Parameters are the members of the policy's only global in this section. Each member carries a
 * BTF declaration tag "mps:DEFAULT:MIN:MAX:UNIT:TEXT", from which the command line lists, checks and sets
 * parameters of any policy.
 */
#define MPS_PARAMS_SECTION ".data.params"
#define MPS_INFO_SECTION ".rodata.mps"
#define MPS_PARAM_TAG "mps:"

/* The map by which policy and data path share a struct mps_scratch. */
#define MPS_MAP_SCRATCH "mps_scratch"

#define MPS_STRUCT(type, bytes)                                                                              \
	MPS_STATIC_ASSERT(sizeof(struct type) == (bytes), #type " has another size than in its table");
#define MPS_MEMBER(type, member, offset)                                                                     \
	MPS_STATIC_ASSERT(__builtin_offsetof(struct type, member) == (offset),                               \
			  #type "." #member " has another offset than in its table");
#include <mps/policy_layout.h>
#undef MPS_STRUCT
#undef MPS_MEMBER

#endif /* MPS_POLICY_ABI_H */
