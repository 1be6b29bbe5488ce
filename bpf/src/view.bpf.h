/* SPDX-License-Identifier: GPL-2.0-only */
/* From a packet's socket to the view: the connection and its subflows as the kernel sees them now. */
#ifndef MPS_VIEW_BPF_H
#define MPS_VIEW_BPF_H

#include "maps.bpf.h"
#include "parse.bpf.h"

/*
 * The scalar facts of one packet's way through the data path. Functions that the verifier checks on their
 * own take them together with pointers to map values: a struct that holds pointers cannot be passed to
 * them. What is needed of every subflow is a mask, bit i for sf[i]: most decisions change nothing, and that is
 * seen without another walk over the subflows.
 */
struct mps_pass {
	__u64 now_ns;
	__u64 sk;          /* the packet's own socket … */
	__u64 msk;         /* … and its connection, where members are read by bpf_rdonly_cast() */
	__u64 patience_ns; /* how long a wake may wait for a packet beyond the usual */
	__u64 idle_tick;   /* as in mps_known_socket */
	__u32 ifindex;
	__u32 after_seq; /* the sequence number behind the packet's contents */
	__u32 vrf;       /* ifindex of the VRF in which to look for the socket as well, 0 if there is none */
	__u32 print;     /* the packet's fingerprint, see believe.bpf.h */
	__u8 self;       /* index of the packet's own subflow, MPS_MAX_SUBFLOWS if none */
	__u8 overflow;   /* there are more subflows than can be steered */
	__u8 unplaced;   /* a subflow found no index: those of subflows that are gone were not free yet */
	__u8 restore;    /* go back to what the peers asked for */
	__u16 allowed;   /* what is to be */
	__u16 seen;      /* there is one */
	/* As the kernel has them. */
	__u16 established; /* fully established */
	__u16 usable;
	__u16 open; /* usable or stale: neither closing nor not yet open */
	__u16 troubled;
	__u16 backup;
	__u16 local_backup;
	/* As we know them. */
	__u16 fresh;
	__u16 peer_backup;
	__u16 attached;   /* its path is */
	__u16 steered;    /* … not being detached, and packets of it are met there */
	__u16 woken;      /* with a wake of which nothing was seen yet */
	__u8 has_prio;    /* the packet bears the peer's own MP_PRIO … */
	__u8 prio_off;    /* … here, as in mps_packet */
	__u8 place;       /* of our program, see believe.bpf.h */
	__u8 clone;       /* enum mps_clone: it may be the body of one of our wakes instead of a packet */
	__u16 bringing;   /* of what peers send: lately, and nobody told the peer to avoid it */
	__u16 overruled;  /* the local path manager has told the peer something, see peer.bpf.h */
	__u32 wants;      /* of the policy in force: enum mps_extra and enum mps_slot_want */
	__u64 paths_down; /* as in mps_config … */
	__u64 down_ns;
	__u32 next_look_us; /* see guard.bpf.h; 0: nothing is under way */
	__u16 silenced;     /* found silent just now */
	__u16 never;        /* its path is not to be used, and something else is there */
	__u16 unlisted;     /* it is not in the kernel's list yet, see join.bpf.h */
	/* By what the application has chosen, see choice.bpf.h. */
	__u32 dear;  /* paths that cost this much or more are not to be used; 0: they may */
	__u64 avoid; /* bit i: nor is mps_paths[i] */
};

/* Not on the stack: the chain of calls has all 512 bytes of it in use. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct mps_pass);
} mps_passes SEC(".maps");

/* Blank, but for the interface. */
static __always_inline struct mps_pass *get_pass(__u32 ifindex)
{
	__u32 zero = 0;
	struct mps_pass *p = bpf_map_lookup_elem(&mps_passes, &zero);

	if (!p)
		return NULL;
	__builtin_memset(p, 0, sizeof(*p));
	p->ifindex = ifindex;
	return p;
}

/* Bytes that the packet's own ACK will take out of flight once the stack has seen it, 0 if it is old or absurd. */
static __always_inline __u32 newly_acked(__u32 ack, __u32 snd_una, __u32 snd_nxt)
{
	__u32 acked = ack - snd_una;

	return acked <= snd_nxt - snd_una ? acked : 0;
}

/* Kernel pointers of one subflow, as numbers: separately verified functions cannot take them otherwise. */
struct mps_subflow_ref {
	__u64 ctx;   /* struct mptcp_subflow_context */
	__u64 tp;    /* struct tcp_sock */
	__u32 own;   /* the packet at hand is this subflow's … */
	__u32 ack;   /* … and acknowledges up to here */
	__u32 hint;  /* its position in the kernel's list, mostly its index too */
	__u32 joins; /* and it is what makes a join complete */
};

