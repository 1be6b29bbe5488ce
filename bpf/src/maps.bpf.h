/* SPDX-License-Identifier: GPL-2.0-only */
/* Every map of the data path; datapath_abi.h says what the values mean. */
#ifndef MPS_MAPS_BPF_H
#define MPS_MAPS_BPF_H

#include <mps/datapath_abi.h>
#include "kernel.bpf.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct mps_config);
} mps_config SEC(".maps");

/* Path index -> attributes. Index 0 is the path of interfaces nobody attached or described. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MPS_MAX_PATHS);
	__type(key, __u32);
	__type(value, struct mps_path);
} mps_paths SEC(".maps");

/* Path index -> what a path with a quota has carried. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MPS_MAX_PATHS);
	__type(key, __u32);
	__type(value, struct mps_usage);
} mps_usage SEC(".maps");

/* Path index -> packets that found no socket. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, MPS_MAX_PATHS);
	__type(key, __u32);
	__type(value, struct mps_miss);
} mps_misses SEC(".maps");

/* ifindex -> path index; read only when a connection's cached index is out of date. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MPS_MAX_PATHS);
	__type(key, __u32);
	__type(value, __u32);
} mps_path_index SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MPS_MAX_RULES);
	__type(key, __u32);
	__type(value, struct mps_rule);
} mps_rules SEC(".maps");

/* The addresses of the hosts that rules name; the loader looks them up. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, MPS_MAX_HOST_ADDRESSES);
	__type(key, struct mps_host_address);
	__type(value, __u32);
} mps_hosts SEC(".maps");

/* What applications may choose: a grant for each cgroup. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MPS_MAX_GRANTS);
	__type(key, __u32);
	__type(value, struct mps_grant);
} mps_grants SEC(".maps");

/* … and what they have chosen. It lives and dies with the socket; the kernel copies a listener's to what it accepts. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_CLONE);
	__type(key, int);
	__type(value, struct mps_choice);
} mps_choices SEC(".maps");

/* How many connections have room; the loader sets it as well as max_entries of the two maps. */
const volatile __u32 mps_max_conns = MPS_DEFAULT_CONNS;

/* Memory is taken as there are connections. Who may have a record: see places.bpf.h. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, MPS_DEFAULT_CONNS);
	__type(key, __u32); /* token */
	__type(value, struct mps_conn);
} mps_conns SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MPS_DEFAULT_CONNS);
	__type(key, __u32);
	__type(value, __u64);
} mps_places SEC(".maps");

/* Where the next search for a place begins. */
__u32 mps_places_hand = 0;

/* What peers are to send; see peer.bpf.h. A record of a connection that is gone makes room as those of mps_conns do. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, MPS_DEFAULT_CONNS);
	__type(key, __u32); /* token */
	__type(value, struct mps_peer);
} mps_peers SEC(".maps");

/* What a new one starts from. Never written. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct mps_peer);
} mps_blank_peer SEC(".maps");

/* Connections that found no place, by the low bits of their tokens. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MPS_REFUSED);
	__type(key, __u32);
	__type(value, struct mps_refused);
} mps_refused SEC(".maps");

/* What a new connection starts from: too large for the stack. Never written. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct mps_conn);
} mps_blank_conn SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct mps_counters);
} mps_counters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct mps_scratch);
} mps_scratch SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MPS_MAX_WAKES);
	__type(key, __u32);
	__type(value, struct mps_wake);
} mps_wakes SEC(".maps");

/* struct mps_event, for who follows. What finds no room is not told. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 65536);
} mps_events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, MPS_MAX_SLOTS);
	__type(key, __u32);
	__type(value, __u32);
} mps_xdp_slots SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, MPS_MAX_SLOTS);
	__type(key, __u32);
	__type(value, __u32);
} mps_tc_slots SEC(".maps");

/* Headers in front of the TCP options, while a packet is edited in place. */
struct mps_edit {
	__u8 bytes[512]; /* any offset up to 255, and up to 256 bytes from there */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct mps_edit);
} mps_edits SEC(".maps");

/* One run of octets among the TCP options that are changed where they stand. */
struct mps_change {
	__u8 off; /* of the first, from the first option on */
	__u8 len;
	__u8 mask;  /* of each octet these bits … */
	__u8 value; /* … become those of this one */
};

#define MPS_PLAN_CHANGES 2

/* See plan.bpf.h. */
struct mps_plan {
	__u8 nr_changes;
	__u8 inserts; /* the four octets of `insert` */
	__be16 insert[2];
	struct mps_change change[MPS_PLAN_CHANGES];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct mps_plan);
} mps_plans SEC(".maps");

/* Bit i: mps_wakes[i] is READY (pending) or SENT. One load tells a packet that there is nothing to do. */
__u64 mps_wakes_ready = 0;
__u64 mps_wakes_sent = 0;

/* Set before loading by tests and benchmarks: decide at every packet, also of a connection that has nothing to send. Else nothing of it is left in the program. */
const volatile __u32 mps_decide_all = 0;

#define COUNT(counters, id) ((counters)->n[MPS_C_##id]++)

static __always_inline struct mps_counters *get_counters(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&mps_counters, &zero);
}

static __always_inline struct mps_config *get_config(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&mps_config, &zero);
}

static __always_inline struct mps_scratch *get_scratch(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&mps_scratch, &zero);
}

#endif /* MPS_MAPS_BPF_H */
