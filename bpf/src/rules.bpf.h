/* SPDX-License-Identifier: GPL-2.0-only */
/* Which policy slot a connection belongs to. Runs when a connection is first seen or after a switch. */
#ifndef MPS_RULES_BPF_H
#define MPS_RULES_BPF_H

#include "maps.bpf.h"
#include "storage.bpf.h"

#define CGROUP_DEPTH_MAX 16

struct mps_match {
	struct mps_rule want; /* the connection itself in the form of a rule */
	__u64 cgroup_ids[CGROUP_DEPTH_MAX];
	__u64 cgroup_names[CGROUP_DEPTH_MAX]; /* digests */
	__u64 name[MPS_RULE_NAME_WORDS];
	struct mps_host_address host;
	struct mps_maker maker; /* a piece of storage that may be one */
	__u32 rx;               /* for what the peer sends */
	__u32 slot;
};

/* Too large for the stack. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct mps_match);
} mps_matches SEC(".maps");

static __always_inline bool prefix_matches(const __u8 *a, const __u8 *b, __u32 bits)
{
	for (__u32 i = 0; i < 16; i++) {
		__u32 left = bits > i * 8 ? bits - i * 8 : 0;
		__u8 mask = left >= 8 ? 0xff : (__u8)(0xff00u >> left);

		if ((a[i] ^ b[i]) & mask)
			return false;
	}
	return true;
}

static __always_inline bool is_among(const __u64 *list, __u64 wanted)
{
	for (__u32 i = 0; i < CGROUP_DEPTH_MAX; i++)
		if (list[i] == wanted)
			return true;
	return false;
}

static __always_inline bool same_command(const char *one, const char *other)
{
	const __u64 *a = (const __u64 *)one, *b = (const __u64 *)other;

	return a[0] == b[0] && a[1] == b[1];
}

static __always_inline bool rule_matches(const struct mps_rule *rule, struct mps_match *m)
{
	__u32 fields = rule->fields;

	if ((fields & MPS_RULE_LOCAL_PORT) && rule->local_port != m->want.local_port)
		return false;
	if ((fields & MPS_RULE_REMOTE_PORT) && rule->remote_port != m->want.remote_port)
		return false;
	if ((fields & MPS_RULE_MARK) && (m->want.mark & rule->mark_mask) != rule->mark)
		return false;
	if ((fields & MPS_RULE_IFINDEX) && rule->ifindex != m->want.ifindex)
		return false;
	if ((fields & MPS_RULE_LOCAL) && !prefix_matches(rule->local, m->want.local, rule->local_prefix))
		return false;
	if ((fields & MPS_RULE_REMOTE) && !prefix_matches(rule->remote, m->want.remote, rule->remote_prefix))
		return false;
	if ((fields & MPS_RULE_USER) && rule->uid != m->want.uid)
		return false;
	if ((fields & MPS_RULE_CGROUP) && !is_among(m->cgroup_ids, rule->cgroup_id))
		return false;
	if ((fields & MPS_RULE_COMMAND) && !same_command(rule->command, m->want.command))
		return false;
	if ((fields & MPS_RULE_UNIT) && !is_among(m->cgroup_names, rule->unit))
		return false;
	if (fields & MPS_RULE_HOST) {
		m->host.host = rule->host;
		return bpf_map_lookup_elem(&mps_hosts, &m->host) != NULL;
	}
	return true;
}

/* bpf_loop (5.17) verifies one step for all rules; unrolled they would exceed the verifier's budget. */
static int try_rule(__u32 index, void *arg MPS_UNUSED)
{
	__u32 zero = 0;
	struct mps_match *m = bpf_map_lookup_elem(&mps_matches, &zero);
	struct mps_rule *rule = bpf_map_lookup_elem(&mps_rules, &index);
	__u32 slot;

	if (!m || !rule)
		return 1;
	slot = m->rx ? rule->rx_slot : rule->slot;
	if (!rule->fields || slot == MPS_SLOT_OPEN || !rule_matches(rule, m))
		return 0;
	m->slot = slot;
	return 1;
}

static __always_inline void put_address(__u8 *to, bool is_ipv6, const __be32 *words, __be32 ipv4)
{
	__be32 *out = (__be32 *)to;

	if (is_ipv6) {
		for (int i = 0; i < 4; i++)
			out[i] = words[i];
	} else {
		out[0] = 0;
		out[1] = 0;
		out[2] = bpf_htonl(0xffff);
		out[3] = ipv4;
	}
}

static __always_inline void put_endpoint(__u8 *to, struct sock_common *sc, bool is_ipv6, bool remote)
{
	__be32 ipv4 = remote ? sc->skc_daddr : sc->skc_rcv_saddr;
	struct in6_addr v6 = {};

	if (is_ipv6) {
		if (remote)
			bpf_core_read(&v6, sizeof(v6), &sc->skc_v6_daddr);
		else
			bpf_core_read(&v6, sizeof(v6), &sc->skc_v6_rcv_saddr);
	}
	put_address(to, is_ipv6, v6.s6_addr32, ipv4);
}

