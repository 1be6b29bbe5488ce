// SPDX-License-Identifier: GPL-2.0-only
/*
 * `mpsched trace`: tells of packets with MPTCP options and of decisions through a ring buffer. These programs are not part of the data path. They
 * stand behind it on the interfaces that are traced, on the way in and on the way out, for as long as the command runs, so that
 * nobody pays for them otherwise. They see packets as they go on: with our edits in them, which the fingerprints beside the subflow
 * (fingerprint.bpf.h) tell from the peer's own options. They change nothing.
 */
#include "maps.bpf.h"
#include "parse.bpf.h"
#include "socket.bpf.h"
#include "fingerprint.bpf.h"
#include <mps/trace_abi.h>
#include <linux/pkt_cls.h>

char mps_license[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4 << 20);
} mps_trace_ring SEC(".maps");

/* What found no room in it. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} mps_trace_lost SEC(".maps");

/* The verdict of a connection that was told last. */
struct trace_last {
	__u32 allowed;
	__u32 slot;
	__u32 known;
	__u32 restored;
	__u64 flip_ns[MPS_MAX_SUBFLOWS];
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, MPS_TRACE_CONNS);
	__type(key, __u32);
	__type(value, struct trace_last);
} mps_trace_last SEC(".maps");

/* Only this connection; packets of none that is known (handshakes) are told all the same. 0: all. */
const volatile __u32 mps_trace_token = 0;

/* Whose packet it is, as far as that is known. */
struct trace_owner {
	__u64 sk;
	__u32 token;
	__u32 subflow;
	__u32 ours;
};

static __always_inline void count_lost(void)
{
	__u32 zero = 0;
	__u64 *lost = bpf_map_lookup_elem(&mps_trace_lost, &zero);

	if (lost)
		(*lost)++;
}

/* Is this MP_PRIO one of the last that we have written for this subflow, by whatever program? */
static __noinline __u32 what_is_ours(const struct mps_conn_subflow *mine, const struct mps_packet *pkt)
{
	__u32 print =
		edit_print(packet_print(pkt->seq, pkt->ack, pkt->tsval), pkt->prio_off, pkt->prio_backup, 0);

	if (!pkt->has_prio || bpf_ktime_get_ns() - mine->flip_ns > OWN_EDIT_NS)
		return MPS_TRACE_NOTHING;
	for (__u32 k = 0; k < MPS_EDITS_KEPT; k++)
		if (((mine->edit[k] ^ print) & ~PLACE_MASK) == 0)
			return mine->woken     ? MPS_TRACE_WAKE
			       : pkt->prio_off ? MPS_TRACE_REWRITTEN
					       : MPS_TRACE_INSERTED;
	return MPS_TRACE_NOTHING;
}

static __always_inline void know_subflow(const struct mps_conn *conn, const struct mps_packet *pkt,
					 struct trace_owner *owner)
{
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++) {
		const struct mps_conn_subflow *mine = &conn->sf[i];

		if (mine->sk != owner->sk)
			continue;
		owner->subflow = mine->id;
		owner->ours = what_is_ours(mine, pkt);
		return;
	}
}

/* Also remembers it. */
static __noinline bool is_news(const struct mps_conn *conn, __u32 token, __u32 *flipped)
{
	struct trace_last now = {
		.allowed = conn->allowed,
		.slot = conn->slot,
		.known = conn->known,
		.restored = conn->restored,
	};
	struct trace_last *last = bpf_map_lookup_elem(&mps_trace_last, &token);
	__u32 changed = 0;

	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++) {
		now.flip_ns[i] = conn->sf[i].flip_ns;
		if (now.flip_ns[i] != (last ? last->flip_ns[i] : 0))
			changed |= 1u << i;
	}
	*flipped = changed;
	if (last && !changed && now.allowed == last->allowed && now.slot == last->slot &&
	    now.known == last->known && now.restored == last->restored)
		return false;
	bpf_map_update_elem(&mps_trace_last, &token, &now, BPF_ANY);
	return true;
}

static __noinline int tell_verdict(const struct mps_conn *conn, __u32 token, __u32 ifindex)
{
	struct mps_trace_verdict *told;
	__u32 flipped = 0;

	if (!conn->decided_ns || !is_news(conn, token, &flipped))
		return 0;
	told = bpf_ringbuf_reserve(&mps_trace_ring, sizeof(*told), 0);
	if (!told) {
		count_lost();
		return 0;
	}
	told->kind = MPS_TRACE_VERDICT;
	told->ifindex = ifindex;
	told->when_ns = conn->decided_ns;
	told->token = token;
	told->slot = conn->slot;
	told->known = conn->known;
	told->allowed = conn->allowed;
	told->restored = conn->restored;
	told->reasoned = conn->reasoned;
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS; i++) {
		const struct mps_conn_subflow *mine = &conn->sf[i];
		struct mps_trace_subflow *one = &told->sf[i];

		one->id = mine->id;
		one->ifindex = mine->ifindex;
		one->peer_backup = mine->peer_backup;
		one->flipped = flipped >> i & 1;
		one->backup = mine->flip_value;
		one->woken = mine->woken;
		one->pad = 0;
		one->reason = mine->reason;
	}
	bpf_ringbuf_submit(told, 0);
	return 0;
}

