// SPDX-License-Identifier: MIT
//
// Packets as expressions:
//
//	Ethernet() / IPv4{.dst = "192.0.2.7"} / TCP{.dport = 80} / nop() / nop() / timestamp{} / dss{} / Payload(100)
//
// Name only what the test is about. Everything else has a default from the documentation ranges (RFC 5737,
// 3849, 7042); lengths, next-protocol fields and checksums are computed on build(), unless the layer names
// them: every std::optional member is such an override, for packets that are wrong on purpose.
//
// Lower-case names are TCP options (they go into the TCP header on their left, padded at its end with
// end-of-options) and IPv6 extension headers.
#pragma once

#include "bytes.hpp"

#include <initializer_list>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace mps::packet {

inline constexpr std::uint16_t ethertype_ipv4 = 0x0800;
inline constexpr std::uint16_t ethertype_arp = 0x0806;
inline constexpr std::uint16_t ethertype_vlan = 0x8100;
inline constexpr std::uint16_t ethertype_ipv6 = 0x86dd;
inline constexpr std::uint16_t ethertype_qinq = 0x88a8;

inline constexpr std::uint8_t protocol_hop_by_hop = 0;
inline constexpr std::uint8_t protocol_icmp = 1;
inline constexpr std::uint8_t protocol_tcp = 6;
inline constexpr std::uint8_t protocol_udp = 17;
inline constexpr std::uint8_t protocol_routing = 43;
inline constexpr std::uint8_t protocol_fragment = 44;
inline constexpr std::uint8_t protocol_icmpv6 = 58;
inline constexpr std::uint8_t protocol_none = 59;
inline constexpr std::uint8_t protocol_dest_opts = 60;

/* ---------------------------------------------------------------- layers */

struct Ethernet {
    MacAddress dst = "00:00:5e:00:53:02";
    MacAddress src = "00:00:5e:00:53:01";
    std::optional<be16> type{};
};

// QinQ: Vlan{.id = 100, .tpid = ethertype_qinq} / Vlan{.id = 5}
struct Vlan {
    std::uint16_t id = 1; // 12 bits
    std::uint8_t priority = 0;
    bool drop_eligible = false;
    be16 tpid = ethertype_vlan; // goes into the header before this one
    std::optional<be16> type{};
};

struct IPv4 {
    Ipv4Address src = "192.0.2.1";
    Ipv4Address dst = "198.51.100.1";
    std::uint8_t tos = 0;
    be16 id = 0x1234;
    bool dont_fragment = true;
    bool more_fragments = false;
    std::uint16_t fragment_offset_bytes = 0; // multiple of 8
    std::uint8_t ttl = 64;
    Bytes options{}; // padded with zeros to a multiple of 4
    std::optional<std::uint8_t> version{};
    std::optional<std::uint8_t> header_words{};
    std::optional<be16> total_length{};
    std::optional<std::uint8_t> protocol{};
    std::optional<be16> checksum{};
};

struct IPv6 {
    Ipv6Address src = "2001:db8:1::1";
    Ipv6Address dst = "2001:db8:2::1";
    std::uint8_t traffic_class = 0;
    std::uint32_t flow_label = 0;
    std::uint8_t hop_limit = 64;
    std::optional<std::uint8_t> version{};
    std::optional<be16> payload_length{};
    std::optional<std::uint8_t> next_header{};
};

// Extension headers whose content is options; padded with Pad1 and PadN to a multiple of 8.
struct hop_by_hop {
    Bytes options{};
    std::optional<std::uint8_t> next_header{};
    std::optional<std::uint8_t> length_units{};
};

struct dest_opts {
    Bytes options{};
    std::optional<std::uint8_t> next_header{};
    std::optional<std::uint8_t> length_units{};
};

struct routing {
    std::uint8_t type = 253; // experimental, RFC 3692
    std::uint8_t segments_left = 0;
    Bytes data = Bytes(4);
    std::optional<std::uint8_t> next_header{};
    std::optional<std::uint8_t> length_units{};
};

struct fragment {
    std::uint16_t offset_bytes = 0; // multiple of 8
    bool more = false;
    be32 id = 0x01020304;
    std::optional<std::uint8_t> next_header{};
};

enum TcpFlag : std::uint8_t {
    FIN = 0x01,
    SYN = 0x02,
    RST = 0x04,
    PSH = 0x08,
    ACK = 0x10,
    URG = 0x20,
    ECE = 0x40,
    CWR = 0x80,
};
constexpr TcpFlag operator|(TcpFlag a, TcpFlag b) {
    return static_cast<TcpFlag>(static_cast<unsigned>(a) | static_cast<unsigned>(b));
}

struct TCP {
    be16 sport = 49152;
    be16 dport = 443;
    be32 seq = 1000;
    be32 ack_seq = 2000;
    TcpFlag flags = ACK;
    be16 window = 512;
    be16 urgent = 0;
    std::uint8_t reserved_bits = 0; // 4 bits between data offset and flags
    std::optional<std::uint8_t> data_offset_words{};
    std::optional<be16> checksum{};
};

struct UDP {
    be16 sport = 49152;
    be16 dport = 53;
    std::optional<be16> length{};
    std::optional<be16> checksum{};
};

struct ICMP {
    std::uint8_t type = 8;
    std::uint8_t code = 0;
    be32 rest = 0x00010001;
    std::optional<be16> checksum{};
};

struct ICMPv6 {
    std::uint8_t type = 128;
    std::uint8_t code = 0;
    be32 rest = 0x00010001;
    std::optional<be16> checksum{};
};

