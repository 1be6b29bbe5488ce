// SPDX-License-Identifier: MIT
// What the kernel tells about one MPTCP connection through getsockopt(SOL_MPTCP).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <mpsched/lab/error.hpp>

namespace mps::lab {

struct SubflowSample {
    std::uint32_t id = 0; ///< the kernel's subflow id, starting at 1; before 6.5 the position in its list
    std::string local;    ///< "198.51.100.1:40000", "[2001:db8::a]:40000"
    std::string remote;   ///< likewise
    std::string local_address;  ///< without the port: what Network::path_of() takes
    std::string remote_address; ///< likewise
    std::uint8_t tcp_state = 0; ///< TCP_ESTABLISHED is 1
    std::uint32_t rtt_us = 0;   ///< smoothed
    std::uint32_t cwnd = 0;     ///< segments
    std::uint32_t ssthresh = 0; ///< segments
    std::uint32_t rto_us = 0;
    std::uint32_t idle_ms = 0;        ///< since it last sent data
    std::uint64_t bytes_sent = 0;     ///< TCP payload, retransmissions included
    std::uint64_t bytes_acked = 0;    ///< TCP payload
    std::uint64_t bytes_received = 0; ///< TCP payload
    std::uint64_t bytes_retransmitted = 0;
    std::uint32_t retransmissions = 0; ///< segments
};

struct ConnectionSample {
    bool fallback = false;          ///< plain TCP: the fields below are not filled
    std::uint32_t token = 0;        ///< as in `mpsched conns` and `ss -M`
    std::uint32_t flags = 0;        ///< MPTCP_INFO_FLAG_*
    std::uint64_t bytes_acked = 0;  ///< data level; 0 before Linux 6.5
    std::uint64_t receive_next = 0; ///< data level sequence number that the application gets next
    bool counts_bytes = false;      ///< Linux 6.5: the byte counts below mean something
    /// Data level, i.e. reinjected on another subflow; 0 before Linux 6.5.
    std::uint64_t bytes_retransmitted = 0;
    std::vector<SubflowSample> subflows;
};

/// True if the kernel has MPTCP and it is switched on in this thread's namespace.
Result<void> check_mptcp_available();

/// Reads a connected IPPROTO_MPTCP socket (or one that fell back, or one accept() handed out as plain TCP).
/// Safe from any thread.
Result<ConnectionSample> sample_connection(int fd);

} // namespace mps::lab
