/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which connections pass here. A subflow is known once its handshake was seen whole: SYN and third packet one way, SYN/ACK the other way
 * through the same interface, each with the number that answers the last. Until then it has an entry in a table in which the oldest make room,
 * so what is forged (which sees no answer and so cannot give the number of it) crowds out other handshakes at most, and no connection that is
 * known. Those end with their FINs or a RST that the receiver would take; one whose hosts are gone makes room when nothing has passed
 * for longer than any connection stays in a NAT (RFC 5382 section 5).
 *
 * MP_CAPABLE tells both hosts' keys, and with them the tokens by which MP_JOIN names the connection (RFC 8684 sections 3.1 and 3.2).
 */
#ifndef MPS_GATEWAY_TRACK_BPF_H
#define MPS_GATEWAY_TRACK_BPF_H

#include "gateway_maps.bpf.h"
#include "sha256.bpf.h"

#define GATEWAY_IDLE_NS (7440ull * 1000 * 1000 * 1000)
#define GATEWAY_PLACES_SEARCHED 16
#define GATEWAY_PLACE_FILLED (1ull << 32)

static __always_inline bool comes_first(const __be32 *a, const __be32 *b, __u16 a_port, __u16 b_port)
{
	if (a_port != b_port)
		return a_port < b_port;
	for (int i = 0; i < 4; i++)
		if (a[i] != b[i])
			return a[i] < b[i];
	return true;
}

/* Ends of the connection, and which of them sent the packet. Returns 0 if they can be read. */
__noinline int mps_gw_read_key(struct __sk_buff *skb)
{
	struct gateway_work *w = get_work();
	__be32 end[8] = {};
	__be16 port[2];
	__u32 side, net_off;

	if (!w)
		return -1;
	net_off = w->pkt.net_off;
	if (bpf_skb_load_bytes(skb, w->pkt.tcp_off, port, sizeof(port)))
		return -1;
	if (w->pkt.is_ipv6) {
		if (bpf_skb_load_bytes(skb, net_off + offsetof(struct ipv6hdr, saddr), end, 32))
			return -1;
	} else {
		if (bpf_skb_load_bytes(skb, net_off + offsetof(struct iphdr, saddr), &end[3], 4) ||
		    bpf_skb_load_bytes(skb, net_off + offsetof(struct iphdr, daddr), &end[7], 4))
			return -1;
		end[2] = bpf_htonl(0xffff);
		end[6] = bpf_htonl(0xffff);
	}
	side = comes_first(end, end + 4, port[0], port[1]) ? 0 : 1;
	for (int i = 0; i < 4; i++) {
		w->key.address[side & 1][i] = end[i];
		w->key.address[~side & 1][i] = end[4 + i];
	}
	w->key.port[side & 1] = port[0];
	w->key.port[~side & 1] = port[1];
	w->side = side & 1;
	return 0;
}

static __always_inline __u32 be32_at(const __u8 *at)
{
	return (__u32)at[0] << 24 | (__u32)at[1] << 16 | (__u32)at[2] << 8 | at[3];
}

static __always_inline __u64 be64_at(const __u8 *at)
{
	return (__u64)be32_at(at) << 32 | be32_at(at + 4);
}

/* Finds the MP_CAPABLE or MP_JOIN among options that are in w->option, and moves it to their beginning. Returns its length, 0 without one. */
__noinline int mps_gw_find_option(__u32 len)
{
	struct gateway_work *w = get_work();
	__u32 off = 0, found = 0, found_len = 0;

	if (!w)
		return 0;
	for (int step = 0; step < TCP_OPTIONS_MAX; step++) {
		__u32 kind, size, ours;

		if (off >= len)
			break;
		kind = w->option[off & (GATEWAY_OPTION_BYTES - 1)];
		if (kind == TCPOPT_EOL)
			break;
		if (kind == TCPOPT_NOP) {
			off = (off + 1) & (GATEWAY_OPTION_BYTES - 1);
			continue;
		}
		size = w->option[(off + 1) & (GATEWAY_OPTION_BYTES - 1)];
		if (off + 1 >= len || size < 2 || off + size > len)
			return 0;
		/* As arithmetic: a branch would double what the verifier has to walk. */
		ours = is_equal(kind, TCPOPT_MPTCP) & (1 - is_equal(size, 2)) &
		       (1 - is_set(w->option[(off + 2) & (GATEWAY_OPTION_BYTES - 1)] >> 4 & ~1u));
		found = (found & (ours - 1)) | (off & -ours);
		found_len = (found_len & (ours - 1)) | (size & -ours);
		off = (off + size) & (GATEWAY_OPTION_BYTES - 1);
	}
	for (__u32 i = 0; i < TCP_OPTIONS_MAX; i++) {
		if (i >= found_len)
			break;
		w->option[i] = w->option[(found + i) & (GATEWAY_OPTION_BYTES - 1)];
	}
	return found_len;
}

