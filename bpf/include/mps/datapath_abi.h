/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * What is pinned: the layout of every map's values, of the stream of iter/tcp, and names. It is read by the data path (BPF) and the loader
 * (C++), which come from one build; policies know policy_abi.h alone.
 *
 * Units are in the names: _us microseconds, _ns nanoseconds, _bytes octets, _segs TCP segments. Nothing here is in network
 * byte order unless its type is __be16 or __be32.
 *
 * Changing a layout or a meaning means a new MPS_ABI_VERSION: pins of another version live in another folder and are reported,
 * never reinterpreted. datapath_layout.h has every size and offset, which all compilers that read this assert.
 */
#ifndef MPS_DATAPATH_ABI_H
#define MPS_DATAPATH_ABI_H

#include <mps/policy_abi.h>
#include <mps/app_abi.h>

#define MPS_ABI_VERSION 4

#define MPS_MAX_SLOTS 16
#define MPS_MAX_RULES 32
#define MPS_MAX_PATHS 64
#define MPS_MAX_WAKES 64
#define MPS_MAX_VLANS 2
#define MPS_EDITS_KEPT 4
#define MPS_MACS_LEN 12 /* destination and source of an Ethernet header */
/* IFNAMSIZ: an interface's name including the terminating NUL. */
#define MPS_IFNAME_LEN 16

/* ------------------------------------------------------------------ paths */

enum mps_path_flag {
	/* Our programs run on this interface; only then may a wake be sent to it. */
	MPS_PATH_ATTACHED = 1u << 0,
	/* Being detached, or without programs already: its subflows go back to what the peer asked for. */
	MPS_PATH_LEAVING = 1u << 1,
	/* No link-layer header (tun, wwan, ip tunnels): packets start at IP. */
	MPS_PATH_L3 = 1u << 2,
	/* It is to be attached whenever there is an interface of its name: from `attach` on until `detach`. */
	MPS_PATH_WANTED = 1u << 3,
	/* Its subflows are backups as long as their connection has anything else; see paths.bpf.h. */
	MPS_PATH_NEVER = 1u << 4,
	/* Attached in the role of a gateway: other hosts' connections are steered there, not this host's. */
	MPS_PATH_GATEWAY = 1u << 5,
};

/*
 * Attributes of one interface, set by `mpsched path`. They belong to its name and stay while there is no such interface,
 * as its place in mps_usage does. Index 0 of the map stands for "no such path".
 */
struct mps_path {
	__u32 ifindex;        /* 0 while there is no interface of this name */
	__u32 flags;          /* enum mps_path_flag */
	__u32 weight;         /* 1..10000, share of the bytes; default 1 */
	__u32 priority;       /* 0..255, lower is preferred; default 0 */
	__u32 cost;           /* 0..1000000, money per byte in the operator's own unit; default 0 */
	__u32 energy_class;   /* enum mps_energy_class */
	__u32 quota_period_s; /* after which the count starts over; 0: never */
	__u32 mode;           /* enum mps_path_mode, what `attach` asked for */
	__u64 quota_bytes;    /* what it may carry in a period, in both directions; 0: as much as it likes */
	__u64 quota_since_ns; /* CLOCK_BOOTTIME at which the first period began */
	char name[MPS_IFNAME_LEN];
	__u32 last_ifindex; /* what it was before the interface went; rules may still name it */
	__u32 then_bytes_s; /* what it may carry behind its quota; 0: nothing */
};

/* As words of `attach --mode`; what came of it is read from the interface. */
enum mps_path_mode {
	MPS_MODE_AUTO = 0,
	MPS_MODE_NATIVE = 1,
	MPS_MODE_GENERIC = 2,
	MPS_MODE_TC = 3,
};

/* What a path with a quota has carried, at the same index as its attributes. Counted in mps_meter(). */
struct mps_usage {
	__u64 used_bytes; /* IP packets of MPTCP subflows, both directions, and what waits to be sent */
	__u64 period;     /* in which: number of periods since quota_since_ns */
	__u64 then_ns;    /* behind the quota, with then_bytes_s: since when that counts (CLOCK_BOOTTIME) … */
	__u64 then_bytes; /* … and what had been used then */
};

/*
 * Packets with MPTCP options that arrived at an interface and found no socket, and the last one of them: a value for each
 * CPU, at the same index as the interface's attributes.
 */