static __noinline int tell_packet(struct __sk_buff *skb, __u32 net_off, __u32 egress,
				  const struct trace_owner *owner)
{
	struct mps_trace_packet *told;
	__u32 length = skb->len - net_off, captured = length;

	if (net_off >= skb->len)
		return 0;
	told = bpf_ringbuf_reserve(&mps_trace_ring, sizeof(*told), 0);
	if (!told) {
		count_lost();
		return 0;
	}
	if (captured > MPS_TRACE_BYTES)
		captured = MPS_TRACE_BYTES;
	told->kind = MPS_TRACE_PACKET;
	told->ifindex = skb->ifindex;
	told->when_ns = bpf_ktime_get_ns();
	told->token = owner->token;
	told->subflow = owner->subflow;
	told->wire_bytes = length;
	told->egress = egress;
	told->ours = owner->ours;
	told->captured = captured;
	/* The range again, on the number itself: two comparisons that the compiler makes one of tell 6.12 nothing. */
	barrier_var(captured);
	if (captured < sizeof(struct iphdr))
		goto discard;
	barrier_var(captured);
	if (captured > MPS_TRACE_BYTES || bpf_skb_load_bytes(skb, net_off, told->data, captured))
		goto discard;
	bpf_ringbuf_submit(told, 0);
	return 0;
discard:
	bpf_ringbuf_discard(told, 0);
	return 0;
}

/* The parser of the data path stops before options that it has no use for: those of SYN, RST and lone joins. */
static __noinline int find_options(struct __sk_buff *skb, struct mps_packet *pkt, bool l3)
{
	void *data = (void *)(long)skb->data, *data_end = (void *)(long)skb->data_end;
	struct tcphdr *tcp;
	__u32 header_len;
	int found;

	if (l3)
		parse_packet(data, data_end, skb->len, true, pkt);
	else
		parse_packet(data, data_end, skb->len, false, pkt);
	if (!pkt->tcp_off)
		return OPTIONS_PLAIN;
	tcp = data + (pkt->tcp_off & 255);
	if ((void *)(tcp + 1) > data_end)
		return OPTIONS_PLAIN;
	header_len = tcp->doff * 4;
	if (header_len <= sizeof(*tcp))
		return OPTIONS_PLAIN;
	pkt->seq = bpf_ntohl(tcp->seq);
	pkt->ack = bpf_ntohl(tcp->ack_seq);
	found = scan_options(tcp, data_end, header_len - sizeof(*tcp), pkt);
	pkt->has_prio = !!(found & OPTIONS_PRIO);
	pkt->prio_backup = !!(found & OPTIONS_PRIO_BACKUP);
	return found;
}

static __always_inline void know_msk(struct mptcp_sock *msk, __u64 sk, struct trace_owner *owner)
{
	owner->token = msk->token;
	owner->sk = sk;
}

static __always_inline void find_owner(struct __sk_buff *skb, const struct mps_packet *pkt, bool egress,
				       struct trace_owner *owner)
{
	struct mptcp_sock *msk;

	if (egress) {
		struct bpf_sock *sk = stream_socket(skb->sk);

		msk = sk ? bpf_skc_to_mptcp_sock(sk) : NULL;
		if (msk)
			know_msk(msk, (__u64)sk, owner);
	} else {
		struct bpf_sock *sk =
			lookup_socket(skb, (void *)(long)skb->data, (void *)(long)skb->data_end, pkt);

		if (!sk)
			return;
		msk = bpf_skc_to_mptcp_sock(sk);
		if (msk)
			know_msk(msk, (__u64)sk, owner);
		bpf_sk_release(sk);
	}
}

static __always_inline int trace(struct __sk_buff *skb, bool l3, bool egress)
{
	void *data = (void *)(long)skb->data, *data_end = (void *)(long)skb->data_end;
	struct trace_owner owner = {};
	struct mps_packet pkt;
	struct mps_conn *conn = NULL;
	int found;

	/* Headers outside the linear part; pulling changes nothing in the packet. */
	if (data + 128 > data_end && data + skb->len > data_end) {
		if (bpf_skb_pull_data(skb, skb->len < 128 ? skb->len : 128))
			return TC_ACT_UNSPEC;
		data = (void *)(long)skb->data;
		data_end = (void *)(long)skb->data_end;
	}
	/* Generic XDP can take the link-layer header away (see mps_restore_mac()). */
	if (!l3 && !egress && data + sizeof(struct ethhdr) <= data_end &&
	    ((struct ethhdr *)data)->h_proto != skb->protocol)
		l3 = true;
	if (l3 ? has_no_mptcp(data, data_end, true) : has_no_mptcp(data, data_end, false))
		return TC_ACT_UNSPEC;
	__builtin_memset(&pkt, 0, sizeof(pkt));
	found = find_options(skb, &pkt, l3);
	if (!(found & (OPTIONS_MPTCP | OPTIONS_BAD)))
		return TC_ACT_UNSPEC;
	find_owner(skb, &pkt, egress, &owner);
	if (mps_trace_token && owner.token && owner.token != mps_trace_token)
		return TC_ACT_UNSPEC;
	if (owner.token)
		conn = bpf_map_lookup_elem(&mps_conns, &owner.token);
	if (conn)
		know_subflow(conn, &pkt, &owner);
	tell_packet(skb, pkt.net_off, egress, &owner);
	if (conn)
		tell_verdict(conn, owner.token, skb->ifindex);
	return TC_ACT_UNSPEC;
}

SEC("tc") int mps_trace_in_e(struct __sk_buff *skb)
{
	return trace(skb, false, false);
}

SEC("tc") int mps_trace_in_l3(struct __sk_buff *skb)
{
	return trace(skb, true, false);
}

SEC("tc") int mps_trace_out_e(struct __sk_buff *skb)
{
	return trace(skb, false, true);
}

SEC("tc") int mps_trace_o_l3(struct __sk_buff *skb)
{
	return trace(skb, true, true);
}