/* As in option_rules.bpf.c: options are 4 to 40 octets, by fours, and so does the verifier take it. */
static __always_inline __u32 bounded_options(__u32 len)
{
	len -= 4;
	barrier_var(len);
	return (len & (GATEWAY_OPTION_BYTES - 4)) + 4;
}

/* The same of the packet. */
static __always_inline int find_handshake_option(struct __sk_buff *skb, struct gateway_work *w, __u32 len)
{
	if (len < 4 || len > TCP_OPTIONS_MAX ||
	    bpf_skb_load_bytes(skb, w->pkt.tcp_off + sizeof(struct tcphdr), w->option, bounded_options(len)))
		return 0;
	return mps_gw_find_option(len);
}

/* Removes the packet's subflow. With `ended` its connection goes with the last one; else another one may still join. */
__noinline int mps_gw_end_flow(__u32 token, __u32 index, __u32 ended)
{
	struct gateway_work *w = get_work();
	struct mps_gateway_conn *conn;
	__u32 tokens[2];

	if (!w)
		return 0;
	conn = bpf_map_lookup_elem(&mps_gw_conns, &token);
	bpf_map_delete_elem(&mps_gw_flows, &w->key);
	if (!conn)
		return 0;
	if ((__sync_fetch_and_and(&conn->used, ~(1ull << (index & 15))) & ~(1ull << (index & 15))) || !ended)
		return 0;
	tokens[0] = conn->token[0];
	tokens[1] = conn->token[1];
	for (int i = 0; i < 2; i++) {
		bpf_map_delete_elem(&mps_gw_tokens, &tokens[i]);
		bpf_map_delete_elem(&mps_gw_peers, &tokens[i]);
	}
	bpf_map_delete_elem(&mps_gw_conns, &token);
	return 0;
}

/* Has nothing of the connection passed for very long, or has it no subflow any more? */
__noinline int mps_gw_is_gone(__u32 token, __u64 now_ns)
{
	struct mps_gateway_conn *conn = bpf_map_lookup_elem(&mps_gw_conns, &token);
	__u64 used;

	if (!conn)
		return 1;
	used = *(volatile __u64 *)&conn->used;
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++) {
		struct mps_gateway_flow *flow;

		if (!(used >> i & 1))
			continue;
		flow = bpf_map_lookup_elem(&mps_gw_flows, &conn->subflow[i]);
		if (flow && (__s64)(now_ns - flow->way[0].last_ns) < (__s64)GATEWAY_IDLE_NS &&
		    (__s64)(now_ns - flow->way[1].last_ns) < (__s64)GATEWAY_IDLE_NS)
			return 0;
	}
	return 1;
}

__noinline int mps_gw_remove(__u32 token)
{
	struct mps_gateway_conn *conn = bpf_map_lookup_elem(&mps_gw_conns, &token);
	__u32 tokens[2];

	if (!conn)
		return 0;
	tokens[0] = conn->token[0];
	tokens[1] = conn->token[1];
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++)
		if (conn->used >> i & 1)
			bpf_map_delete_elem(&mps_gw_flows, &conn->subflow[i]);
	for (int i = 0; i < 2; i++) {
		bpf_map_delete_elem(&mps_gw_tokens, &tokens[i]);
		bpf_map_delete_elem(&mps_gw_peers, &tokens[i]);
	}
	bpf_map_delete_elem(&mps_gw_conns, &token);
	return 0;
}

