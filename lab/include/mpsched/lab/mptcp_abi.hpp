// SPDX-License-Identifier: MIT
// The kernel's MPTCP socket ABI as of Linux 6.18, own names, because linux/mptcp.h of Debian 12 (6.1) ends
// before MPTCP_FULL_INFO and mixes badly with netinet/in.h. The kernel copies at most the size we pass, so
// older kernels leave the tail zero. Drop when Debian 12 is no longer supported.
#pragma once

#include <cstddef>
#include <cstdint>

#include <sys/socket.h>

namespace mps::lab::abi {

inline constexpr int ipproto_mptcp = 262;
inline constexpr int sol_mptcp = 284;

enum mptcp_sockopt : int {
    mptcp_info_opt = 1,          // since 5.16
    mptcp_tcpinfo_opt = 2,       // since 5.16
    mptcp_subflow_addrs_opt = 3, // since 5.16
    mptcp_full_info_opt = 4,     // since 6.5
};

inline constexpr std::uint32_t mptcp_info_flag_fallback = 1U << 0;
inline constexpr std::uint32_t mptcp_info_flag_remote_key_received = 1U << 1;

struct mptcp_info {
    std::uint8_t subflows;
    std::uint8_t add_addr_signal;
    std::uint8_t add_addr_accepted;
    std::uint8_t subflows_max;
    std::uint8_t add_addr_signal_max;
    std::uint8_t add_addr_accepted_max;
    std::uint8_t pad0[2];
    std::uint32_t flags;
    std::uint32_t token;
    std::uint64_t write_seq;
    std::uint64_t snd_una;
    std::uint64_t rcv_nxt;
    std::uint8_t local_addr_used;
    std::uint8_t local_addr_max;
    std::uint8_t csum_enabled;
    std::uint8_t pad1;
    std::uint32_t retransmits; // from here on since 6.5
    std::uint64_t bytes_retrans;
    std::uint64_t bytes_sent;
    std::uint64_t bytes_received;
    std::uint64_t bytes_acked;
    std::uint8_t subflows_total;
    std::uint8_t reserved[3];
    std::uint32_t last_data_sent;
    std::uint32_t last_data_recv;
    std::uint32_t last_ack_recv;
};
static_assert(offsetof(mptcp_info, token) == 12 && offsetof(mptcp_info, bytes_acked) == 72 &&
              sizeof(mptcp_info) == 96);

// Header of the arrays that MPTCP_TCPINFO and MPTCP_SUBFLOW_ADDRS return.
struct alignas(8) mptcp_subflow_data {
    std::uint32_t size_subflow_data; // of this structure in user space
    std::uint32_t num_subflows;      // 0 in, the kernel's count out
    std::uint32_t size_kernel;       // 0 in, the kernel's element size out
    std::uint32_t size_user;         // of one element here
};
static_assert(sizeof(mptcp_subflow_data) == 16);

struct mptcp_subflow_addrs {
    sockaddr_storage local;
    sockaddr_storage remote;
};
static_assert(sizeof(mptcp_subflow_addrs) == 256);

struct mptcp_subflow_info {
    std::uint32_t id;
    std::uint32_t pad;
    mptcp_subflow_addrs addrs;
};
static_assert(offsetof(mptcp_subflow_info, addrs) == 8 && sizeof(mptcp_subflow_info) == 264);

struct mptcp_full_info {
    std::uint32_t size_tcpinfo_kernel; // 0 in
    std::uint32_t size_tcpinfo_user;
    std::uint32_t size_sfinfo_kernel; // 0 in
    std::uint32_t size_sfinfo_user;
    std::uint32_t num_subflows; // 0 in, the real count out
    std::uint32_t size_arrays_user;
    std::uint64_t subflow_info; // user pointers
    std::uint64_t tcp_info;
    mptcp_info info;
};
static_assert(sizeof(mptcp_full_info) == 136);

} // namespace mps::lab::abi