struct mps_miss {
	__u64 packets;
	__u64 last_ns;   /* monotonic */
	__be32 saddr[4]; /* the peer; IPv4 in word 0 */
	__be32 daddr[4];
	__be16 sport;
	__be16 dport;
	__u32 is_ipv6;
	__u32 ifindex; /* of this interface; of another one they count for nothing */
	__u32 pad;
};

/* ------------------------------------------------------- connection state */

/* What the data path remembers of one subflow. */
struct mps_conn_subflow {
	__u64 sk;      /* kernel address of the subflow's socket: its identity while it lives */
	__u64 flip_ns; /* when its backup bit was last edited or woken */
	__u64 seen_ns; /* when a packet of it last arrived on an attached interface */
	__u32 ifindex; /* attached interface that last saw a packet of it, else sk_rx_dst_ifindex */
	__u32 path;    /* index into mps_paths */
	__u8 peer_backup;
	__u8 flip_value; /* value of the last edit */
	__u8 fresh;      /* the policy has not yet seen it */
	__u8 nr_vlans;
	__u16 vlan_tci[MPS_MAX_VLANS]; /* outermost first */
	__be16 vlan_proto[MPS_MAX_VLANS];
	__u32 id;               /* as in mps_subflow_view */
	__u64 metered_bytes;    /* how much of it is in its path's mps_usage */
	struct mps_lever lever; /* the last verdict's wish; mps_sockops and mps_apply see to it */
	__u32 heard_segs; /* tcp_sock.segs_in up to which the packets are accounted for; see view.bpf.h */
	__u8 quiet;       /* none has been met for a while; heard_segs is of after that */
	__u8 deaf;        /* the kernel receives packets of it that are not met here */
	__u8 woken; /* a wake with flip_value was queued, and the kernel's bit has not been seen to follow */
	__u8 next_edit;
	__u32 edit[MPS_EDITS_KEPT]; /* fingerprints of our last edits, see fingerprint.bpf.h */
	__u8 mac[MPS_MACS_LEN];     /* of its last packet on an Ethernet interface */
	__u8 has_mac;
	__u8 silent; /* data is under way, and nothing of it was acknowledged for too long; see guard.bpf.h */
	__u16 silent_acked;       /* a digest of its bytes_acked then */
	struct mps_reason reason; /* the last verdict's */
};

/* Value of mps_conns, keyed by the connection's token. */
struct mps_conn {
	__u64 msk;        /* kernel address of the connection: tells a reused token */
	__u32 rule_epoch; /* of mps_config when the slot was chosen */
	__u32 path_epoch; /* of mps_config when the paths were looked up */
	__u32 slot;
	__u32 slot_serial; /* of the slot when the state was zeroed: a slot may be refilled */
	__u32 allowed;     /* last verdict, bit per sf index; for `conns` */
	__u16 known;       /* bit i: sf[i].sk is set */
	__u16 levers;      /* bit i: sf[i].lever says something */
	__u8 kept_words;   /* as in mps_scratch, after a decision of the present policy */
	__u8 settled;      /* the last decision left no bit to be changed */
	__u8 watched;      /* a timer looks at it, see watch.bpf.h */
	__u8 restored;     /* the last verdict was to leave the kernel alone */
	__u16 reasoned;    /* bit i: sf[i].reason says why */
	__u8 chosen;       /* its application has a say in it, see choice.bpf.h */
	__u8 pad;
	__u64 decided_ns; /* when it was last decided on */
	__u64 last_node;  /* the end of the kernel's list of subflows then */
	__u32 asked;      /* its application has said something since the slot was chosen */
	__u32 unlisted;   /* bit i: sf[i] has joined, and the kernel has not put it into its list yet */
	struct mps_conn_subflow sf[MPS_SUBFLOW_ROWS];
	struct mps_state state;
};

/* What the peer believes of a subflow of ours. */
enum mps_told {
	MPS_TOLD_NOTHING = 0, /* by MP_PRIO: what MP_JOIN said holds */
	MPS_TOLD_ACTIVE = 1,
	MPS_TOLD_BACKUP = 2,
};