/* A place for the connection, which takes that of one that is gone. 0 if there is none. */
__noinline int mps_gw_claim(__u32 token, __u64 now_ns)
{
	__u32 size = mps_max_conns ? mps_max_conns : 1, zero = 0;
	__u64 *hand = bpf_map_lookup_elem(&mps_gw_hand, &zero), first;

	if (!hand)
		return 0;
	first = __sync_fetch_and_add(hand, 1);
	for (__u32 i = 0; i < GATEWAY_PLACES_SEARCHED && i < size; i++) {
		__u32 index = (first + i) % size, old;
		__u64 *place = bpf_map_lookup_elem(&mps_gw_places, &index), there;

		if (!place)
			break;
		there = *(volatile __u64 *)place;
		old = (__u32)there;
		if (old && !mps_gw_is_gone(old, now_ns))
			continue;
		if (__sync_val_compare_and_swap(place, there, GATEWAY_PLACE_FILLED | token) != there)
			continue;
		if (old)
			mps_gw_remove(old);
		__sync_fetch_and_add(hand, i);
		return 1;
	}
	__sync_fetch_and_add(hand, GATEWAY_PLACES_SEARCHED - 1);
	return 0;
}

/* A SYN: the beginning of what may become a subflow. */
__noinline int mps_gw_syn(__u32 len)
{
	struct gateway_work *w = get_work();
	struct gateway_half *half, *there;
	__u32 side;

	if (!w)
		return 0;
	side = w->side & 1;
	half = &w->half;
	__builtin_memset(half, 0, sizeof(*half));
	half->subtype = w->option[2] >> 4;
	if (half->subtype == MPTCP_SUB_MP_CAPABLE) {
		if (len != MPTCP_LEN_capable_syn || (w->option[2] & 0xf) != 1)
			return 0;
	} else {
		if (len != MPTCP_LEN_join_syn)
			return 0;
		half->backup[side] = w->option[2] & 1;
		half->token = be32_at(w->option + offsetof(struct mptcp_join_syn, token));
		/* Of a connection that nothing is known of. */
		if (!bpf_map_lookup_elem(&mps_gw_tokens, &half->token))
			return 0;
	}
	/* Sent once more, or seen at another interface as well. */
	there = bpf_map_lookup_elem(&mps_gw_half, &w->key);
	if (there && there->side == side && there->isn[bounded_side(side)] == w->pkt.seq) {
		there->at_ns = 0;
		return 0;
	}
	side = bounded_side(side);
	half->side = side;
	half->out = w->out;
	half->ifindex = w->ifindex;
	half->isn[side] = w->pkt.seq;
	half->at_ns = bpf_ktime_get_ns();
	bpf_map_update_elem(&mps_gw_half, &w->key, half, BPF_ANY);
	return 0;
}

/* The answer to what `side` sent. */
static __always_inline void note_handshake(struct gateway_half *half, __u32 side)
{
	__u64 now_ns = bpf_ktime_get_ns();

	if (half->at_ns)
		half->rtt_us[bounded_side(side)] = (now_ns - half->at_ns) / 1000;
	half->at_ns = now_ns;
}

__noinline int mps_gw_synack(__u32 len)
{
	struct gateway_work *w = get_work();
	struct gateway_half *half;
	__u32 side;

	if (!w)
		return 0;
	side = w->side & 1;
	half = bpf_map_lookup_elem(&mps_gw_half, &w->key);
	if (!half || half->side == side || half->out == w->out || half->ifindex != w->ifindex ||
	    w->pkt.ack != half->isn[~side & 1] + 1 || half->subtype != w->option[2] >> 4)
		return 0;
	if (half->subtype == MPTCP_SUB_MP_CAPABLE) {
		if (len != MPTCP_LEN_capable_synack)
			return 0;
		half->key = be64_at(w->option + offsetof(struct mptcp_capable_synack, sender_key));
	} else {
		if (len != MPTCP_LEN_join_synack)
			return 0;
		half->backup[side] = w->option[2] & 1;
	}
	half->isn[bounded_side(side)] = w->pkt.seq;
	note_handshake(half, half->side);
	if (half->answered)
		half->at_ns = 0;
	half->answered = 1;
	return 0;
}

