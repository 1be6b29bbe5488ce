// SPDX-License-Identifier: GPL-2.0-only
/*
 * `mpsched rule`: what becomes of MPTCP options on an interface, as its rules say. These programs are not part of the data path: they stand in
 * front of it in TC, only on interfaces that have rules, so that nobody else pays for them.
 *
 * Every change keeps the packet's length: an option becomes NOPs, or some octets of it others. So there is no question of room, MTU
 * or segmentation: what leaves as one large packet is cut into segments with the options as we leave them. What cannot be read
 * or changed passes as it is.
 */
#include "maps.bpf.h"
#include "parse.bpf.h"
#include <mps/option_rules_abi.h>
#include <linux/pkt_cls.h>

char mps_license[] SEC("license") = "GPL";

/* Whose programs these are, for whoever finds them without their pins. */
const volatile __u64 mps_netns_cookie = 0;

/* Without types: 6.1 takes no map in its place that has other types than this, and the loader's have none. */
struct mps_option_set {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct mps_option_table));
};

/* One entry: the table in force. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, __u32);
	__array(values, struct mps_option_set);
} mps_orules SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, MPS_MAX_OPTION_RULES);
	__type(key, __u32);
	__type(value, struct mps_option_hits);
} mps_orule_hits SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, MPS_OPTION_JOIN_TABLE);
	__type(key, __u32); /* the token */
	__type(value, struct mps_option_joins);
} mps_orule_joins SEC(".maps");

/* Of the option at hand, as rules see it. */
struct option_key {
	__u32 ifindex;
	__u8 direction;
	__u8 subtype;
	__u8 state;
	__u8 family;
	__u16 local_port, remote_port;
	__u8 announced_family; /* 0: it announces no address */
	__u8 pad[3];
	__u32 join; /* in the SYN of a join, which of the connection's it is, from 1; 0 elsewhere */
	__u32 local[4], remote[4], announced[4];
};

#define OPTION_BYTES 64
#define OPTIONS_LISTED 16

/* One packet's options; not on the stack, which has no room for them. */
struct option_work {
	struct option_key key;
	__u8 bytes[OPTION_BYTES]; /* as they are to be */
	__u8 before[OPTION_BYTES];
	__u32 len;
	__u32 nr; /* MPTCP options among them, where they stand and how long they are */
	__u8 off[OPTIONS_LISTED], size[OPTIONS_LISTED];
	__u16 rule[OPTIONS_LISTED]; /* 1 + place among the hits of the rule that changed it; 0: none did */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct option_work);
} mps_option_work SEC(".maps");

/* Lists the MPTCP options. Returns a negative number where the options are none. */
__noinline int mps_list_options(struct option_work *work, __u32 len)
{
	__u32 off = 0, nr = 0;

	if (!work)
		return -1;
	for (int step = 0; step < TCP_OPTIONS_MAX; step++) {
		__u32 kind, size, listed;

		if (off >= len)
			break;
		kind = work->bytes[off & (OPTION_BYTES - 1)];
		if (kind == TCPOPT_EOL)
			break;
		if (kind == TCPOPT_NOP) {
			off = (off + 1) & (OPTION_BYTES - 1);
			continue;
		}
		if (off + 1 >= len)
			return -1;
		size = work->bytes[(off + 1) & (OPTION_BYTES - 1)];
		if (size < 2 || off + size > len)
			return -1;
		/* As arithmetic: a branch would double what the verifier has to walk. Overwritten unless it counts. */
		listed = nr & (OPTIONS_LISTED - 1);
		work->off[listed] = off;
		work->size[listed] = size;
		nr += is_equal(kind, TCPOPT_MPTCP) & (1 - is_equal(size, 2));
		off = (off + size) & (OPTION_BYTES - 1);
	}
	work->nr = nr;
	return 0;
}

static __always_inline bool is_within(const struct mps_option_prefix *prefix, const __u32 *address,
				      __u32 family)
{
	__u32 differs = 0;

	for (int i = 0; i < 4; i++)
		differs |= (address[i] & prefix->mask[i]) ^ prefix->address[i];
	return !prefix->family || (prefix->family == family && !differs);
}