/* What was told to the peer about one subflow, and what came of it. */
struct mps_peer_subflow {
	__u64 check_ns;    /* when to look whether the peer follows, if its bit in `checks` is set */
	__u64 rate_ns;     /* since when its rate is measured … */
	__u64 grown_ns;    /* when what was received on it was last seen to grow … */
	__u32 grown_bytes; /* … and what it was then; sums of octets are modulo 2^32 */
	__u32 rate_bytes;  /* what had been received on it at rate_ns */
	__u32 check_bytes; /* what had been received on it at the last look … */
	__u32 check_total; /* … and on all subflows */
	__u32 rate;        /* bytes/ms, of the last measurement */
	__u32 queue_us;    /* how much longer than the least segments were on their way in it */
	/* How long they were on their way, by two clocks of which nobody knows how far they are apart: ms modulo 2^32. */
	__u32 delay_least;
	__u32 delay_later; /* since delay_ms, to take over from delay_least */
	__u32 delay_now;   /* the least of the present measurement, if `delays` says that there is one */
	__u32 delay_ms;
	__u8 told;     /* enum mps_told */
	__u8 tries;    /* how often it was told the same again */
	__u8 looks;    /* since it was told something else */
	__u8 given_up; /* the peer uses it all the same */
	__u8 delays;   /* enum mps_peer_delay */
	__u8 unheeded; /* in how many measurements in a row the peer sent on it beside another, though it had asked for a backup */
	__u8 pad[2];
};

enum mps_peer_delay {
	MPS_DELAY_LEAST = 1u << 0, /* there is a delay_least */
	MPS_DELAY_NOW = 1u << 1,   /* … and a delay_now */
};

/*
 * Value of mps_peers, keyed by the connection's token: what the peer is to send. `conn` is as in mps_conns, with the policy of this
 * direction, its state and its verdict; of its subflows `peer_backup` is our endpoint's flag, `flip_ns` and `flip_value` what we
 * told last, `seen_ns` when a pure ACK last left, `ifindex` where its packets leave, and `mac` as they do.
 */
struct mps_peer {
	struct mps_conn conn;
	__u16 pending; /* bit i: the peer is to be told something about sf[i] … */
	__u16 want;    /* … namely that it is to be a backup, or not */
	__u16 told;    /* bit i: the peer believes something else than our endpoints say */
	__u16 checks;  /* bit i: it is to be looked at whether the peer follows */
	struct mps_peer_subflow sf[MPS_SUBFLOW_ROWS];
};

/* How many connections have room, unless `attach --max-connections` says otherwise, and what it may say. */
#define MPS_DEFAULT_CONNS 16384
#define MPS_LEAST_CONNS 16
#define MPS_MOST_CONNS 1048576
#define MPS_REFUSED 256

/* A connection that found no room lately. */
struct mps_refused {
	__u32 token;
	__u32 pad;
	__u64 when_ns;
};

/* ---------------------------------------------------------------- config */

/* Key 0 of mps_config. `choice` is read and written as one word, so a switch is atomic. */
struct mps_config {
	__u64 choice;     /* rule_epoch << 32 | default slot */
	__u32 path_epoch; /* bumped after every change of mps_paths */
	__u32 dwell_us;   /* least time between two edits of one subflow's bit */
	__u32 nr_rules;
	__u32 flags;                      /* enum mps_config_flag */
	__u32 slot_serial[MPS_MAX_SLOTS]; /* bumped whenever a slot is filled */
	__u32 slot_wants
		[MPS_MAX_SLOTS]; /* enum mps_extra and enum mps_slot_want: what the slot's policy was built for */
	__u64 changed_ns; /* CLOCK_MONOTONIC of the last command that changed what policies wish; for mps_apply */
	__u32 rx_slot; /* the default slot for what peers send; goes with `choice`, before which it is written */
	__u32 pad;
	__u64 paths_down; /* bit i: mps_paths[i] has no carrier or no address. Written by who follows the interfaces … */
	__u64 down_ns; /* … at this time (monotonic): a path on which something arrived since is not down */
};

/* Beside the bits of enum mps_extra. */
enum mps_slot_want {
	/* Its object is of policy ABI 4.0: the state is where the verdict became longer. */
	MPS_SLOT_4_0 = 1u << 31,
};