struct ARP {
    be16 operation = 1;
    MacAddress sender_mac = "00:00:5e:00:53:01";
    Ipv4Address sender = "192.0.2.1";
    MacAddress target_mac = "00:00:00:00:00:00";
    Ipv4Address target = "192.0.2.2";
};

// Octets that follow; by number a pattern in which no two neighbours are equal.
class Payload {
  public:
    explicit Payload(std::size_t size);
    explicit Payload(Bytes data) : data_(std::move(data)) {}
    const Bytes &data() const { return data_; }

  private:
    Bytes data_;
};

/* ----------------------------------------------------------- TCP options */

struct TcpOption {
    std::string name;
    Bytes data; // with kind and length
};

struct nop {
    TcpOption option() const;
};

struct end_of_options {
    TcpOption option() const;
};

struct mss {
    be16 bytes = 1460;
    TcpOption option() const;
};

struct window_scale {
    std::uint8_t shift = 7;
    TcpOption option() const;
};

struct sack_permitted {
    TcpOption option() const;
};

struct sack {
    std::vector<std::pair<be32, be32>> blocks = {{3000, 4000}};
    TcpOption option() const;
};

struct timestamp {
    be32 value = 111111;
    be32 echo = 222222;
    TcpOption option() const;
};

// Anything else; `length` by default the true one.
struct raw_option {
    std::uint8_t kind = 253;
    Bytes data{};
    std::optional<std::uint8_t> length{};
    TcpOption option() const;
};

/* RFC 8684, in the order of its section 3. */

// SYN: no keys. SYN/ACK: sender_key. ACK: both. With data: data_length, and checksum if negotiated.
struct mp_capable {
    std::uint8_t version = 1;
    std::uint8_t flags = 0x01; // A..H; H: HMAC-SHA256
    std::optional<be64> sender_key{};
    std::optional<be64> receiver_key{};
    std::optional<be16> data_length{};
    std::optional<be16> checksum{};
    TcpOption option() const;
};

struct mp_join_syn {
    bool backup = false;
    std::uint8_t address_id = 2;
    be32 token = 0x0a0b0c0d;
    be32 nonce = 0x01020304;
    TcpOption option() const;
};

struct mp_join_synack {
    bool backup = false;
    std::uint8_t address_id = 2;
    be64 truncated_hmac = 0x1112131415161718;
    be32 nonce = 0x01020304;
    TcpOption option() const;
};

struct mp_join_ack {
    Bytes hmac = Bytes(20, 0x5a);
    TcpOption option() const;
};

// A data sequence mapping.
struct mapping {
    be32 dsn = 5000;
    std::optional<be64> dsn64{}; // instead of dsn, in 8 octets
    be32 subflow_seq = 1;
    be16 length = 100;
    std::optional<be16> checksum{};
};

struct dss {
    std::optional<be32> data_ack{};
    std::optional<be64> data_ack64{}; // instead of data_ack, in 8 octets
    std::optional<mapping> map{};
    bool data_fin = false;
    TcpOption option() const;
};

struct add_addr {
    std::uint8_t address_id = 3;
    bool echo = false; // without HMAC
    std::optional<Ipv6Address> ipv6{};
    Ipv4Address ipv4 = "203.0.113.3";
    std::optional<be16> port{};
    be64 truncated_hmac = 0x2122232425262728;
    TcpOption option() const;
};

struct remove_addr {
    Bytes address_ids = {3};
    TcpOption option() const;
};

struct mp_prio {
    bool backup = false;
    std::optional<std::uint8_t> address_id{}; // MPTCP v0 only
    std::uint8_t reserved_bits = 0;           // 3 bits in front of B, ignored on receipt
    TcpOption option() const;
};

struct mp_fail {
    be64 dsn = 5000;
    TcpOption option() const;
};

struct mp_fastclose {
    be64 receiver_key = 0x3132333435363738;
    TcpOption option() const;
};

struct mp_tcprst {
    std::uint8_t flags = 0; // U V W T
    std::uint8_t reason = 1;
    TcpOption option() const;
};

/* ----------------------------------------------------------- composition */

using Layer = std::variant<Ethernet, Vlan, IPv4, IPv6, hop_by_hop, dest_opts, routing, fragment, TCP,
                           TcpOption, UDP, ICMP, ICMPv6, ARP, Payload>;

template <class T>
concept IsTcpOption = requires(const T &t) {
    { t.option() } -> std::same_as<TcpOption>;
};
template <class T>
concept IsLayer = IsTcpOption<T> || std::constructible_from<Layer, T>;

class Packet {
  public:
    Packet() = default;
    template <IsLayer T>
    Packet(const T &layer) {
        add(layer);
    }

    template <IsLayer T>
    void add(const T &layer) {
        if constexpr (IsTcpOption<T>)
            layers_.push_back(layer.option());
        else
            layers_.push_back(layer);
    }
    void add(const Packet &other) {
        layers_.insert(layers_.end(), other.layers_.begin(), other.layers_.end());
    }

    // The same packet with these options before all others of its TCP header.
    Packet with_first_options(const Packet &options) const;
    Bytes build() const;
    const std::vector<Layer> &layers() const { return layers_; }

  private:
    std::vector<Layer> layers_;
};

template <class T>
concept IsOperand = IsLayer<T> || std::same_as<T, Packet>;

template <IsOperand A, IsOperand B>
Packet operator/(const A &a, const B &b) {
    Packet out(a);

    out.add(b);
    return out;
}

// RFC 1071 over data, starting from a partial sum; the value that goes into the header.
std::uint16_t internet_checksum(ByteView data, std::uint32_t sum = 0);
// RFC 8684 3.3.1: over the pseudo header of the mapping and the payload.
std::uint16_t dss_checksum(const mapping &map, ByteView payload);

} // namespace mps::packet
