// SPDX-License-Identifier: MIT
//
// Options of TCP that an MPTCP socket refuses (mptcp_supported_sockopt(), net/mptcp/sockopt.c) and that whoever sets them cannot go on without:
// signed segments (RFC 2385, RFC 5925) and taking a connection over.
#pragma once

#include <array>

#include <linux/tcp.h>

namespace mps::run {

// Some are younger than Debian 12's headers; include/uapi/linux/tcp.h.
inline constexpr int tcp_ao_add_key = 38, tcp_ao_info = 40;

inline constexpr std::array options_without_mptcp{TCP_MD5SIG, TCP_MD5SIG_EXT, TCP_REPAIR, tcp_ao_add_key,
                                                  tcp_ao_info};

} // namespace mps::run