/* Global, so that the verifier looks at one rule and not at each. */
__noinline int mps_rule_matches(const struct mps_option_rule *rule, const struct option_key *key)
{
	if (!rule || !key)
		return 0;
	if (rule->ifindex != key->ifindex || rule->direction != key->direction ||
	    rule->subtype != key->subtype || !(rule->states & key->state))
		return 0;
	if (rule->joins && key->join < rule->joins)
		return 0;
	if ((rule->local_port && rule->local_port != key->local_port) ||
	    (rule->remote_port && rule->remote_port != key->remote_port))
		return 0;
	return is_within(&rule->local, key->local, key->family) &&
	       is_within(&rule->remote, key->remote, key->family) &&
	       is_within(&rule->announced, key->announced, key->announced_family);
}

/* The first rule that is about this option, or -1. */
__noinline int mps_match_option(const struct mps_option_table *table, const struct option_key *key)
{
	if (!table || !key)
		return -1;
	for (__u32 i = 0; i < MPS_MAX_OPTION_RULES; i++) {
		if (i >= table->nr)
			break;
		if (mps_rule_matches(&table->rule[i], key))
			return i;
	}
	return -1;
}

/* Octets of an option become this one. */
__noinline int mps_fill_option(struct option_work *work, __u32 off, __u32 len, __u32 octet)
{
	if (!work)
		return 0;
	for (__u32 i = 0; i < TCP_OPTIONS_MAX; i++) {
		if (i >= len)
			break;
		work->bytes[(off + i) & (OPTION_BYTES - 1)] = octet;
	}
	return 0;
}

static __always_inline void set_backup(struct option_work *work, __u32 off, bool backup)
{
	__u8 *head = &work->bytes[(off + 2) & (OPTION_BYTES - 1)];

	*head = (*head & ~1) | backup;
}

/*
 * What a host needs to go on must stay, so not every option becomes NOPs.
 * - A join's SYN without its option would be the SYN of a new connection, which a listener would take and an application might see. So it
 *   stays a join, but of a connection that there is not: token 0 is none's (net/mptcp/token.c), and what hears it answers with a
 *   RST (RFC 8684 section 3.2). A SYN/ACK without the option makes the host that asked end the subflow.
 * - An ADD_ADDR may be all of MPTCP that there is in the first packet of an established subflow. Without it the connection falls back, or the
 *   subflow is reset (check_fully_established(), net/mptcp/options.c). So it stays, without the address and with an HMAC that is wrong, and
 *   nobody acts on it (RFC 8684 section 3.4.1). An echo has no HMAC; one of the address 0 answers nothing.
 */
static __always_inline void neutralise(struct option_work *work, __u32 off, __u32 size)
{
	if (work->key.subtype == MPTCP_SUB_MP_JOIN && work->key.state == MPS_OPTION_SYN)
		mps_fill_option(work, off + offsetof(struct mptcp_join_syn, token), MPTCP_OCTETS_token, 0);
	else if (work->key.subtype == MPTCP_SUB_ADD_ADDR && size > MPTCP_HEAD_LEN + MPTCP_OCTETS_address_id)
		mps_fill_option(work, off + MPTCP_HEAD_LEN + MPTCP_OCTETS_address_id,
				size - MPTCP_HEAD_LEN - MPTCP_OCTETS_address_id, 0);
	else
		mps_fill_option(work, off, size, TCPOPT_NOP);
}