static __always_inline __u32 path_of(__u32 ifindex)
{
	__u32 *found = bpf_map_lookup_elem(&mps_path_index, &ifindex);

	return found ? *found & (MPS_MAX_PATHS - 1) : 0;
}

/* The subflow as it begins, of connection `token`. `w->half` is its handshake. Returns 0 if there is no room. */
__noinline int mps_gw_add_flow(__u32 token, __u32 initiator, __u32 index)
{
	struct gateway_work *w = get_work();
	struct mps_gateway_flow *flow;
	struct gateway_half *half;

	if (!w)
		return 0;
	flow = &w->flow;
	half = &w->half;
	__builtin_memset(flow, 0, sizeof(*flow));
	flow->began_ns = w->now_ns;
	flow->conn = token;
	flow->ifindex = half->ifindex;
	flow->index = index;
	flow->initiator = initiator & 1;
	flow->opener = half->side;
	flow->out = half->out ? half->side : 1 - half->side;
	flow->token[initiator & 1] = w->conn.token[0];
	flow->token[~initiator & 1] = w->conn.token[1];
	flow->grouped = half->subtype == MPTCP_SUB_MP_JOIN;
	flow->l3 = !w->pkt.net_off;
	flow->path = path_of(half->ifindex);
	for (int side = 0; side < 2; side++) {
		flow->way[side].next_seq = half->isn[side] + 1;
		flow->way[side].ack = half->isn[1 - side] + 1;
		flow->way[side].last_ns = w->now_ns;
		flow->way[side].backup = half->backup[side];
		flow->way[side].tsval = w->pkt.tsval;
		flow->way[side].srtt_us = half->rtt_us[side];
		flow->way[side].min_rtt_us = half->rtt_us[side];
		flow->way[side].rttvar_us = half->rtt_us[side] / 2;
	}
	return !bpf_map_update_elem(&mps_gw_flows, &w->key, flow, BPF_ANY);
}

/* The third packet of MP_CAPABLE. Returns 1 if the connection is known now, 0 if there is no room, else a negative number. */
__noinline int mps_gw_begin(__u32 len)
{
	struct gateway_work *w = get_work();
	struct mps_gateway_conn *conn;
	struct gateway_half *half;
	__u32 side, token[2];

	if (!w)
		return -1;
	conn = &w->conn;
	half = &w->half;
	side = w->side & 1;
	if (len != MPTCP_LEN_capable_ack && len != MPTCP_LEN_capable_data &&
	    len != MPTCP_LEN_capable_data_csum)
		return -1;
	if (be64_at(w->option + offsetof(struct mptcp_capable_ack, receiver_key)) != half->key)
		return -1;
	token[0] = mps_key_token(be64_at(w->option + offsetof(struct mptcp_capable_ack, sender_key)));
	token[1] = mps_key_token(half->key);
	/* Of two connections with one token nobody could tell whose joins are whose. */
	if (!token[0] || !token[1] || bpf_map_lookup_elem(&mps_gw_tokens, &token[0]) ||
	    bpf_map_lookup_elem(&mps_gw_tokens, &token[1]))
		return -1;
	if (!mps_gw_claim(token[0], w->now_ns))
		return 0;
	__builtin_memset(conn, 0, sizeof(*conn));
	conn->began_ns = w->now_ns;
	conn->used = 1;
	conn->token[0] = token[0];
	conn->token[1] = token[1];
	conn->subflow[0] = w->key;
	if (bpf_map_update_elem(&mps_gw_conns, &token[0], conn, BPF_NOEXIST))
		return 0;
	for (__u32 i = 0; i < 2; i++) {
		w->token.conn = token[0];
		w->token.responder = i;
		if (bpf_map_update_elem(&mps_gw_tokens, &token[i & 1], &w->token, BPF_NOEXIST)) {
			mps_gw_remove(token[0]);
			return 0;
		}
	}
	if (mps_gw_add_flow(token[0], side, 0))
		return 1;
	mps_gw_remove(token[0]);
	return 0;
}