/* Bits of the context that share one word of memory, which is read once. `cast` is a constant. */
#define CONTEXT_BIT(word, ctx, member, cast)                                                                 \
	((cast) && __CORE_RELO(ctx, member, BYTE_OFFSET) == __CORE_RELO(ctx, backup, BYTE_OFFSET)            \
		 ? (word) << __CORE_RELO(ctx, member, LSHIFT_U64) >> __CORE_RELO(ctx, member, RSHIFT_U64)    \
		 : READ_BITS(ctx, member, cast))

static __always_inline __u64 context_word(struct mptcp_subflow_context *ctx)
{
	const void *at = (const void *)ctx + __CORE_RELO(ctx, backup, BYTE_OFFSET);

	switch (__CORE_RELO(ctx, backup, BYTE_SIZE)) {
	case 1:
		return *(const __u8 *)at;
	case 2:
		return *(const __u16 *)at;
	case 4:
		return *(const __u32 *)at;
	}
	return *(const __u64 *)at;
}

static __always_inline void read_rtt(struct mps_subflow_view *out, struct tcp_sock *tp, bool cast)
{
	__u32 min_rtt = READ(tp, rtt_min.s[0].v, cast);

	out->srtt_us = READ(tp, srtt_us, cast) >> 3;
	out->rttvar_us = READ(tp, mdev_us, cast) >> 2;
	out->min_rtt_us = min_rtt == ~0u ? 0 : min_rtt;
}

/* `acked` bytes are what the packet at hand takes out of flight. */
static __always_inline __u32 read_in_flight(struct tcp_sock *tp, __u32 acked, __u32 mss, bool cast)
{
	__u32 out_segs = READ(tp, packets_out, cast), gone_segs, in_flight, segs;

	if (!out_segs) /* so nothing is lost or sent again either */
		return 0;
	out_segs += READ(tp, retrans_out, cast);
	gone_segs = READ(tp, sacked_out, cast) + READ(tp, lost_out, cast);
	in_flight = out_segs > gone_segs ? out_segs - gone_segs : 0;
	if (!acked || !mss)
		return in_flight;
	segs = (acked + mss - 1) / mss;
	return in_flight > segs ? in_flight - segs : 0;
}

/* `acked` as above. Returns MPS_SF_SLOW_START or 0. */
static __always_inline __u32 read_window(struct mps_subflow_view *out, struct tcp_sock *tp, __u32 acked,
					 bool cast)
{
	__u32 cwnd = READ(tp, snd_cwnd, cast), ssthresh = READ(tp, snd_ssthresh, cast);
	__u32 mss = READ(tp, mss_cache, cast);

	out->cwnd_segs = cwnd;
	out->ssthresh_segs = ssthresh;
	out->in_flight_segs = read_in_flight(tp, acked, mss, cast);
	out->mss_bytes = mss;
	out->snd_wnd_bytes = READ(tp, snd_wnd, cast);
	return ssthresh > cwnd ? MPS_SF_SLOW_START : 0;
}

/* What the kernel says of it as a whole: but for MPS_SF_SLOW_START and MPS_SF_TROUBLED. */
static __always_inline __u32 read_flags(struct mptcp_subflow_context *ctx, struct sock *sk, __u32 joins,
					__u32 *established, bool cast)
{
	__u64 bits = cast ? context_word(ctx) : 0;
	__u32 state = READ(sk, __sk_common.skc_state, cast), stale = CONTEXT_BIT(bits, ctx, stale, cast);
	__u32 joining, usable;

	*established = CONTEXT_BIT(bits, ctx, fully_established, cast);
	joining = CONTEXT_BIT(bits, ctx, request_join, cast) & ~(*established | joins);
	/* __mptcp_subflow_active(), net/mptcp/protocol.h, and not stale */
	usable = (is_equal(state, TCP_ESTABLISHED_STATE) | is_equal(state, TCP_CLOSE_WAIT_STATE)) &
		 ~(joining | stale);
	return MPS_SF_PRESENT | usable * MPS_SF_USABLE | stale * MPS_SF_STALE |
	       (__u32)CONTEXT_BIT(bits, ctx, backup, cast) * MPS_SF_BACKUP |
	       (__u32)CONTEXT_BIT(bits, ctx, request_bkup, cast) * MPS_SF_LOCAL_BACKUP |
	       is_equal(READ(sk, __sk_common.skc_family, cast), AF_INET6) * MPS_SF_IPV6;
}