/* What the option announces, if it does. */
static __always_inline void note_announced(struct option_work *work, __u32 off, __u32 size)
{
	struct option_key *key = &work->key;
	__u8 *to = (__u8 *)key->announced;
	bool v4 = size == MPTCP_LEN_add_addr4 || size == MPTCP_LEN_add_addr4_port ||
		  size == MPTCP_LEN_add_addr4_echo || size == MPTCP_LEN_add_addr4_port_echo;

	key->announced_family = 0;
	if (key->subtype != MPTCP_SUB_ADD_ADDR)
		return;
	key->announced_family = v4 ? 4 : 6;
	if (v4) {
		key->announced[0] = key->announced[1] = 0;
		key->announced[2] = bpf_htonl(0xffff);
		for (__u32 i = 0; i < 4; i++)
			to[12 + i] = work->bytes[(off + 4 + i) & (OPTION_BYTES - 1)];
		return;
	}
	for (__u32 i = 0; i < 16; i++)
		to[i] = work->bytes[(off + 4 + i) & (OPTION_BYTES - 1)];
}

static __always_inline __u32 read_u32(const struct option_work *work, __u32 off)
{
	__u32 value = 0;

	for (__u32 i = 0; i < 4; i++)
		((__u8 *)&value)[i] = work->bytes[(off + i) & (OPTION_BYTES - 1)];
	return value;
}

/*
 * Which of its connection's joins the SYN asks for, from 1. Beyond those that are told apart all are the next one. Forged
 * tokens fill the table, and a connection that is pushed out of it counts anew: more is let through then, and nothing else happens.
 */
__noinline int mps_count_join(struct option_work *work, __u32 off)
{
	struct mps_option_joins none, *joins;
	__u32 token, nonce, place;

	if (!work)
		return 0;
	token = read_u32(work, off + offsetof(struct mptcp_join_syn, token));
	nonce = read_u32(work, off + offsetof(struct mptcp_join_syn, nonce));
	joins = bpf_map_lookup_elem(&mps_orule_joins, &token);
	if (!joins) {
		__builtin_memset(&none, 0, sizeof(none));
		bpf_map_update_elem(&mps_orule_joins, &token, &none, BPF_NOEXIST);
		joins = bpf_map_lookup_elem(&mps_orule_joins, &token);
		if (!joins)
			return 1;
	}
	for (__u32 i = 0; i < MPS_OPTION_JOINS; i++) {
		if (i < joins->nr && joins->nonce[i] == nonce)
			return i + 1;
	}
	if (joins->nr >= MPS_OPTION_JOINS)
		return MPS_OPTION_JOINS + 1;
	/* Two at once on two processors have two places. */
	place = __sync_fetch_and_add(&joins->nr, 1);
	if (place >= MPS_OPTION_JOINS)
		return MPS_OPTION_JOINS + 1;
	joins->nonce[place & (MPS_OPTION_JOINS - 1)] = nonce;
	return place + 1;
}

/* Judges one option. Returns 1 if it was changed. */
__noinline int mps_judge_option(struct option_work *work, const struct mps_option_table *table, __u32 which)
{
	const struct mps_option_rule *rule;
	struct mps_option_hits *hits;
	__u32 off, size, place, found;
	int index;

	if (!work || !table)
		return 0;
	off = work->off[which & (OPTIONS_LISTED - 1)];
	size = work->size[which & (OPTIONS_LISTED - 1)];
	work->key.subtype = work->bytes[(off + 2) & (OPTION_BYTES - 1)] >> 4;
	if (!(table->subtypes[work->key.direction & 1] >> work->key.subtype & 1))
		return 0;
	note_announced(work, off, size);
	work->key.join = 0;
	if (table->counts_joins && work->key.subtype == MPTCP_SUB_MP_JOIN &&
	    work->key.state == MPS_OPTION_SYN && size == MPTCP_LEN_join_syn)
		work->key.join = mps_count_join(work, off);
	index = mps_match_option(table, &work->key);
	if (index < 0)
		return 0;
	found = index;
	barrier_var(found); /* the range on the number itself */
	rule = &table->rule[found & (MPS_MAX_OPTION_RULES - 1)];
	place = rule->hits;
	hits = bpf_map_lookup_elem(&mps_orule_hits, &place);
	if (hits)
		hits->matched++;
	switch (rule->action) {
	case MPS_OPTION_NEUTRALISE:
	case MPS_OPTION_REFUSE:
		neutralise(work, off, size);
		break;
	case MPS_OPTION_SET_BACKUP:
		set_backup(work, off, true);
		break;
	case MPS_OPTION_CLEAR_BACKUP:
		set_backup(work, off, false);
		break;
	default:
		return 0;
	}
	work->rule[which & (OPTIONS_LISTED - 1)] = place + 1;
	return 1;
}