/*
 * The cgroup at this level above the socket. A unit of systemd has another cgroup after each start, but one of the same name;
 * so units are told by that, and nobody has to follow them. Global, so that the verifier walks it once for all levels.
 */
__noinline int mps_note_cgroup(__u64 cgroup, __u32 level)
{
	__u32 zero = 0;
	struct mps_match *m = bpf_map_lookup_elem(&mps_matches, &zero);
	struct kernfs_node *kn = NULL;
	const char *name = NULL;

	if (!m)
		return 0;
	level &= CGROUP_DEPTH_MAX - 1;
	bpf_core_read(&kn, sizeof(kn), &((struct cgroup *)cgroup)->kn);
	bpf_core_read(&m->cgroup_ids[level], sizeof(m->cgroup_ids[level]), &kn->id);
	for (__u32 i = 0; i < MPS_RULE_NAME_WORDS; i++)
		m->name[i] = 0;
	bpf_core_read(&name, sizeof(name), &kn->name);
	bpf_probe_read_kernel_str(m->name, sizeof(m->name), name);
	m->cgroup_names[level] = mps_name_digest(m->name);
	return 0;
}

/* Which command made the socket; an empty name if nobody has noted it. */
__noinline int mps_note_maker(__u64 sock)
{
	__u32 zero = 0;
	struct mps_match *m = bpf_map_lookup_elem(&mps_matches, &zero);
	struct hlist_node *node;
	__u64 *command;

	if (!m)
		return 0;
	command = (__u64 *)m->want.command;
	command[0] = command[1] = 0;
	node = first_piece(sock);
	for (int i = 0; i < STORAGE_PIECES && node; i++) {
		if (!bpf_probe_read_kernel(&m->maker, sizeof(m->maker), data_of(node)) &&
		    m->maker.magic == MPS_MAKER_MAGIC) {
			__builtin_memcpy(m->want.command, m->maker.command, MPS_COMMAND_LEN);
			return 0;
		}
		bpf_core_read(&node, sizeof(node), &node->next);
	}
	return 0;
}

/* Returns the slot for the connection at this address: for what it sends, or with `rx` for what its peer sends. */
__noinline int mps_choose_slot(__u64 msk, __u32 nr_rules, __u32 dflt, __u32 ifindex, __u32 rx)
{
	__u32 zero = 0;
	struct mps_match *m = bpf_map_lookup_elem(&mps_matches, &zero);
	struct sock *sk = (struct sock *)msk;
	struct in6_addr v6;
	struct cgroup *cg;
	__u16 family;

	if (!m || !nr_rules)
		return dflt;
	m->slot = dflt;
	m->rx = rx;
	bpf_core_read(&family, sizeof(family), &sk->__sk_common.skc_family);
	m->want.ifindex = ifindex;
	bpf_core_read(&m->want.mark, sizeof(m->want.mark), &sk->sk_mark);
	bpf_core_read(&m->want.uid, sizeof(m->want.uid), &sk->sk_uid);
	bpf_core_read(&m->want.local_port, sizeof(m->want.local_port), &sk->__sk_common.skc_num);
	bpf_core_read(&m->want.remote_port, sizeof(m->want.remote_port), &sk->__sk_common.skc_dport);
	m->want.remote_port = bpf_ntohs(m->want.remote_port);
	{
		__be32 v4 = 0;

		bpf_core_read(&v4, sizeof(v4), &sk->__sk_common.skc_rcv_saddr);
		bpf_core_read(&v6, sizeof(v6), &sk->__sk_common.skc_v6_rcv_saddr);
		put_address(m->want.local, family == AF_INET6, v6.s6_addr32, v4);
		bpf_core_read(&v4, sizeof(v4), &sk->__sk_common.skc_daddr);
		bpf_core_read(&v6, sizeof(v6), &sk->__sk_common.skc_v6_daddr);
		put_address(m->want.remote, family == AF_INET6, v6.s6_addr32, v4);
		put_address(m->host.address, family == AF_INET6, v6.s6_addr32, v4);
	}
	mps_note_maker(msk);
	bpf_core_read(&cg, sizeof(cg), &sk->sk_cgrp_data.cgroup);
	for (__u32 i = 0; i < CGROUP_DEPTH_MAX; i++)
		m->cgroup_ids[i] = m->cgroup_names[i] = 0;
	if (cg && bpf_core_field_exists(cg->ancestors)) {
		int level = 0;

		bpf_core_read(&level, sizeof(level), &cg->level);
		for (int i = 0; i < CGROUP_DEPTH_MAX; i++) {
			struct cgroup *up = NULL;

			if (i > level)
				break;
			bpf_core_read(&up, sizeof(up), &cg->ancestors[i]);
			mps_note_cgroup((__u64)up, i);
		}
	} else if (cg) {
		mps_note_cgroup((__u64)cg, 0);
	}
	bpf_loop(nr_rules > MPS_MAX_RULES ? MPS_MAX_RULES : nr_rules, try_rule, NULL, 0);
	return m->slot;
}

#endif /* MPS_RULES_BPF_H */