/* Returns whether it is fully established, as the kernel says. */
static __always_inline __u32 read_subflow(struct mps_subflow_view *out, const struct mps_subflow_ref *ref,
					  bool cast)
{
	struct mptcp_subflow_context *ctx = KPTR(struct mptcp_subflow_context, (void *)ref->ctx, cast);
	struct tcp_sock *tp = KPTR(struct tcp_sock, (void *)ref->tp, cast);
	struct sock *sk = &tp->inet_conn.icsk_inet.sk;
	__u32 write_seq, snd_nxt, snd_una, acked, retransmits, established;

	out->flags = read_flags(ctx, sk, ref->joins, &established, cast);
	write_seq = READ(tp, write_seq, cast);
	snd_nxt = READ(tp, snd_nxt, cast);
	snd_una = READ(tp, snd_una, cast);
	acked = ref->own ? newly_acked(ref->ack, snd_una, snd_nxt) : 0;
	out->outstanding_bytes = write_seq - snd_una - acked;
	out->notsent_bytes = write_seq - snd_nxt;
	out->bytes_acked = READ(tp, bytes_acked, cast) + acked;
	/* Time-outs in a row are of something that is outstanding. */
	retransmits = acked || !out->outstanding_bytes ? 0 : READ(tp, inet_conn.icsk_retransmits, cast);
	out->retransmits = retransmits;
	out->flags |= is_set(retransmits) * MPS_SF_TROUBLED | read_window(out, tp, acked, cast);
	read_rtt(out, tp, cast);
	/* mptcp_subflow_get_send() takes over TCP's with the first burst on an empty queue. */
	out->pacing_rate =
		out->outstanding_bytes ? READ(ctx, avg_pacing_rate, cast) : READ(sk, sk_pacing_rate, cast);
	out->queued_bytes = READ(sk, sk_wmem_queued, cast);
	out->delivered_segs = READ(tp, delivered, cast);
	out->lost_segs = READ(tp, lost, cast);
	out->id = bpf_core_field_exists(ctx->subflow_id) ? READ(ctx, subflow_id, cast) : 0;
	return established;
}

/* include/net/tcp.h: TCP_ECN_OK (from 6.18 on TCP_ECN_MODE_RFC3168) and TCP_ECN_MODE_ACCECN */
#define ECN_AGREED (1 | 1 << 4)

/* tcp_compute_delivery_rate(), net/ipv4/tcp.c. 0: no sample yet. */
static __always_inline __u64 delivery_rate(struct tcp_sock *tp, bool cast)
{
	__u64 segs = READ(tp, rate_delivered, cast);
	__u32 interval_us = READ(tp, rate_interval_us, cast);

	return interval_us ? segs * READ(tp, mss_cache, cast) * 1000000 / interval_us : 0;
}

/* What the policy asked for beside; returns what the kernel knows of it. */
static __always_inline __u32 read_extra(struct mps_subflow_extra *out, const struct mps_subflow_ref *ref,
					__u32 wants, bool cast)
{
	struct tcp_sock *tp = KPTR(struct tcp_sock, (void *)ref->tp, cast);
	__u32 known = wants & (MPS_EXTRA_RECEIVED | MPS_EXTRA_SENT);

	if (wants & MPS_EXTRA_RECEIVED)
		out->bytes_received = READ(tp, bytes_received, cast);
	if (wants & MPS_EXTRA_SENT) {
		out->sent_segs = READ(tp, data_segs_out, cast);
		out->retrans_segs = READ(tp, total_retrans, cast);
	}
	if (wants & MPS_EXTRA_ECN && READ_BITS(tp, ecn_flags, cast) & ECN_AGREED) {
		out->ce_segs = READ(tp, delivered_ce, cast);
		known |= MPS_EXTRA_ECN;
	}
	if (wants & MPS_EXTRA_RTT) {
		out->last_rtt_us = READ(tp, rack.rtt_us, cast);
		if (out->last_rtt_us)
			known |= MPS_EXTRA_RTT;
	}
	if (wants & MPS_EXTRA_RATE) {
		out->delivery_rate = delivery_rate(tp, cast);
		if (out->delivery_rate)
			known |= MPS_EXTRA_RATE;
		if (out->delivery_rate && READ_BITS(tp, rate_app_limited, cast))
			known |= MPS_EXTRA_RATE_APP_LIMITED;
	}
	if (wants & MPS_EXTRA_CC) {
		const struct tcp_congestion_ops *ops = READ(tp, inet_conn.icsk_ca_ops, cast);

		if (ops && !bpf_core_read(&out->cc, sizeof(out->cc), &ops->name))
			known |= MPS_EXTRA_CC;
	}
	return known;
}