/* Whose changes were made, or were not. */
__noinline int mps_count_changes(struct option_work *work, __u32 done)
{
	if (!work)
		return 0;
	for (__u32 i = 0; i < OPTIONS_LISTED; i++) {
		struct mps_option_hits *hits;
		__u32 place = work->rule[i] - 1u;

		if (i >= work->nr || !work->rule[i])
			continue;
		hits = bpf_map_lookup_elem(&mps_orule_hits, &place);
		if (hits)
			hits->changed += done;
		if (hits)
			hits->failed += 1 - done;
	}
	return 0;
}

/*
 * A length between 4 and OPTION_BYTES for the verifier, which loses the range of one that was compared (6.1 when it is spilled, 7.2 the lower
 * end). Of options it changes nothing: theirs is 4 to 40, by fours.
 */
static __always_inline __u32 bounded(__u32 len)
{
	len -= 4;
	barrier_var(len);
	return (len & (OPTION_BYTES - 4)) + 4;
}

/*
 * The octets, and the checksum by their difference: bpf_l4_csum_replace() knows whether it is complete or the device is
 * to do it.
 */
__noinline int mps_write_options(struct __sk_buff *skb, struct option_work *work, __u32 tcp_off)
{
	__u32 options = tcp_off + sizeof(struct tcphdr), check = tcp_off + offsetof(struct tcphdr, check);
	__s64 diff;

	if (!work)
		return 0;
	diff = bpf_csum_diff((__be32 *)work->before, TCP_OPTIONS_MAX, (__be32 *)work->bytes, TCP_OPTIONS_MAX,
			     0);
	if (diff < 0 || bpf_skb_store_bytes(skb, options, work->bytes, bounded(work->len), 0))
		return 0;
	return !bpf_l4_csum_replace(skb, check, 0, diff, 0);
}

/* The ends of the connection, as this host has them. Returns false if they cannot be read. */
static __always_inline bool note_ends(struct __sk_buff *skb, struct option_key *key,
				      const struct mps_packet *pkt, const struct tcphdr *tcp)
{
	__u32 *from = key->direction == MPS_OPTION_OUT ? key->local : key->remote;
	__u32 *to = key->direction == MPS_OPTION_OUT ? key->remote : key->local;
	__u16 source = bpf_ntohs(tcp->source), dest = bpf_ntohs(tcp->dest);

	key->local_port = key->direction == MPS_OPTION_OUT ? source : dest;
	key->remote_port = key->direction == MPS_OPTION_OUT ? dest : source;
	if (pkt->is_ipv6) {
		key->family = 6;
		return !bpf_skb_load_bytes(skb, pkt->net_off + offsetof(struct ipv6hdr, saddr), from, 16) &&
		       !bpf_skb_load_bytes(skb, pkt->net_off + offsetof(struct ipv6hdr, daddr), to, 16);
	}
	key->family = 4;
	from[0] = from[1] = to[0] = to[1] = 0;
	from[2] = to[2] = bpf_htonl(0xffff);
	return !bpf_skb_load_bytes(skb, pkt->net_off + offsetof(struct iphdr, saddr), from + 3, 4) &&
	       !bpf_skb_load_bytes(skb, pkt->net_off + offsetof(struct iphdr, daddr), to + 3, 4);
}

/* Global, so that the many ways through a packet's headers do not multiply with what follows. */
__noinline int mps_parse_ruled(struct __sk_buff *skb, struct mps_packet *pkt, __u32 l3)
{
	void *data = (void *)(long)skb->data, *data_end = (void *)(long)skb->data_end;

	if (!pkt)
		return PARSE_NOT_OURS;
	return l3 ? parse_packet(data, data_end, skb->len, true, pkt)
		  : parse_packet(data, data_end, skb->len, false, pkt);
}