/* From now on each of them is looked at together with the others. */
__noinline int mps_gw_group(__u32 token)
{
	struct mps_gateway_conn *conn = bpf_map_lookup_elem(&mps_gw_conns, &token);

	if (!conn)
		return 0;
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++) {
		struct mps_gateway_flow *flow;

		if (!(conn->used >> i & 1))
			continue;
		flow = bpf_map_lookup_elem(&mps_gw_flows, &conn->subflow[i]);
		if (flow)
			flow->grouped = 1;
	}
	return 0;
}

/* A free index of the connection, MPS_MAX_SUBFLOWS if there is none. */
static __always_inline __u32 claim_index(struct mps_gateway_conn *conn)
{
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++)
		if (!(__sync_fetch_and_or(&conn->used, 1ull << i) >> i & 1))
			return i;
	return MPS_MAX_SUBFLOWS;
}

/* The third packet of MP_JOIN. As mps_gw_begin(). */
__noinline int mps_gw_join(__u32 len)
{
	struct gateway_work *w = get_work();
	struct mps_gateway_token *named;
	struct mps_gateway_conn *conn;
	__u32 index, token, initiator;

	if (!w || len != MPTCP_LEN_join_ack)
		return -1;
	named = bpf_map_lookup_elem(&mps_gw_tokens, &w->half.token);
	if (!named)
		return -1;
	token = named->conn;
	conn = bpf_map_lookup_elem(&mps_gw_conns, &token);
	if (!conn)
		return -1;
	/* Who answers a join is the one that its token is of. */
	initiator = named->responder ? w->half.side : 1 - w->half.side;
	index = claim_index(conn);
	if (index >= MPS_MAX_SUBFLOWS)
		return 0;
	barrier_var(index);
	conn->subflow[index & (MPS_SUBFLOW_ROWS - 1)] = w->key;
	w->conn.token[0] = conn->token[0];
	w->conn.token[1] = conn->token[1];
	if (!mps_gw_add_flow(token, initiator, index)) {
		__sync_fetch_and_and(&conn->used, ~(1ull << (index & 15)));
		return 0;
	}
	mps_gw_group(token);
	return 1;
}

/*
 * An MPTCP packet of no known subflow: is it the third one of a handshake? Every packet of a connection that was there before us comes here, so it
 * is looked at only behind the timestamps, where Linux and others have the option, or in the first place.
 */
__noinline int mps_gw_third(struct __sk_buff *skb)
{
	struct gateway_work *w = get_work();
	struct gateway_half *half;
	struct mps_counters *counters = get_counters();
	__u32 off, side;
	__u8 head[4];
	int len, done;

	if (!w || !counters)
		return 0;
	off = w->pkt.tcp_off + sizeof(struct tcphdr) + (w->pkt.has_tstamp ? 12 : 0);
	if (bpf_skb_load_bytes(skb, off, head, sizeof(head)) || head[0] != TCPOPT_MPTCP || head[2] >> 4 > 1)
		return 0;
	half = bpf_map_lookup_elem(&mps_gw_half, &w->key);
	if (!half || !half->answered || half->side != (w->side & 1) || half->out != w->out ||
	    half->ifindex != w->ifindex || half->subtype != head[2] >> 4) {
		COUNT(counters, GW_UNSEEN);
		return 0;
	}
	side = bounded_side(w->side);
	if (w->pkt.seq != half->isn[side] + 1 || w->pkt.ack != half->isn[1 - side] + 1) {
		COUNT(counters, GW_UNSEEN);
		return 0;
	}
	len = find_handshake_option(skb, w, w->pkt.options_len);
	note_handshake(half, 1 - bounded_side(half->side));
	w->half = *half;
	done = half->subtype == MPTCP_SUB_MP_CAPABLE ? mps_gw_begin(len) : mps_gw_join(len);
	if (done > 0) {
		bpf_map_delete_elem(&mps_gw_half, &w->key);
		COUNT(counters, GW_SUBFLOWS);
		if (w->half.subtype == MPTCP_SUB_MP_CAPABLE)
			COUNT(counters, GW_CONNS);
	} else if (!done) {
		COUNT(counters, GW_FULL);
	} else {
		COUNT(counters, GW_UNSEEN);
	}
	return done > 0;
}

#endif /* MPS_GATEWAY_TRACK_BPF_H */
