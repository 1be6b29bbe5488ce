// SPDX-License-Identifier: MIT
#include "spread/path_probe.hpp"

#include <arpa/inet.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/ip_icmp.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/random.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <span>

#include "base/addresses.hpp"
#include "base/try.hpp"

namespace mps {

namespace {

using Clock = std::chrono::steady_clock;

constexpr int rounds = 4;
constexpr std::chrono::milliseconds patience{250}; // of the first round; each later one has as much more

struct Name {
    sockaddr_storage storage{};
    socklen_t length = 0;
    [[nodiscard]] const sockaddr *get() const { return reinterpret_cast<const sockaddr *>(&storage); }
};

Name name_of(const HostAddress &address) {
    Name name;
    if (is_ipv4_mapped(address)) {
        auto &ipv4 = reinterpret_cast<sockaddr_in &>(name.storage);
        ipv4.sin_family = AF_INET;
        std::memcpy(&ipv4.sin_addr, address.data() + 12, 4);
        name.length = sizeof ipv4;
    } else {
        auto &ipv6 = reinterpret_cast<sockaddr_in6 &>(name.storage);
        ipv6.sin6_family = AF_INET6;
        std::memcpy(&ipv6.sin6_addr, address.data(), 16);
        name.length = sizeof ipv6;
    }
    return name;
}

HostAddress address_of(const sockaddr_storage &storage) {
    HostAddress address{};
    if (storage.ss_family == AF_INET) {
        std::copy(ipv4_mapped_prefix.begin(), ipv4_mapped_prefix.end(), address.begin());
        std::memcpy(address.data() + 12, &reinterpret_cast<const sockaddr_in &>(storage).sin_addr, 4);
    } else {
        std::memcpy(address.data(), &reinterpret_cast<const sockaddr_in6 &>(storage).sin6_addr, 16);
    }
    return address;
}

// RFC 1071, of a segment behind its pseudo header; the length is even.
std::uint16_t checksum(std::span<const std::uint8_t> local, std::span<const std::uint8_t> peer,
                       std::span<const std::uint8_t> segment) {
    std::uint32_t sum = IPPROTO_TCP + static_cast<std::uint32_t>(segment.size());
    for (const auto &part : {local, peer, segment})
        for (std::size_t i = 0; i + 1 < part.size(); i += 2)
            sum += static_cast<std::uint32_t>(part[i] << 8 | part[i + 1]);
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return htons(static_cast<std::uint16_t>(~sum));
}

Result<Fd> raw_socket(int family, int protocol) {
    Fd fd(::socket(family, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol));
    if (!fd)
        return std::unexpected(system_error(errno, "opening a raw socket"));
    return fd;
}

} // namespace

Result<PathProbe> PathProbe::open(const HostAddress &local, const HostAddress &peer,
                                  std::uint16_t peer_port) {
    PathProbe probe;
    probe.local_ = local;
    probe.peer_ = peer;
    probe.peer_port_ = peer_port;
    probe.ipv6_ = !is_ipv4_mapped(peer);
    const int family = probe.ipv6_ ? AF_INET6 : AF_INET;
    auto out = raw_socket(family, IPPROTO_RAW); // brings its own IP header
    MPS_TRY(out);
    auto errors =
        raw_socket(family, probe.ipv6_ ? static_cast<int>(IPPROTO_ICMPV6) : static_cast<int>(IPPROTO_ICMP));
    MPS_TRY(errors);
    auto answers = raw_socket(family, IPPROTO_TCP);
    MPS_TRY(answers);
    // So that rules which route by source address see it.
    const Name name = name_of(local);
    if (::bind(out->get(), name.get(), name.length))
        return std::unexpected(system_error(errno, "probing from " + address_text(local)));
    probe.out_ = std::move(*out);
    probe.errors_ = std::move(*errors);
    probe.answers_ = std::move(*answers);
    // Whoever probes at the same time has others.
    if (::getrandom(&probe.next_id_, sizeof probe.next_id_, 0) != static_cast<ssize_t>(sizeof probe.next_id_))
        return std::unexpected(system_error(errno, "choosing a number"));
    return probe;
}

// The number stands in both sequence numbers: an ICMP error quotes the first, and a reset answers with the second.
Result<void> PathProbe::send(const ProbePacket &packet, std::uint32_t id) const {
    tcphdr tcp{};
    tcp.source = htons(packet.local_port);
    tcp.dest = htons(peer_port_);
    tcp.seq = tcp.ack_seq = htonl(id);
    tcp.doff = sizeof tcp / 4;
    tcp.ack = 1;
    tcp.window = htons(1024);
    const std::span<const std::uint8_t> local(local_), peer(peer_);
    const std::span<const std::uint8_t> segment(reinterpret_cast<const std::uint8_t *>(&tcp), sizeof tcp);
    const std::size_t unused = ipv6_ ? 0 : 12;
    tcp.check = checksum(local.subspan(unused), peer.subspan(unused), segment);
    std::array<std::uint8_t, sizeof(ip6_hdr) + sizeof(tcphdr)> bytes{};
    std::size_t header = 0;
    if (ipv6_) {
        ip6_hdr ip{};
        ip.ip6_flow = htonl(6u << 28 | packet.label);
        ip.ip6_plen = htons(sizeof tcp);
        ip.ip6_nxt = IPPROTO_TCP;
        ip.ip6_hlim = packet.hops;
        std::memcpy(&ip.ip6_src, local_.data(), 16);
        std::memcpy(&ip.ip6_dst, peer_.data(), 16);
        header = sizeof ip;
        std::memcpy(bytes.data(), &ip, header);
    } else {
        iphdr ip{};
        ip.version = 4;
        ip.ihl = sizeof ip / 4;
        ip.ttl = packet.hops;
        ip.protocol = IPPROTO_TCP;
        ip.frag_off = htons(IP_DF);
        std::memcpy(&ip.saddr, local_.data() + 12, 4);
        std::memcpy(&ip.daddr, peer_.data() + 12, 4);
        header = sizeof ip;
        std::memcpy(bytes.data(), &ip, header);
    }
    std::memcpy(bytes.data() + header, &tcp, sizeof tcp);
    const Name name = name_of(peer_);
    if (::sendto(out_.get(), bytes.data(), header + sizeof tcp, 0, name.get(), name.length) < 0 &&
        errno != ENOBUFS && errno != EAGAIN)
        return std::unexpected(system_error(errno, "sending a probe to " + address_text(peer_)));
    return {};
}

// A router's: hop limit exceeded. It quotes the packet's headers.
void PathProbe::take_error(std::map<std::uint32_t, std::string> &answers) const {
    std::array<std::uint8_t, 512> bytes;
    sockaddr_storage from{};
    socklen_t length = sizeof from;
    const ssize_t got = ::recvfrom(errors_.get(), bytes.data(), bytes.size(), 0,
                                   reinterpret_cast<sockaddr *>(&from), &length);
    // IPv4 comes with its header.
    std::size_t at = ipv6_ ? 0 : std::size_t{bytes[0] & 0xfu} * 4;
    if (got < static_cast<ssize_t>(at + 8) || bytes[at] != (ipv6_ ? ICMP6_TIME_EXCEEDED : ICMP_TIME_EXCEEDED))
        return;
    at += 8;
    at += ipv6_ ? sizeof(ip6_hdr) : std::size_t{bytes[at] & 0xfu} * 4;
    std::uint32_t id = 0;
    if (static_cast<std::size_t>(got) < at + 8)
        return;
    std::memcpy(&id, bytes.data() + at + 4, sizeof id);
    answers.emplace(ntohl(id), address_text(address_of(from)));
}

// The peer's own: a reset, as a segment of no connection has it.
void PathProbe::take_answer(std::map<std::uint32_t, std::string> &answers) const {
    std::array<std::uint8_t, 512> bytes;
    sockaddr_storage from{};
    socklen_t length = sizeof from;
    const ssize_t got = ::recvfrom(answers_.get(), bytes.data(), bytes.size(), 0,
                                   reinterpret_cast<sockaddr *>(&from), &length);
    const std::size_t at = ipv6_ ? 0 : std::size_t{bytes[0] & 0xfu} * 4;
    tcphdr tcp;
    if (got < static_cast<ssize_t>(at + sizeof tcp) || address_of(from) != peer_)
        return;
    std::memcpy(&tcp, bytes.data() + at, sizeof tcp);
    if (tcp.rst && ntohs(tcp.source) == peer_port_)
        answers.emplace(ntohl(tcp.seq), address_text(peer_));
}

void PathProbe::receive(std::chrono::milliseconds wait, std::map<std::uint32_t, std::string> &answers) const {
    const auto deadline = Clock::now() + wait;
    for (;;) {
        std::array<pollfd, 2> fds{pollfd{.fd = errors_.get(), .events = POLLIN},
                                  pollfd{.fd = answers_.get(), .events = POLLIN}};
        const auto left =
            std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
        if (::poll(fds.data(), fds.size(), static_cast<int>(std::max<std::int64_t>(left, 0))) <= 0)
            return;
        if (fds[0].revents)
            take_error(answers);
        if (fds[1].revents)
            take_answer(answers);
    }
}

Result<std::vector<std::string>> PathProbe::ask(const std::vector<ProbePacket> &packets,
                                                const std::function<bool()> &give_up) {
    const std::uint32_t first = next_id_;
    next_id_ += static_cast<std::uint32_t>(packets.size());
    std::map<std::uint32_t, std::string> answers;
    const auto id_of = [&](std::size_t i) { return first + static_cast<std::uint32_t>(i); };
    for (int round = 1; round <= rounds; round++) {
        bool asked = false;
        for (std::size_t i = 0; i < packets.size(); i++) {
            if (answers.contains(id_of(i)))
                continue;
            if (give_up && give_up())
                return fail(ErrorCode::failed, "called off", "");
            MPS_TRY(send(packets[i], id_of(i)));
            asked = true;
            // Routers answer a limited number a second.
            receive(std::chrono::milliseconds(round), answers);
        }
        if (!asked)
            break;
        receive(patience * round, answers);
    }
    std::vector<std::string> all;
    for (std::size_t i = 0; i < packets.size(); i++)
        all.push_back(answers.contains(id_of(i)) ? answers[id_of(i)] : "");
    return all;
}

} // namespace mps
