// SPDX-License-Identifier: MIT
// The earliest that TCP allows. The fluid bound (bound.hpp) knows no windows; here each path has a subflow that always has
// something to send, with the window that the kernel told before the write, and what counts are the earliest arrivals over all
// paths. Without loss no scheduler can be earlier. Pure functions.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

namespace mps::lab {

/// Of a subflow before a write, as struct tcp_info has it.
struct TcpWindow {
    double cwnd_segs = 10;
    double ssthresh_segs = 2147483647; ///< TCP_INFINITE_SSTHRESH
    double idle_s = 0;                 ///< since it last sent data
    double rto_s = 0.2;
};

/// What an idle subflow's window has become when it sends again: halved for each retransmission time-out of idling, down to the initial
/// window, with three quarters of it remembered as the threshold (tcp_cwnd_restart(), net/ipv4/tcp_output.c).
TcpWindow after_idle(TcpWindow window);

/// One path, and the direction that carries the message.
struct TcpPath {
    double mbit = 0; ///< on the wire
    double back_mbit = 0;
    double delay_s = 0; ///< one way, the same in both directions
    unsigned mtu = 1500;
    bool ipv6 = false;
    bool hystart =
        true; ///< cubic leaves slow start when the round trip grows (hystart_update(), net/ipv4/tcp_cubic.c)
    TcpWindow window = {};
};

/// Contents of a full segment of MPTCP, in bytes.
double segment_bytes(const TcpPath &path);

/// When each of the first full segments of an unlimited message arrives, in seconds from the write.
std::vector<double> tcp_arrivals_s(const TcpPath &path, std::size_t segments);

/// What the kernel gives to one subflow before it chooses anew: MPTCP_SEND_BURST_SIZE (net/mptcp/protocol.c).
constexpr double mptcp_burst_bytes = 65536 - 20 - 40 - 40 - 8;

/// When a message that was written at once has arrived; none without a path. Any segment may take any path (B1), or with
/// `burst_bytes` only as many at a time as the kernel places together (B2).
std::optional<double> tcp_transfer_s(std::span<const TcpPath> paths, double bytes, double burst_bytes = 0);

} // namespace mps::lab
