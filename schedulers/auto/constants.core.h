/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The numbers that auto goes by: what each says, and where it comes from. The measurements are in docs/auto.md; who changes one runs the scenarios that are
 * named beside it.
 */
#ifndef MPS_AUTO_CONSTANTS_H
#define MPS_AUTO_CONSTANTS_H

/* ------------------------------------------------- the kernel's, read there */

/* MPTCP_SEND_BURST_SIZE, net/mptcp/protocol.c */
#define AUTO_BURST 65536
/* The send buffer of a subflow is 2 * 4352 bytes for each segment of its window (tcp_sndbuf_expand()): six times the window ... */
#define AUTO_BUFFER 6
/* ... and never below this, net.ipv4.tcp_wmem[1] as MPTCP doubles it. */
#define AUTO_BUFFER_LEAST 87040
/* An application that waits for room is woken when a third of the buffer is free, so so many windows are full in bulk. */
#define AUTO_SPACE 4
/* TCP_RTO_MIN, and the window after a long pause (TCP_INIT_CWND; RFC 2861, tcp_cwnd_restart()). */
#define AUTO_RTO_LEAST_US 200000
#define AUTO_WINDOW_SEGS 10
/* Pacing rates are this many percent of window / round trip: in slow start, after it (tcp_update_pacing_rate()). */
#define AUTO_PACE_START_PCT 200
#define AUTO_PACE_PCT 120

/* -------------------------------------------------------- bounds and units */

#define AUTO_NEVER_US (1u << 28)
/* Rates are in bytes a millisecond; unknown is 10 Gbit/s. */
#define AUTO_RATE_MOST 1250000u
/* A round trip of which there is no sample. */
#define AUTO_RTT_US 100000
/* Doublings of a window that are followed one by one: 10 segments become 10240. */
#define AUTO_ROUNDS 10
/* Limits are kept in 16 bits, in this unit, and made for up to so many bursts; more is bulk. */
#define AUTO_PACE_UNIT 4096
#define AUTO_BURSTS 8

/* ------------------------------------------------ chosen, and what shows it */

/* A train of ACKs tells a rate if it is no single batch: as long as this, or an eighth of the round trip. Not measured alone. */
#define AUTO_TRAIN_US 4000
/* A round trip is one with a queue if it is longer than the least by a quarter and this much. Not measured alone. */
#define AUTO_QUEUE_US 2000
/* A longer path is believed within this power of two of microseconds of traffic, 4 s. Not measured alone. */
#define AUTO_FOLLOW_SHIFT 22
/* Bursts on trial for a window to grow. With one or two the tail of 1 MB in requests-slow-first is as long as with three. */
#define AUTO_TRIALS 3
/* Between messages a trial has to save a quarter. With pacing and the rest of that change 23 cells of the grid are above 1.05 of `default`, 40 before. */
#define AUTO_TRIAL_NUM 3
#define AUTO_TRIAL_DEN 4
/* Between transfers one that is slower by no more than this stays open: blackhole-requests/active (gap 242 ms; 447 with the second path parked). */
#define AUTO_NEAR_PCT 110
/* Fewer bursts than the kernel would give have to save this, or the limit costs more than it brings. Part of the change of 40 to 23 cells. */
#define AUTO_WORTH_PCT 95
/* An open path is asked for this part of what a closed one has to promise, so that it does not flap where windows nearly block. Not measured alone. */
#define AUTO_STAY_NUM 3
#define AUTO_STAY_DEN 4
/*
 * Bulk has to go on for so many times the block before a path that would block is tried: upload/10@2+10@50-quick-16MB, 7.3 instead of up to 14.7 s; upload/20@4+20@200-quick-64MB
 * on 6.12 30.5 Mbit/s, 28.6 with 2.
 */
#define AUTO_BLOCKS 1
/* What can be under way has to have grown by one in so many for another such try: upload/20@4+20@200, and small-buffers, where nothing grows. */
#define AUTO_GROWTH 8
/*
 * Each such try lasts for so many round trips of the path: upload/20@4+20@200-quick-64MB 29.4 and 28.3 Mbit/s; 25.6 to 27.3 when it ended at the next ACK
 * (`default` 29.7 to 30.0). 4 gave 28.3 in one seed.
 */
#define AUTO_LOOK_ROUNDS 2

#endif