enum mps_config_flag {
	/* Every connection is treated as under `default`, whatever its slot: used while detaching. */
	MPS_CONFIG_LEAVING = 1u << 0,
	/* Some path has a quota: connections of one subflow are looked at, too, to be counted. */
	MPS_CONFIG_METERED = 1u << 1,
	/* Some policy in use has MPS_POLICY_LEVERS. Without it every lever goes back to what it was. */
	MPS_CONFIG_LEVERS = 1u << 2,
	/* The last switch left the connections there were with what they had (--new-only). For `status` alone. */
	MPS_CONFIG_NEW_ONLY = 1u << 3,
	/* Some policy in use decides about what peers send. Without it they are told what our endpoints say. */
	MPS_CONFIG_RX = 1u << 4,
	/* Some path has MPS_PATH_NEVER: peers are told so under every policy. */
	MPS_CONFIG_NEVER = 1u << 6,
	/* Applications of some cgroup may choose, see choice.bpf.h. */
	MPS_CONFIG_APPS = 1u << 7,
	/* Somebody follows: subflows that go silent are looked for, see guard.bpf.h. */
	MPS_CONFIG_GUARD = 1u << 5,
};

#define MPS_DEFAULT_DWELL_US 1000
#define MPS_MAX_DWELL_US 10000000

/* Slot 0 never holds a program: it is the pass-through that works even when nothing else does. */
#define MPS_SLOT_NONE 0
/* Of a rule: it says nothing about this direction, the next one that matches does. */
#define MPS_SLOT_OPEN 0xffffffffu

enum mps_rule_field {
	MPS_RULE_LOCAL = 1u << 0,
	MPS_RULE_REMOTE = 1u << 1,
	MPS_RULE_LOCAL_PORT = 1u << 2,
	MPS_RULE_REMOTE_PORT = 1u << 3,
	MPS_RULE_MARK = 1u << 4,
	MPS_RULE_CGROUP = 1u << 5,
	MPS_RULE_IFINDEX = 1u << 6,
	MPS_RULE_USER = 1u << 7,
	MPS_RULE_UNIT = 1u << 8,
	MPS_RULE_HOST = 1u << 9,
	MPS_RULE_COMMAND = 1u << 10,
};

/* TASK_COMM_LEN: a command's name as the kernel keeps it, with NULs behind it; compared as two words. */
#define MPS_COMMAND_LEN 16
#define MPS_MAKER_MAGIC 0x6d70736d616b6572ull

/* Which command made a socket, kept with it while some rule asks for that (command.bpf.c); what a listener accepts has its listener's. */
struct mps_maker {
	__u64 magic; /* MPS_MAKER_MAGIC: XDP programs find it by that among what others keep with the socket */
	char command[MPS_COMMAND_LEN];
};

/* A name in a rule, with its terminating NUL and NULs behind it, and that as words. */
#define MPS_RULE_NAME_LEN 128
#define MPS_RULE_NAME_WORDS (MPS_RULE_NAME_LEN / 8)

/* By which names are compared: FNV-1a, a word at a time. */
static inline __u64 mps_name_digest(const __u64 *words)
{
	__u64 digest = 0xcbf29ce484222325ull;

	for (__u32 i = 0; i < MPS_RULE_NAME_WORDS; i++) {
		digest = (digest ^ words[i]) * 0x100000001b3ull;
		/* A product moves nothing down, so the last octet of a word would only reach the top of the digest. */
		digest ^= digest >> 32;
	}
	return digest;
}

/* Key of mps_hosts: an address that the host of this name has. The value is when that was last seen to be so, CLOCK_BOOTTIME in s. */
struct mps_host_address {
	__u64 host; /* digest of its name */
	__u8 address[16];
};

/* How many addresses there may be, of all hosts together. */
#define MPS_MAX_HOST_ADDRESSES 1024

/*
 * One selector: all named fields must match; the first matching rule decides. Addresses are IPv6, IPv4
 * ones as IPv4-mapped (prefix length + 96). Matched against the connection (msk), the interface against
 * the one on which its packet arrived.
 */
struct mps_rule {
	__u32 fields; /* enum mps_rule_field; 0 = unused entry */
	__u32 slot;
	__u8 local[16];
	__u8 remote[16];
	__u8 local_prefix; /* 0..128 */
	__u8 remote_prefix;
	__u16 local_port; /* host order */
	__u16 remote_port;
	__u16 pad;
	__u32 mark;
	__u32 mark_mask;
	__u32 ifindex;
	__u32 rx_slot;   /* for what the peer sends */
	__u64 cgroup_id; /* of the cgroup itself or any ancestor */
	__u64 unit;      /* digest of the name that the cgroup itself or any ancestor has */
	__u64 host;      /* digest of a name; its addresses are in mps_hosts */
	__u32 uid;       /* whose the socket is */
	__u32 pad2;
	char unit_name[MPS_RULE_NAME_LEN]; /* for who reads the rules */
	char host_name[MPS_RULE_NAME_LEN];
	char command[MPS_COMMAND_LEN]; /* of who made the socket, as struct mps_maker has it */
};