/*
 * The part of the view that few policies ask for. Beside mps_take_subflow() and not in it, so that the others pay one comparison for
 * it and neither chain of calls becomes longer: all 512 bytes of stack are in use.
 */
__noinline int mps_take_extra(struct mps_view *view, const struct mps_subflow_ref *ref, __u32 index,
			      __u32 wants)
{
	if (!view || !ref)
		return 0;
	index &= MPS_SUBFLOW_ROWS - 1;
	view->known[index] = mps_rdonly_cast ? read_extra(&view->extra[index], ref, wants, true)
					     : read_extra(&view->extra[index], ref, wants, false);
	return 0;
}

/*
 * Do we meet the packets of a subflow at all? Not if they come by an interface that is not attached (a device made anew, a VRF), bear
 * other addresses when they pass here (NAT) or are put together from fragments later. The kernel counts what it receives, so what it
 * has received without our meeting it tells. What was met may still wait in front of the socket: packets are reckoned only
 * from a while after the last one, and a few more are not taken for many.
 */
#define HEARD_LATELY_NS (100 * 1000 * 1000ull)
#define HEARD_LONG_AGO_NS (1000 * 1000 * 1000ull)
#define DEAF_SEGS 16
/* Where nobody has reckoned in between. */
#define DEAF_SEGS_LONG_AGO 64
/* Of one that was never met: a SYN/ACK is passed over. */
#define DEAF_SEGS_NEW 1

static __always_inline void note_hearing(struct mps_conn_subflow *mine, __u32 segs_in, __u32 own,
					 __u64 now_ns)
{
	__s64 age_ns = now_ns - mine->seen_ns;
	__s32 unmet = segs_in - mine->heard_segs;
	__s32 most;

	if (own || (mine->seen_ns && age_ns < (__s64)HEARD_LATELY_NS)) {
		mine->heard_segs = segs_in;
		mine->quiet = 0;
		mine->deaf = 0;
		return;
	}
	most = !mine->seen_ns ? DEAF_SEGS_NEW : mine->quiet ? DEAF_SEGS : DEAF_SEGS_LONG_AGO;
	if (unmet > most && (!mine->seen_ns || mine->quiet || age_ns > (__s64)HEARD_LONG_AGO_NS)) {
		mine->deaf = 1;
	} else if (!mine->quiet) {
		mine->quiet = 1;
		if (mine->seen_ns)
			mine->heard_segs = segs_in;
	}
}

/* The index that this connection keeps for the socket, else a free one, else MPS_MAX_SUBFLOWS. */
static __always_inline __u32 find_index(const struct mps_conn *conn, const struct mps_subflow_ref *ref)
{
	__u32 hole = MPS_MAX_SUBFLOWS, hint = ref->hint & (MPS_SUBFLOW_ROWS - 1);

	if (conn->sf[hint].sk == ref->tp)
		return hint;
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++) {
		__u64 there = conn->sf[i].sk;

		if (there == ref->tp)
			return i;
		if (!there && hole == MPS_MAX_SUBFLOWS)
			hole = i;
	}
	return hole;
}

/* A row for a socket that had none. Nobody has edited it yet, so the kernel's bit is the peer's own wish. */
static __always_inline void begin_subflow(struct mps_conn *conn, struct mps_conn_subflow *mine,
					  const struct mps_subflow_ref *ref, __u32 flags, __u32 segs_in)
{
	__builtin_memset(mine, 0, sizeof(*mine));
	mine->sk = ref->tp;
	mine->peer_backup = !!(flags & MPS_SF_BACKUP);
	mine->fresh = 1;
	mine->heard_segs = segs_in;
	mine->ifindex = socket_ifindex((struct sock *)ref->tp);
	conn->path_epoch = 0; /* look its path up */
}

/*
 * Fills one subflow of a view from its socket, at the index that the connection keeps for it, and notes in `p`
 * what the kernel says of it; returns the index, MPS_MAX_SUBFLOWS if there was none. Global, so that the verifier checks it once
 * and not once for every way of reaching it.
 */
