// SPDX-License-Identifier: MIT
#include <mpsched/lab/mptcp.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <span>

#include "base/addresses.hpp"
#include "base/fd.hpp"
#include <mpsched/lab/mptcp_abi.hpp>

#include <arpa/inet.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <fmt/format.h>

namespace mps::lab {
namespace {

constexpr std::size_t max_subflows = 16;

std::string text_of(const sockaddr_storage &address) {
    if (address.ss_family == AF_INET) {
        return address_text(AF_INET, &reinterpret_cast<const sockaddr_in &>(address).sin_addr);
    }
    if (address.ss_family == AF_INET6) {
        return address_text(std::span(reinterpret_cast<const sockaddr_in6 &>(address).sin6_addr.s6_addr));
    }
    return {};
}

std::string endpoint_text(const sockaddr_storage &address) {
    // The port has the same place in both families.
    const auto port = ntohs(reinterpret_cast<const sockaddr_in &>(address).sin_port);
    const auto host = text_of(address);
    return host.find(':') != std::string::npos ? fmt::format("[{}]:{}", host, port)
                                               : fmt::format("{}:{}", host, port);
}

SubflowSample make_subflow(std::uint32_t id, const abi::mptcp_subflow_addrs &addrs, const tcp_info &info) {
    SubflowSample s;
    s.id = id;
    s.local = endpoint_text(addrs.local);
    s.remote = endpoint_text(addrs.remote);
    s.local_address = text_of(addrs.local);
    s.remote_address = text_of(addrs.remote);
    s.tcp_state = info.tcpi_state;
    s.rtt_us = info.tcpi_rtt;
    s.cwnd = info.tcpi_snd_cwnd;
    s.ssthresh = info.tcpi_snd_ssthresh;
    s.rto_us = info.tcpi_rto;
    s.idle_ms = info.tcpi_last_data_sent;
    s.bytes_sent = info.tcpi_bytes_sent;
    s.bytes_acked = info.tcpi_bytes_acked;
    s.bytes_received = info.tcpi_bytes_received;
    s.bytes_retransmitted = info.tcpi_bytes_retrans;
    s.retransmissions = info.tcpi_total_retrans;
    return s;
}

// Linux 6.5 and later: addresses, tcp_info and stable ids in one call.
int read_full_info(int fd, ConnectionSample &sample) {
    std::array<abi::mptcp_subflow_info, max_subflows> subflows{};
    std::array<tcp_info, max_subflows> infos{};
    abi::mptcp_full_info full{};
    full.size_tcpinfo_user = sizeof(tcp_info);
    full.size_sfinfo_user = sizeof(abi::mptcp_subflow_info);
    full.size_arrays_user = max_subflows;
    full.subflow_info = reinterpret_cast<std::uintptr_t>(subflows.data());
    full.tcp_info = reinterpret_cast<std::uintptr_t>(infos.data());
    socklen_t size = sizeof(full);
    if (::getsockopt(fd, abi::sol_mptcp, abi::mptcp_full_info_opt, &full, &size) != 0) {
        return errno;
    }
    const auto count = std::min<std::size_t>(full.num_subflows, max_subflows);
    for (std::size_t i = 0; i < count; ++i) {
        sample.subflows.push_back(make_subflow(subflows[i].id, subflows[i].addrs, infos[i]));
    }
    return 0;
}

template <class Element>
struct SubflowArray {
    abi::mptcp_subflow_data header{};
    std::array<Element, max_subflows> elements{};
};

template <class Element>
int read_array(int fd, int option, SubflowArray<Element> &array) {
    array.header.size_subflow_data = sizeof(array.header);
    array.header.size_user = sizeof(Element);
    socklen_t size = sizeof(array);
    return ::getsockopt(fd, abi::sol_mptcp, option, &array, &size) == 0 ? 0 : errno;
}

// Linux 5.16 to 6.4: two calls, so a subflow may come or go between them; the order is the kernel's list in
// both.
int read_separately(int fd, ConnectionSample &sample) {
    SubflowArray<abi::mptcp_subflow_addrs> addrs;
    SubflowArray<tcp_info> infos;
    if (const int err = read_array(fd, abi::mptcp_subflow_addrs_opt, addrs); err != 0) {
        return err;
    }
    if (const int err = read_array(fd, abi::mptcp_tcpinfo_opt, infos); err != 0) {
        return err;
    }
    const auto count = std::min(
        {addrs.header.num_subflows, infos.header.num_subflows, static_cast<std::uint32_t>(max_subflows)});
    for (std::uint32_t i = 0; i < count; ++i) {
        sample.subflows.push_back(make_subflow(i + 1, addrs.elements[i], infos.elements[i]));
    }
    return 0;
}

} // namespace

Result<void> check_mptcp_available() {
    const Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, abi::ipproto_mptcp));
    if (!fd) {
        return os_error("open", "an MPTCP socket",
                        errno == ENOPROTOOPT || errno == EINVAL ? EPROTONOSUPPORT : errno);
    }
    return {};
}

Result<ConnectionSample> sample_connection(int fd) {
    ConnectionSample sample;
    abi::mptcp_info info{};
    socklen_t size = sizeof(info);
    if (::getsockopt(fd, abi::sol_mptcp, abi::mptcp_info_opt, &info, &size) != 0) {
        // A socket that fell back, or that accept() made plain TCP, hands the option to TCP, which does not
        // know it.
        if (errno == EOPNOTSUPP || errno == ENOPROTOOPT) {
            sample.fallback = true;
            return sample;
        }
        return os_error("ask for", "MPTCP_INFO", errno);
    }
    sample.flags = info.flags;
    sample.fallback = (info.flags & abi::mptcp_info_flag_fallback) != 0;
    sample.token = info.token;
    sample.receive_next = info.rcv_nxt;
    // The kernel tells how much it wrote.
    sample.counts_bytes = size >= offsetof(abi::mptcp_info, last_data_sent);
    sample.bytes_acked = info.bytes_acked;
    sample.bytes_retransmitted = info.bytes_retrans;
    int err = read_full_info(fd, sample);
    if (err == EOPNOTSUPP || err == ENOPROTOOPT) {
        err = read_separately(fd, sample);
    }
    if (err != 0) {
        return os_error("ask for", "the subflows of an MPTCP connection", err);
    }
    return sample;
}

} // namespace mps::lab