/* What mps_netns_alive answers about the network namespace that it was loaded for. */
enum mps_netns_answer {
	MPS_NETNS_GONE = 0,
	MPS_NETNS_ALIVE = 1,
	MPS_NETNS_UNKNOWN = 2,
};

/* ----------------------------------------------------------------- wakes */

enum mps_wake_state {
	MPS_WAKE_FREE = 0,
	MPS_WAKE_FILLING = 1,
	MPS_WAKE_READY = 2,
	MPS_WAKE_SENT = 3, /* the clone is on its way to the target interface */
};

/* Everything needed to write a pure ACK with MP_PRIO for an idle subflow. */
struct mps_wake {
	__u32 state; /* enum mps_wake_state; changed by compare-and-swap only */
	__u32 ifindex;
	__u64 when_ns;
	__be32 saddr[4]; /* the peer; IPv4 in word 0 */
	__be32 daddr[4]; /* this host */
	__be16 sport;
	__be16 dport;
	__u32 seq;
	__u32 ack;
	__u32 tsval;
	__u32 tsecr;
	__u16 window; /* as in the header, already scaled */
	__u8 is_ipv6;
	__u8 has_tstamp;
	__u8 backup; /* the B bit of MP_PRIO */
	__u8 l3;     /* the target interface has no link-layer header */
	__u8 nr_vlans;
	__u8 hop; /* the clone first visits its own L3 interface to get a link-layer header */
	__u16 vlan_tci[MPS_MAX_VLANS];
	__be16 vlan_proto[MPS_MAX_VLANS];
	__u32 ip_ifindex; /* where IP is to receive it: the interface itself, or a bridge, VLAN … above it */
	__u8 mac[MPS_MACS_LEN];
	__u32 from_ifindex; /* of the packet that lends its body */
};

/* ---------------------------------------------------------------- events */

/* What the ring buffer mps_events has, for who follows: a subflow went silent, and perhaps a wake waits for a packet. */
struct mps_event {
	__u64 when_ns;
	__u64 sk; /* joins with mps_subflow_record.sk */
	__u32 token;
	__u32 ifindex;
};

/* -------------------------------------------------------------- counters */