/* Reads the options and whose they are. Returns false if there are none to judge. */
static __always_inline bool read_options(struct __sk_buff *skb, struct option_work *work,
					 const struct mps_packet *pkt)
{
	struct tcphdr tcp;
	__u32 len;

	/* The parser stops at SYN and RST, but has found where TCP begins by then; and knows before that it is no fragment. */
	if (!pkt->tcp_off || bpf_skb_load_bytes(skb, pkt->tcp_off, &tcp, sizeof(tcp)))
		return false;
	len = tcp.doff * 4 - sizeof(tcp);
	if (len < 4 || len > TCP_OPTIONS_MAX)
		return false;
	work->len = len;
	if (bpf_skb_load_bytes(skb, pkt->tcp_off + sizeof(tcp), work->bytes, bounded(len)))
		return false;
	work->key.state = !tcp.syn ? MPS_OPTION_ESTABLISHED : tcp.ack ? MPS_OPTION_SYNACK : MPS_OPTION_SYN;
	return !mps_list_options(work, len) && work->nr && note_ends(skb, &work->key, pkt, &tcp);
}

static __always_inline int apply_rules(struct __sk_buff *skb, bool l3, __u32 direction)
{
	void *data = (void *)(long)skb->data, *data_end = (void *)(long)skb->data_end;
	const struct mps_option_table *table;
	struct option_work *work;
	struct mps_packet pkt;
	__u32 zero = 0, changed = 0;
	void *set;

	/* Headers outside the linear part; pulling changes nothing in the packet. */
	if (data + 128 > data_end && data + skb->len > data_end) {
		if (bpf_skb_pull_data(skb, skb->len < 128 ? skb->len : 128))
			return TC_ACT_UNSPEC;
		data = (void *)(long)skb->data;
		data_end = (void *)(long)skb->data_end;
	}
	/* Generic XDP can take the link-layer header away (see mps_restore_mac()). */
	if (!l3 && direction == MPS_OPTION_IN && data + sizeof(struct ethhdr) <= data_end &&
	    ((struct ethhdr *)data)->h_proto != skb->protocol)
		l3 = true;
	if (l3 ? has_no_mptcp(data, data_end, true) : has_no_mptcp(data, data_end, false))
		return TC_ACT_UNSPEC;
	set = bpf_map_lookup_elem(&mps_orules, &zero);
	table = set ? bpf_map_lookup_elem(set, &zero) : NULL;
	work = bpf_map_lookup_elem(&mps_option_work, &zero);
	if (!table || !work)
		return TC_ACT_UNSPEC;
	__builtin_memset(&pkt, 0, sizeof(pkt));
	__builtin_memset(work, 0, sizeof(*work));
	if (mps_parse_ruled(skb, &pkt, l3) == PARSE_MALFORMED)
		return TC_ACT_UNSPEC;
	work->key.ifindex = skb->ifindex;
	work->key.direction = direction;
	if (!read_options(skb, work, &pkt))
		return TC_ACT_UNSPEC;
	__builtin_memcpy(work->before, work->bytes, sizeof(work->before));
	for (__u32 i = 0; i < OPTIONS_LISTED; i++) {
		if (i >= work->nr)
			break;
		changed += mps_judge_option(work, table, i);
	}
	if (changed)
		mps_count_changes(work, mps_write_options(skb, work, pkt.tcp_off) & 1);
	return TC_ACT_UNSPEC;
}

SEC("tc") int mps_rin_eth(struct __sk_buff *skb)
{
	return apply_rules(skb, false, MPS_OPTION_IN);
}

SEC("tc") int mps_rin_l3(struct __sk_buff *skb)
{
	return apply_rules(skb, true, MPS_OPTION_IN);
}

SEC("tc") int mps_rout_eth(struct __sk_buff *skb)
{
	return apply_rules(skb, false, MPS_OPTION_OUT);
}

SEC("tc") int mps_rout_l3(struct __sk_buff *skb)
{
	return apply_rules(skb, true, MPS_OPTION_OUT);
}
