/* SPDX-License-Identifier: GPL-2.0-only */
/* What auto remembers of a connection. The estimator writes what was measured, the planner what was decided, the pacer the limits. */
#ifndef MPS_AUTO_MEMORY_H
#define MPS_AUTO_MEMORY_H

#include "../common/receive.core.h"
#include "constants.core.h"

struct auto_flow {
	__u32 base_us;     /* round trip without our own queue; 0: not known */
	__u32 rate;        /* greatest rate of a train of ACKs, bytes/ms; 0: not known */
	__u32 train_us;    /* when the present train began … */
	__u32 train_acked; /* … and bytes_acked then */
	__u32 acked_us;    /* when bytes_acked last rose */
	__u32 busy_us;     /* since when something has been under way on it; 0: nothing is */
};

/* Of the other direction, which has a memory of its own: see receiver.core.h. */
struct auto_receive_state {
	struct mps_transfer transfer;
	__u32 quickest; /* index, plus 1; 0: none yet */
	__u32 reserved;
};

struct auto_policy_state {
	union {
		struct auto_flow flow[MPS_SUBFLOW_ROWS];
		struct auto_receive_state received;
	};
	__u64 written;    /* by the application, counted from an arbitrary start */
	__u64 level_done; /* what was acknowledged when it last wrote */
	__u32 level;      /* what was under way after that */
	__u32 refill;     /* it writes whenever the send buffer has room */
	__u32 size;       /* of the present transfer so far */
	__u32 last_size;
	__u32 present;
	__u16 open;
	__u16 trial;                   /* bit i: open although its window is too small as yet */
	__u16 paced;                   /* bit i: pace[i] is not 0 */
	__u16 best;                    /* index, plus 1; 0: none yet */
	__u16 pace[MPS_SUBFLOW_ROWS];  /* wished for, AUTO_PACE_UNIT bytes/s; 0: none */
	__u8 trials[MPS_SUBFLOW_ROWS]; /* bursts sent on trial since it last helped by itself */
	__u32 looked; /* bytes: the most that could be under way when it last went on in spite of a block ... */
	__u32 looked_us; /* ... and when that was */
	__u32 reserved;
};

/* What is asked at this decision. */
struct auto_question {
	__u64 unsent;
	__u64 waits; /* what is thought to be sent until the transfer ends */
	__u64 space; /* what the receive window holds in all */
	__u64 sent;  /* what the send buffer holds now */
	__u32 burst; /* the next one */
	__u32 refill;
	__u32 rest;  /* nothing waits */
	__u32 known; /* of one at least it was seen what it can carry */
	__u32 margin_pct;
	__u32 now_us;
};

MPS_CORE __u32 auto_bytes(__u64 bytes)
{
	return (__u32)mps_bounded_bytes(bytes);
}

MPS_CORE __u32 auto_since(__u32 now, __u32 then)
{
	__u32 d = now - then;

	return d < 1u << 31 ? d : 0;
}

#endif