/* Names and meanings, for the enum, the command line, JSON and the documentation alike. */
#define MPS_COUNTERS(X)                                                                                      \
	X(SEEN, "seen", "packets of attached interfaces that looked like TCP with an MPTCP option")          \
	X(SINGLE, "single", "packets of connections with one subflow: nothing to decide")                    \
	X(IDLE, "idle",                                                                                      \
	  "packets of connections with nothing to send that had been decided on just before: left alone")    \
	X(DECIDED, "decided", "decisions made by a policy")                                                  \
	X(PASSED, "passed", "decisions of the built-in pass-through (no policy in the connection's slot)")   \
	X(INSERTED, "inserted", "MP_PRIO written into a packet on its way in")                               \
	X(INSERTED_BACKUP, "inserted_backup", "of these with B=1 (parking)")                                 \
	X(REWRITTEN, "rewritten", "of these by changing an MP_PRIO of the peer's in place")                  \
	X(INSERTED_RETRY, "inserted_retry",                                                                  \
	  "of these because an earlier edit of the same value did not land")                                 \
	X(WAKE_QUEUED, "wake_queued", "wakes asked for by a decision")                                       \
	X(WAKE_SENT, "wake_sent", "clones redirected to the idle subflow's interface")                       \
	X(WAKE_WRITTEN, "wake_written", "wakes written and handed to the stack")                             \
	X(WAKE_LANDED, "wake_landed", "wakes after which the kernel's bit was seen to be as wanted")         \
	X(WAKE_LANDED_BACKUP, "wake_landed_backup", "of these with B=1 (parking)")                           \
	X(WAKE_LOST, "wake_lost", "wakes after which it was not, for whatever reason: repeated or given up") \
	X(WAKE_WITHHELD, "wake_withheld",                                                                    \
	  "wakes not handed to the stack: their socket or its address was gone")                             \
	X(WAKE_BUSY, "wake_busy", "wakes put off: their queue entry was in use")                             \
	X(WAKE_EXPIRED, "wake_expired", "wakes dropped: no packet came to carry them in time")               \
	X(WAKE_FAILED, "wake_failed", "wakes whose clone or rewrite failed")                                 \
	X(WAKE_STRAY, "wake_stray",                                                                          \
	  "packets with our mark that no wake of ours explains: passed on as they are")                      \
	X(WAKE_UNREACHABLE, "wake_unreachable",                                                              \
	  "wakes not possible: the link-layer address of the subflow is not known yet")                      \
	X(PEER_PRIO, "peer_prio", "MP_PRIO seen on the wire: the peer's own wish, remembered")               \
	X(MET_AGAIN, "met_again", "packets with an edit of another program of ours: left alone")             \
	X(DOUBT_SEQ, "doubt_seq",                                                                            \
	  "packets not believed, as TCP will not take them: sequence number out of window")                  \
	X(DOUBT_ACK, "doubt_ack",                                                                            \
	  "packets not believed: they acknowledge what was never sent, or too long ago")                     \
	X(DOUBT_TIME, "doubt_time", "packets not believed: their timestamp is old (PAWS)")                   \
	X(HELD_DWELL, "held_dwell", "edits put off by the minimum dwell time")                               \
	X(SKIP_ROOM, "skip_room", "edits put off: no room for 4 more option bytes")                          \
	X(SKIP_MTU, "skip_mtu", "edits put off: the packet would exceed the MTU")                            \
	X(SKIP_GSO, "skip_gso", "edits put off: a merged (GRO) packet, an ACK will carry it")                \
	X(SKIP_JOINING, "skip_joining", "edits put off: the subflow is not fully established")               \
	X(SKIP_LOCAL_BACKUP, "skip_local_backup", "edits not made: the local endpoint's backup flag rules")  \
	X(EDIT_FAILED, "edit_failed", "edits the kernel's helper refused; the packet passed unmodified")     \
	X(EMPTY_VERDICT, "empty_verdict", "verdicts that allowed no usable subflow: taken as all")           \
	X(ABOVE, "above",                                                                                    \
	  "packets left to the attached interface that their socket uses (a VLAN or bridge above this one)") \
	X(NO_SOCKET, "no_socket", "MPTCP packets for no socket of this host")                                \
	X(NOT_MPTCP_SOCKET, "not_mptcp_socket", "MPTCP options on a connection that is plain TCP here")      \
	X(LIST_RACED, "list_raced", "the kernel's list of subflows changed while it was read")               \
	X(TOO_MANY_SUBFLOWS, "too_many_subflows", "connections with more subflows than can be steered")      \
	X(MALFORMED, "malformed", "packets with impossible lengths or options: passed untouched")            \
	X(CONN_NEW, "conn_new", "connections first seen")                                                    \
	X(CONN_FULL, "conn_full", "connections that found no room in the table: not steered until there is") \
	X(POLICY_FAILED, "policy_failed", "tail calls that ran no policy: treated as pass-through")          \
	X(SWITCHED, "switched", "connections that moved to another policy")                                  \
	X(RX_DECIDED, "rx_decided", "decisions made by a policy about what the peer sends")                  \
	X(TOLD, "told", "MP_PRIO sent to a peer: how it is to treat a subflow")                              \
	X(TOLD_BACKUP, "told_backup", "of these with B=1: it is to avoid the subflow")                       \
	X(TOLD_ALONE, "told_alone", "of these in a packet of their own: the subflow had none to send")       \
	X(TOLD_AGAIN, "told_again", "of these because what the peer sends does not show that it knows")      \
	X(TOLD_BY_KERNEL, "told_by_kernel", "MP_PRIO that the local path manager sent: an endpoint's flag")  \
	X(TELL_IN_VAIN, "tell_in_vain", "subflows that a peer uses although it was told not to: given up")   \
	X(TELL_NO_ROOM, "tell_no_room", "put off: no room for 4 more option bytes, or the MTU")              \
	X(TELL_FAILED, "tell_failed", "the kernel's helper refused; the packet passed unmodified")           \
	X(TELL_UNREACHABLE, "tell_unreachable",                                                              \
	  "packets of their own not possible: the next hop's link-layer address is not known")               \
	X(SILENT, "silent",                                                                                  \
	  "subflows that went silent: data under way, and nothing acknowledged for too long")                \
	X(GW_CONNS, "gw_conns", "forwarded connections whose handshake was seen whole (role gateway)")       \
	X(GW_SUBFLOWS, "gw_subflows", "forwarded subflows of these: first ones and joins")                   \
	X(GW_FULL, "gw_full", "forwarded subflows that found no room in the table: not steered")             \
	X(GW_UNSEEN, "gw_unseen", "handshakes that ended here without having been seen whole: not steered")  \
	X(GW_DOUBT, "gw_doubt", "forwarded packets not believed: no receiver would take them")