__noinline int mps_take_subflow(struct mps_view *view, struct mps_conn *conn,
				const struct mps_subflow_ref *ref, struct mps_pass *p)
{
	struct mps_conn_subflow *mine;
	struct mps_subflow_view *out;
	__u32 index, bit, flags, established, segs_in;
	struct tcp_sock *tp;

	if (!view || !conn || !ref || !p)
		return MPS_MAX_SUBFLOWS;
	index = find_index(conn, ref);
	if (index >= MPS_MAX_SUBFLOWS) {
		p->unplaced = 1;
		return MPS_MAX_SUBFLOWS;
	}
	barrier_var(index); /* 6.1 forgets the range of a spilled number */
	index &= MPS_SUBFLOW_ROWS - 1;
	mine = &conn->sf[index];
	out = &view->sf[index];
	if (mps_rdonly_cast) {
		established = read_subflow(out, ref, true);
		tp = KPTR(struct tcp_sock, (void *)ref->tp, true);
		segs_in = READ(tp, segs_in, true);
	} else {
		established = read_subflow(out, ref, false);
		tp = (struct tcp_sock *)ref->tp;
		segs_in = READ(tp, segs_in, false);
	}
	if (!out->id)
		out->id = ref->hint + 1;
	flags = out->flags;
	if (mine->sk != ref->tp)
		begin_subflow(conn, mine, ref, flags, segs_in);
	mine->id = out->id;
	note_hearing(mine, segs_in, ref->own, p->now_ns);
	if (ref->own) {
		p->self = index;
		out->flags = flags | MPS_SF_SELF;
	}
	/*
	 * A subflow that this host asked for carries data as soon as the peer has acknowledged anything on it, which the
	 * packet at hand does: the stack sees to that before it looks at MP_PRIO (check_fully_established(), net/mptcp/options.c).
	 */
	established |= ref->joins;
	bit = 1u << index;
	p->seen |= bit;
	p->woken |= (mine->woken & 1) << index;
	p->established |= (established & 1) << index;
	p->usable |= is_set(flags & MPS_SF_USABLE) << index;
	p->open |= is_set(flags & (MPS_SF_USABLE | MPS_SF_STALE)) << index;
	p->troubled |= is_set(flags & MPS_SF_TROUBLED) << index;
	p->backup |= is_set(flags & MPS_SF_BACKUP) << index;
	p->local_backup |= is_set(flags & MPS_SF_LOCAL_BACKUP) << index;
	return index;
}

/* What the walk of the kernel's list needs to know of the packet that started it. */
struct mps_walk {
	struct mps_view *view;
	struct mps_conn *conn;
	struct mps_pass *pass;
	void *msk;
	void *self_sk;
	__u32 ack;
	__u32 completes;
};

/*
 * Walks msk->conn_list (at most one more than we can steer, to tell that there are more). The list belongs
 * to the owner of the msk, who may change it meanwhile: entries live until RCU lets go, an unlinked one
 * leads to a poisoned pointer, which reads as zero, and an entry of another connection is recognised by its
 * `conn`. Returns true if the whole list was read.
 */
static __always_inline bool walk_subflows(struct mps_walk *w, struct list_head *head, bool cast)
{
	struct list_head *pos = READ(KPTR(struct list_head, head, cast), next, cast);

	for (__u32 k = 0; k <= MPS_MAX_SUBFLOWS; k++) {
		struct mptcp_subflow_context *ctx;
		struct mps_subflow_ref ref;
		__u32 index;
		void *ssk;

		if (pos == head)
			return true;
		if (k == MPS_MAX_SUBFLOWS) {
			w->pass->overflow = 1;
			return true;
		}
		ctx = KPTR(struct mptcp_subflow_context, pos,
			   cast); /* node is the first member, checked at load */
		ssk = READ(ctx, tcp_sock, cast);
		if (!ssk || (void *)READ(ctx, conn, cast) != w->msk)
			return false;
		pos = READ(ctx, node.next, cast);

		ref.ctx = (__u64)ctx;
		ref.tp = (__u64)ssk;
		ref.own = ssk == w->self_sk;
		ref.ack = w->ack;
		ref.hint = k;
		ref.joins = ref.own & w->completes;
		index = mps_take_subflow(w->view, w->conn, &ref, w->pass);
		if (w->pass->wants & ~MPS_SLOT_4_0) /* rows from MPS_MAX_SUBFLOWS on are nobody's */
			mps_take_extra(w->view, &ref, index, w->pass->wants);
	}
	return false;
}

/* Separate functions: each is verified once, and only the one this kernel can run is ever entered. */
static __noinline int walk_subflows_fast(struct mps_walk *w, struct list_head *head)
{
	return walk_subflows(w, head, true);
}

static __noinline int walk_subflows_probing(struct mps_walk *w, struct list_head *head)
{
	return walk_subflows(w, head, false);
}

#endif /* MPS_VIEW_BPF_H */
