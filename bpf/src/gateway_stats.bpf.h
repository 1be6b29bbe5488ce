/* SPDX-License-Identifier: GPL-2.0-only */
/* What a packet tells of its subflow, where there is no socket to ask. */
#ifndef MPS_GATEWAY_STATS_BPF_H
#define MPS_GATEWAY_STATS_BPF_H

#include "gateway_maps.bpf.h"
#include "gateway_queue.bpf.h"

/* No window is larger than 1 GiB (RFC 7323 section 2.2), and hardly any than this. */
#define GATEWAY_WINDOW (1 << 26)
/* How far timestamps may go back, in whatever unit they count, and ahead beyond the time that has passed. */
#define GATEWAY_TSVAL_BACK (1 << 20)
#define GATEWAY_TSVAL_AHEAD (1 << 22)
/* An answer that comes later is none. */
#define GATEWAY_SAMPLE_NS (4000ull * 1000 * 1000)

/*
 * Would the receiver take it? Nobody here knows its windows, but who only guesses has to hit three numbers: what is sent follows what was, what is
 * acknowledged has passed, and the time goes on.
 */
static __always_inline bool forward_is_believed(const struct mps_gateway_way *way,
						const struct mps_gateway_way *back,
						const struct mps_packet *pkt, __u64 now_ns)
{
	__s32 ahead = pkt->seq - way->next_seq, unseen = pkt->ack - back->next_seq;
	__s32 later = pkt->tsval - way->tsval;
	__u64 passed_us = (now_ns - way->last_ns) >> 10;

	if (ahead > GATEWAY_WINDOW || ahead < -GATEWAY_WINDOW || unseen > 0 || unseen < -GATEWAY_WINDOW)
		return false;
	if (!pkt->has_tstamp || !way->has_tstamp)
		return true;
	return later >= -GATEWAY_TSVAL_BACK && (later < 0 || (__u32)later <= GATEWAY_TSVAL_AHEAD + passed_us);
}

static __always_inline void smooth_rtt(struct mps_gateway_way *way, __u64 sample_ns)
{
	__u32 sample_us = sample_ns / 1000, srtt = way->srtt_us, error;

	if (!sample_us)
		sample_us = 1;
	if (!way->min_rtt_us || sample_us < way->min_rtt_us)
		way->min_rtt_us = sample_us;
	if (!srtt) {
		way->srtt_us = sample_us;
		way->rttvar_us = sample_us / 2;
		return;
	}
	error = sample_us > srtt ? sample_us - srtt : srtt - sample_us;
	way->srtt_us = srtt - srtt / 8 + sample_us / 8;
	way->rttvar_us = way->rttvar_us - way->rttvar_us / 4 + error / 4;
}

/*
 * The round trip from here to the receiver: from a packet with a timestamp that is new to the first one that echoes it. What this packet
 * echoes is the other way's.
 */
static __always_inline void measure_forward(struct mps_gateway_way *way, struct mps_gateway_way *back,
					    const struct mps_packet *pkt, __u32 tsecr, bool arrives)
{
	if (back->sample_ns && (__s32)(tsecr - back->sample_tsval) >= 0) {
		__u64 now_ns = bpf_ktime_get_ns(), took_ns = now_ns - back->sample_ns;

		back->sample_ns = 0;
		if (took_ns < GATEWAY_SAMPLE_NS) {
			smooth_rtt(back, took_ns);
			if (arrives && back->next_seq != pkt->ack)
				mps_gw_note_delay(back, took_ns / 1000000, now_ns / 1000000);
		}
	}
	if (!way->sample_ns && (__s32)(pkt->tsval - way->tsval) > 0) {
		way->sample_tsval = pkt->tsval;
		way->sample_ns = bpf_ktime_get_ns();
	}
}

/* The timestamp that is echoed, where Linux and others have it; 0 elsewhere. */
static __always_inline __u32 echoed_timestamp(const struct mps_packet *pkt, const void *data,
					      const void *data_end)
{
	const __u8 *options = data + (pkt->tcp_off & 255) + sizeof(struct tcphdr);
	const __u32 *words = (const __u32 *)options;

	if (!pkt->has_tstamp || (const void *)(words + 3) > data_end || words[0] != TCPOPT_ALIGNED_TIMESTAMP)
		return 0;
	return bpf_ntohl(words[2]);
}

/* Returns how many octets have passed for the first time. */
static __always_inline __u32 count_contents(struct mps_gateway_way *way, const struct mps_packet *pkt)
{
	__u32 len = pkt->payload_len, end = pkt->seq + len + pkt->fin, fresh;
	__s32 ahead = end - way->next_seq;

	if (ahead <= 0) {
		way->again_bytes += len;
		return 0;
	}
	fresh = (__u32)ahead < len ? (__u32)ahead : len;
	way->bytes += fresh;
	way->again_bytes += len - fresh;
	way->next_seq = end;
	return fresh;
}

/*
 * Where the packet's contents begin in the connection's data, modulo 2^32: the mapping of a DSS (RFC 8684 section 3.3.1) that is the first
 * option, or the first behind timestamps, as Linux writes it. Returns whether there is one.
 */
static __always_inline bool read_data_seq(const struct mps_packet *pkt, const void *data,
					  const void *data_end, __u32 *data_seq)
{
	const __u8 *option = data + (pkt->tcp_off & 255) + sizeof(struct tcphdr) + (pkt->has_tstamp ? 12 : 0);
	const __be32 *at;
	__u32 flags, skipped;

	if ((const void *)(option + 4) > data_end || option[0] != TCPOPT_MPTCP ||
	    option[2] >> 4 != MPTCP_SUB_DSS)
		return false;
	flags = option[3];
	/* A data ACK of four or eight octets, and of eight of a number the more significant half. */
	skipped = (flags & MPTCP_DSS_A) * (1 + (flags & MPTCP_DSS_a) / MPTCP_DSS_a) +
		  (flags & MPTCP_DSS_m) / MPTCP_DSS_m;
	at = (const __be32 *)(option + 4) + skipped;
	if (!(flags & MPTCP_DSS_M) || (const void *)(at + 1) > data_end)
		return false;
	*data_seq = bpf_ntohl(*at);
	return true;
}

/*
 * How far contents with this number are behind those of the connection that passed before, on whatever subflow; 0 if they are the
 * latest. `sender`: 0 if the host that began the connection sends. Processors at work at once may miss each other's.
 */
__noinline int mps_gw_lateness(__u32 token, __u32 sender, __u32 data_seq)
{
	struct mps_gateway_conn *conn = bpf_map_lookup_elem(&mps_gw_conns, &token);
	__s32 ahead;

	if (!conn)
		return 0;
	sender = sender & 1;
	ahead = data_seq - conn->data_seq[sender];
	if (conn->has_data[sender] && ahead < 0)
		return -ahead;
	conn->data_seq[sender] = data_seq;
	conn->has_data[sender] = 1;
	return 0;
}

/* Of contents that pass for the first time. */
static __always_inline void note_order(const struct __sk_buff *skb, const struct mps_gateway_flow *flow,
				       struct mps_gateway_way *way, const struct mps_packet *pkt,
				       __u32 sender, __u32 fresh)
{
	__u32 data_seq, late;

	if (!read_data_seq(pkt, (void *)(long)skb->data, (void *)(long)skb->data_end, &data_seq))
		return;
	late = mps_gw_lateness(flow->conn, sender, data_seq);
	if (!late)
		return;
	way->late_bytes += fresh;
	if (late > way->late_most)
		way->late_most = late;
}

#endif /* MPS_GATEWAY_STATS_BPF_H */