enum mps_counter {
#define MPS_COUNTER_ENUM(id, name, text) MPS_C_##id,
	MPS_COUNTERS(MPS_COUNTER_ENUM)
#undef MPS_COUNTER_ENUM
		MPS_C_MAX
};

/* Value of the per-CPU map mps_counters, key 0. */
struct mps_counters {
	__u64 n[MPS_C_MAX];
};

/* --------------------------------------------------- records of iter/tcp */

/* One subflow as dumped by the iterator program mps_dump; a stream of these, nothing else. */
struct mps_subflow_record {
	__u32 abi; /* MPS_ABI_VERSION */
	__u32 token;
	__u64 sk;       /* joins with mps_conn_subflow.sk */
	__u8 local[16]; /* IPv6, or IPv4-mapped */
	__u8 remote[16];
	__u16 local_port;
	__u16 remote_port;
	__u32 state;      /* TCP_ESTABLISHED … */
	__u32 rx_ifindex; /* where it last received, else where it sends */
	__u32 mark;
	__u32 rcv_nxt;
	__u32 snd_una;
	__u32 tsval;  /* ts_recent */
	__u32 tsecr;  /* rcv_tsecr */
	__u32 window; /* as in the header, already scaled */
	__u32 has_tstamp;
	__u32 fully_established;
	__u32 is_ipv6;
	struct mps_subflow_view view;
	__u64 max_pacing_rate; /* bytes/s, sk_max_pacing_rate; 2^64-1 = no limit */
	__u32 notsent_lowat;   /* bytes, tcp_sock.notsent_lowat; 0 = the sysctl's, 2^32-1 = no limit */
	__u32 plain;           /* the peer did not agree to MPTCP: the socket speaks TCP */
	__u64 bytes_received;  /* contents that arrived on it */
};

/* ---------------------------------------------------------------- levers */

/* What a subflow's levers were before we moved them; lives and dies with its socket. */
struct mps_lever_memory {
	__u64 checked_ns; /* when the wish was last looked at */
	__u64 pace_before;
	__u32 pace_set; /* the value that we gave it; 0: we did not touch it */
	__u32 lowat_before;
	__u32 lowat_set;
	__u32 flagged; /* we asked for callbacks at RTT samples */
};

/* Names of BPF objects that user space looks up; ≤ 15 characters because the kernel cuts there. */
#define MPS_MAP_CONFIG "mps_config"
#define MPS_MAP_PATHS "mps_paths"
#define MPS_MAP_PATH_INDEX "mps_path_index"
#define MPS_MAP_USAGE "mps_usage"
#define MPS_MAP_MISSES "mps_misses"
#define MPS_MAP_RULES "mps_rules"
#define MPS_MAP_HOSTS "mps_hosts"
#define MPS_MAP_GRANTS "mps_grants"
#define MPS_MAP_CHOICES "mps_choices"
#define MPS_MAP_CONNS "mps_conns"
#define MPS_MAP_PLACES "mps_places"
#define MPS_MAP_PEERS "mps_peers"
#define MPS_PROG_TAKE_BACK "mps_take_back"
#define MPS_PROG_LOOK "mps_look"
#define MPS_MAP_EVENTS "mps_events"
#define MPS_MAP_COUNTERS "mps_counters"
#define MPS_MAP_WAKES "mps_wakes"
#define MPS_MAP_XDP_SLOTS "mps_xdp_slots"
#define MPS_MAP_TC_SLOTS "mps_tc_slots"

#define MPS_STRUCT(type, bytes)                                                                              \
	MPS_STATIC_ASSERT(sizeof(struct type) == (bytes), #type " has another size than in its table");
#define MPS_MEMBER(type, member, offset)                                                                     \
	MPS_STATIC_ASSERT(__builtin_offsetof(struct type, member) == (offset),                               \
			  #type "." #member " has another offset than in its table");
#include <mps/datapath_layout.h>
#undef MPS_STRUCT
#undef MPS_MEMBER

#endif /* MPS_DATAPATH_ABI_H */
