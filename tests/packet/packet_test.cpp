// SPDX-License-Identifier: MIT
//
// The builder against packets that a Linux 6.18 kernel sent with checksum offload off, and the decoder against
// both. Options that the kernel does not send unasked are written out by hand from the figures of RFC 8684.
#include "catch.hpp"
#include "decode.hpp"
#include "packet.hpp"

#include <fmt/format.h>
#include <random>
#include <stdexcept>

using namespace mps::packet;

namespace {

void same(const Packet &packet, const std::string &hex) {
    Bytes expected = from_hex(hex);
    Bytes built = packet.build();

    INFO(compare(expected, built, Link::ethernet));
    CHECK(built == expected);
    CHECK(checksum_faults(built, Link::ethernet).empty());
}

void same_option(const TcpOption &option, const std::string &hex) {
    INFO(option.name);
    CHECK(option.data == from_hex(hex));
}

const MacAddress client_mac = "00:00:5e:00:53:01";
const MacAddress server_mac = "00:00:5e:00:53:02";
const Ethernet to_server{.dst = server_mac, .src = client_mac};
const Ethernet to_client{.dst = client_mac, .src = server_mac};

IPv4 client_ip(std::uint16_t id) { return {.src = "192.0.2.1", .dst = "192.0.2.2", .id = id}; }
IPv4 server_ip(std::uint16_t id) { return {.src = "192.0.2.2", .dst = "192.0.2.1", .id = id}; }
TCP client_tcp(std::uint32_t seq, std::uint32_t ack, TcpFlag flags, std::uint16_t window) {
    return {.sport = 0x8570, .dport = 4433, .seq = seq, .ack_seq = ack, .flags = flags, .window = window};
}
TCP server_tcp(std::uint32_t seq, std::uint32_t ack, TcpFlag flags, std::uint16_t window) {
    return {.sport = 4433, .dport = 0x8570, .seq = seq, .ack_seq = ack, .flags = flags, .window = window};
}

constexpr std::uint64_t client_key = 0x1195a091d53742f1;
constexpr std::uint64_t server_key = 0xcd6324304c7996c3;

// Headers of every kind in one packet each, for the tests that go over all of them.
std::vector<std::pair<Packet, Link>> samples() {
    Packet canonical =
        TCP{} / nop() / nop() / timestamp{} / dss{.data_ack64 = 7, .map = mapping{.dsn64 = 9}} / Payload(21);

    return {
        {Ethernet() / IPv4() / canonical, Link::ethernet},
        {Ethernet() / Vlan{.id = 5} / IPv4{.options = {1, 1, 1}} / canonical, Link::ethernet},
        {Ethernet() / Vlan{.id = 5, .tpid = ethertype_qinq} / Vlan{.id = 6} / IPv6() / canonical,
         Link::ethernet},
        {IPv4() / canonical, Link::raw_ip},
        {IPv6() / hop_by_hop() / routing() / dest_opts{.options = {1, 4, 0, 0, 0, 0}} / canonical,
         Link::raw_ip},
        {IPv6() / fragment() / canonical, Link::raw_ip},
        {Ethernet() / IPv4() / UDP() / Payload(3), Link::ethernet},
        {Ethernet() / IPv6() / UDP() / Payload(3), Link::ethernet},
        {Ethernet() / IPv4() / ICMP() / Payload(8), Link::ethernet},
        {Ethernet() / IPv6() / ICMPv6() / Payload(8), Link::ethernet},
        {Ethernet() / ARP(), Link::ethernet},
        {Ethernet() / Payload(46), Link::ethernet},
    };
}

} // namespace

TEST_CASE("the three packets of an MP_CAPABLE handshake are the kernel's") {
    same(
        to_server / client_ip(0x3706) / client_tcp(0x35182a79, 0, SYN, 0xfaf0) / mss{.bytes = 1460} /
            sack_permitted() / timestamp{.value = 0x05714bf9, .echo = 0} / nop() / window_scale{.shift = 10} /
            mp_capable(),
        "00005e00530200005e0053010800450000403706400040067faec0000201c00002028570115135182a7900000000b002faf0"
        "52420000020405b40402080a05714bf9000000000103030a1e040101");
    same(
        to_client / server_ip(0) / server_tcp(0xf4086e56, 0x35182a7a, SYN | ACK, 0xfe88) / mss() /
            sack_permitted() / timestamp{.value = 0xe74b0719, .echo = 0x05714bf9} / nop() /
            window_scale{.shift = 10} / mp_capable{.sender_key = server_key},
        "00005e00530100005e005302080045000048000040004006b6acc0000202c000020111518570f4086e5635182a7ad012fe88"
        "08f40000020405b40402080ae74b071905714bf90103030a1e0c0101cd6324304c7996c3");
    same(
        to_server / client_ip(0x3707) / client_tcp(0x35182a7a, 0xf4086e57, ACK, 0x3f) / nop() / nop() /
            timestamp{.value = 0x05714bf9, .echo = 0xe74b0719} /
            mp_capable{.sender_key = client_key, .receiver_key = server_key},
        "00005e00530200005e0053010800450000483707400040067fa5c0000201c00002028570115135182a7af4086e57d010003f"
        "4bad00000101080a05714bf9e74b07191e1401011195a091d53742f1cd6324304c7996c3");
}

TEST_CASE("MP_CAPABLE with data is the kernel's, its two octets of padding included") {
    same(
        to_server / client_ip(0x3708) / client_tcp(0x35182a7a, 0xf4086e57, PSH | ACK, 0x3f) / nop() / nop() /
            timestamp{.value = 0x05714bf9, .echo = 0xe74b0719} /
            mp_capable{.sender_key = client_key, .receiver_key = server_key, .data_length = 5} / nop() /
            nop() / Payload(Bytes{'h', 'e', 'l', 'l', 'o'}),
        "00005e00530200005e0053010800450000513708400040067f9bc0000201c00002028570115135182a7af4086e57e018003f"
        "f6c100000101080a05714bf9e74b07191e1601011195a091d53742f1cd6324304c7996c30005010168656c6c6f");
}

TEST_CASE("a pure ACK and a data packet with DSS are the kernel's") {
    same(
        to_client / server_ip(0x5b2d) / server_tcp(0xf4086e57, 0x35182a7f, ACK, 0x3f) / nop() / nop() /
            timestamp{.value = 0xe74b0719, .echo = 0x05714bf9} / dss{.data_ack64 = 0x48181fa6af4861fa},
        "00005e00530100005e0053020800450000405b2d400040065b87c0000202c000020111518570f4086e5735182a7fb010003f"
        "72d500000101080ae74b071905714bf91e0c200348181fa6af4861fa");
    same(
        to_client / server_ip(0x5b2e) / server_tcp(0xf4086e57, 0x35182a7f, PSH | ACK, 0x3f) / nop() / nop() /
            timestamp{.value = 0xe74b0845, .echo = 0x05714bf9} /
            dss{.data_ack64 = 0x48181fa6af4861fa,
                .map = mapping{.dsn64 = 0xea8d9bf79210fae8, .subflow_seq = 1, .length = 6}} /
            nop() / nop() / Payload(Bytes{'a', 'n', 's', 'w', 'e', 'r'}),
        "00005e00530100005e0053020800450000565b2e400040065b70c0000202c000020111518570f4086e5735182a7ff018003f"
        "e29100000101080ae74b084505714bf91e1a200f48181fa6af4861faea8d9bf79210fae80000000100060101616e73776572");
    same(
        to_client / server_ip(0x5b30) / server_tcp(0xf4086e99, 0x35182a7f, ACK, 0x3f) / nop() / nop() /
            timestamp{.value = 0xe74b0845, .echo = 0x05714d25} /
            dss{.data_ack64 = 0x48181fa6af4861fa,
                .map = mapping{.dsn64 = 0xea8d9bf79210fb2a, .subflow_seq = 0, .length = 1},
                .data_fin = true} /
            nop() / nop(),
        "00005e00530100005e0053020800450000505b30400040065b74c0000202c000020111518570f4086e9935182a7ff010003f"
        "1b3e00000101080ae74b084505714d251e1a201f48181fa6af4861faea8d9bf79210fb2a0000000000010101");
}

TEST_CASE("the three packets of an MP_JOIN handshake are the kernel's") {
    const Ethernet out{.dst = "00:00:5e:00:53:12", .src = "00:00:5e:00:53:11"};
    const Ethernet in{.dst = "00:00:5e:00:53:11", .src = "00:00:5e:00:53:12"};

    same(
        out / IPv4{.src = "198.51.100.1", .dst = "192.0.2.2", .id = 0x368b} /
            TCP{.sport = 0x9163,
                .dport = 4433,
                .seq = 0x56be48d7,
                .ack_seq = 0,
                .flags = SYN,
                .window = 0xfaf0} /
            mss() / sack_permitted() / timestamp{.value = 0xaed2026b, .echo = 0} / nop() /
            window_scale{.shift = 10} /
            mp_join_syn{.address_id = 1, .token = 0x54409fd3, .nonce = 0x7baf65a5},
        "00005e00531200005e005311080045000048368b4000400617eec6336401c00002029163115156be48d700000000d002faf0"
        "39cb0000020405b40402080aaed2026b000000000103030a1e0c100154409fd37baf65a5");
    same(
        in / IPv4{.src = "192.0.2.2", .dst = "198.51.100.1", .id = 0} /
            TCP{.sport = 4433,
                .dport = 0x9163,
                .seq = 0x985e8346,
                .ack_seq = 0x56be48d8,
                .flags = SYN | ACK,
                .window = 0xfe88} /
            mss() / sack_permitted() / timestamp{.value = 0x3f09f27a, .echo = 0xaed2026b} / nop() /
            window_scale{.shift = 10} /
            mp_join_synack{.address_id = 0, .truncated_hmac = 0xa80aa92c2f3bca41, .nonce = 0xe434c9ab},
        "00005e00531100005e00531208004500004c0000400040064e75c0000202c633640111519163985e834656be48d8e012fe88"
        "b5c50000020405b40402080a3f09f27aaed2026b0103030a1e101000a80aa92c2f3bca41e434c9ab");
    same(
        out / IPv4{.src = "198.51.100.1", .dst = "192.0.2.2", .id = 0x368c} /
            TCP{.sport = 0x9163, .dport = 4433, .seq = 0x56be48d8, .ack_seq = 0x985e8347, .window = 0x3f} /
            nop() / nop() / timestamp{.value = 0xaed2026b, .echo = 0x3f09f27a} /
            mp_join_ack{.hmac = from_hex("1793b1d7cc2286b46efbbb8805843eb2651bbb2c")},
        "00005e00531200005e00531108004500004c368c4000400617e9c6336401c00002029163115156be48d8985e8347e010003f"
        "101f00000101080aaed2026b3f09f27a1e1810001793b1d7cc2286b46efbbb8805843eb2651bbb2c");
}

TEST_CASE("UDP, ARP and ICMP over IPv4 are the kernel's") {
    same(to_server / IPv4{.src = "192.0.2.1", .dst = "192.0.2.2", .id = 0x39d4} /
             UDP{.sport = 0xbb2b, .dport = 5353} / Payload(Bytes{'o', 'd', 'd'}),
         "00005e00530200005e00530108004500001f39d4400040117cf6c0000201c0000202bb2b14e9000bd85a6f6464");
    same(Ethernet{.dst = "ff:ff:ff:ff:ff:ff", .src = client_mac} / ARP{.target = "192.0.2.2"},
         "ffffffffffff00005e0053010806000108000604000100005e005301c0000201000000000000c0000202");
    same(
        to_client /
            IPv4{.src = "192.0.2.2", .dst = "192.0.2.1", .tos = 0xc0, .id = 0x2c76, .dont_fragment = false} /
            ICMP{.type = 3, .code = 3, .rest = 0} /
            Payload(from_hex("4500001f39d4400040117cf6c0000201c0000202bb2b14e9000bd85a6f6464")),
        "00005e00530100005e005302080045c0003b2c7600004001c988c0000202c00002010303811d000000004500001f39d44000"
        "40117cf6c0000201c0000202bb2b14e9000bd85a6f6464");
}

TEST_CASE("TCP, UDP, ICMPv6 and hop-by-hop options over IPv6 are the kernel's") {
    const IPv6 out{.src = "2001:db8::1", .dst = "2001:db8::2", .flow_label = 0xb3173};

    same(
        to_server / out /
            TCP{.sport = 0xea42,
                .dport = 4433,
                .seq = 0xec267e03,
                .ack_seq = 0,
                .flags = SYN,
                .window = 0xfd20} /
            mss{.bytes = 1440} / sack_permitted() / timestamp{.value = 0xb1b963d5, .echo = 0} / nop() /
            window_scale{.shift = 10} / mp_capable(),
        "00005e00530200005e00530186dd600b3173002c064020010db800000000000000000000000120010db800000000000000000000"
        "0002ea421151ec267e0300000000b002fd2045250000020405a00402080ab1b963d5000000000103030a1e040101");
    same(
        to_server / IPv6{.src = "2001:db8::1", .dst = "2001:db8::2", .flow_label = 0x64b20} /
            UDP{.sport = 0x97df, .dport = 5353} / Payload(Bytes{'o', 'd', 'd'}),
        "00005e00530200005e00530186dd60064b20000b114020010db800000000000000000000000120010db800000000000000000000"
        "000297df14e9000b24366f6464");
    same(
        to_client / IPv6{.src = "2001:db8::2", .dst = "2001:db8::1", .hop_limit = 255} /
            ICMPv6{.type = 136, .rest = 0x60000000} /
            Payload(from_hex("20010db8000000000000000000000002020100005e005302")),
        "00005e00530100005e00530286dd6000000000203aff20010db800000000000000000000000220010db800000000000000000000"
        "00018800db706000000020010db8000000000000000000000002020100005e005302");
    same(
        Ethernet{.dst = "33:33:00:00:00:16", .src = server_mac} /
            IPv6{.src = "fe80::200:5eff:fe00:5302", .dst = "ff02::16", .hop_limit = 1} /
            hop_by_hop{.options = {5, 2, 0, 0}} / ICMPv6{.type = 143, .rest = 2} /
            Payload(
                from_hex("04000000ff0200000000000000000001ff00530204000000ff0200000000000000000001ff000002")),
        "33330000001600005e00530286dd6000000000380001fe8000000000000002005efffe005302ff02000000000000000000000000"
        "00163a000502000001008f0069e80000000204000000ff0200000000000000000001ff00530204000000ff020000000000000000"
        "0001ff000002");
}

TEST_CASE("options that the kernel did not send follow the figures of RFC 8684") {
    same_option(mp_capable{.sender_key = 1, .receiver_key = 2, .data_length = 3, .checksum = 4}.option(),
                "1e 18 01 01 0000000000000001 0000000000000002 0003 0004");
    same_option(mp_join_syn{.backup = true, .address_id = 7, .token = 1, .nonce = 2}.option(),
                "1e 0c 11 07 00000001 00000002");
    same_option(mp_join_synack{.backup = true, .address_id = 7, .truncated_hmac = 1, .nonce = 2}.option(),
                "1e 10 11 07 0000000000000001 00000002");
    same_option(dss{.data_ack = 0x01020304}.option(), "1e 08 20 01 01020304");
    same_option(dss{.map = mapping{.dsn = 1, .subflow_seq = 2, .length = 3}}.option(),
                "1e 0e 20 04 00000001 00000002 0003");
    same_option(
        dss{.data_ack = 9, .map = mapping{.dsn = 1, .subflow_seq = 2, .length = 3, .checksum = 4}}.option(),
        "1e 14 20 05 00000009 00000001 00000002 0003 0004");
    same_option(dss{.data_ack64 = 9, .map = mapping{.dsn = 1, .checksum = 4}}.option(),
                "1e 18 20 07 0000000000000009 00000001 00000001 0064 0004");
    same_option(dss{.data_ack64 = 9, .map = mapping{.dsn64 = 1, .checksum = 4}, .data_fin = true}.option(),
                "1e 1c 20 1f 0000000000000009 0000000000000001 00000001 0064 0004");
    same_option(add_addr{.address_id = 3}.option(), "1e 10 30 03 cb007103 2122232425262728");
    same_option(add_addr{.address_id = 3, .port = 80}.option(), "1e 12 30 03 cb007103 0050 2122232425262728");
    same_option(add_addr{.address_id = 3, .echo = true}.option(), "1e 08 31 03 cb007103");
    same_option(add_addr{.address_id = 3, .ipv6 = Ipv6Address("2001:db8::3")}.option(),
                "1e 1c 30 03 20010db8000000000000000000000003 2122232425262728");
    same_option(remove_addr{.address_ids = {3, 4}}.option(), "1e 05 40 03 04");
    same_option(mp_prio{.backup = true}.option(), "1e 03 51");
    same_option(mp_prio{.backup = false, .address_id = 6}.option(), "1e 04 50 06");
    same_option(mp_prio{.backup = true, .reserved_bits = 5}.option(), "1e 03 5b");
    same_option(mp_fail{.dsn = 1}.option(), "1e 0c 60 00 0000000000000001");
    same_option(mp_fastclose{.receiver_key = 1}.option(), "1e 0c 70 00 0000000000000001");
    same_option(mp_tcprst{.flags = 1, .reason = 2}.option(), "1e 04 81 02");
    same_option(sack{.blocks = {{1, 2}, {3, 4}}}.option(), "05 12 00000001 00000002 00000003 00000004");
    same_option(raw_option{.kind = 99, .data = {1}}.option(), "63 03 01");
    same_option(raw_option{.kind = 99, .data = {1}, .length = 0}.option(), "63 00 01");
}

TEST_CASE("every override stands, and only what it names is wrong") {
    Bytes packet = (Ethernet() / IPv4{.header_words = 15, .total_length = 9, .checksum = 0xbeef} /
                    TCP{.data_offset_words = 1, .checksum = 0xdead})
                       .build();

    CHECK(packet[14] == 0x4f);
    CHECK((packet[16] == 0 && packet[17] == 9));
    CHECK((packet[24] == 0xbe && packet[25] == 0xef));
    CHECK(packet[46] == 0x10);
    CHECK((packet[50] == 0xde && packet[51] == 0xad));
    CHECK((Ethernet{.type = 1} / IPv4()).build()[13] == 1);
    CHECK((IPv6{.next_header = 99} / TCP()).build()[6] == 99);
}

TEST_CASE("an IPv4 fragment carries offset and flags") {
    Bytes packet =
        (IPv4{.dont_fragment = false, .more_fragments = true, .fragment_offset_bytes = 1480, .protocol = 6} /
         Payload(8))
            .build();

    CHECK((packet[6] == 0x20 && packet[7] == 185));
    CHECK(packet[9] == 6);
    CHECK_FALSE(find_tcp(packet, Link::raw_ip));
}

TEST_CASE("a packet that cannot be written is refused") {
    CHECK_THROWS_AS((TCP() / mp_join_ack() / mp_join_ack()).build(), std::logic_error);
    CHECK_THROWS_AS((IPv4() / nop()).build(), std::logic_error);
    CHECK_THROWS_AS(Ipv4Address("192.0.2"), std::invalid_argument);
    CHECK_THROWS_AS(Ipv6Address("192.0.2.1"), std::invalid_argument);
}

TEST_CASE("the checksum of a DSS mapping covers its pseudo header and the payload") {
    // 0001 0203 0405 0607 + 0000 0001 + 0003 + 0000 + 6162 6300, by hand
    mapping map{.dsn64 = 0x0001020304050607, .subflow_seq = 1, .length = 3};
    std::uint32_t sum = 0x0001 + 0x0203 + 0x0405 + 0x0607 + 0x0001 + 0x0003 + 0x6162 + 0x6300;

    CHECK(dss_checksum(map, Bytes{'a', 'b', 'c'}) == (~sum & 0xffff));
}

TEST_CASE("the verifier sees every single wrong bit that a checksum covers") {
    for (const auto &[packet, link] : samples()) {
        Bytes data = packet.build();

        INFO(explain(data, link));
        CHECK(checksum_faults(data, link).empty());
        auto layout = find_tcp(data, link);
        if (!layout)
            continue;
        for (std::size_t at = layout->tcp; at < layout->end; at++) {
            // The data offset decides nothing here; every other octet is only summed.
            Bytes broken = data;
            broken[at] ^= 0x04;
            INFO("octet " << at);
            CHECK(checksum_faults(broken, link).size() == 1);
        }
    }
}

TEST_CASE("the decoder takes every sample cut at every length, and random octets") {
    std::mt19937 random(8684);

    for (const auto &[packet, link] : samples()) {
        Bytes data = packet.build();

        for (std::size_t size = 0; size <= data.size(); size++) {
            Bytes cut(data.begin(), data.begin() + static_cast<std::ptrdiff_t>(size));
            CHECK_FALSE(explain(cut, link).empty());
            CHECK((size == data.size() || !find_tcp(cut, link)));
        }
        for (int i = 0; i < 300; i++) {
            Bytes mutated = data;
            for (int n = 0; n < 4; n++)
                mutated[random() % mutated.size()] = static_cast<std::uint8_t>(random());
            CHECK_FALSE(explain(mutated, link).empty());
            CHECK(classify_change(mutated, mutated, link).kind == Change::Kind::none);
        }
    }
}

TEST_CASE("the pretty printer names fields, options and what is wrong") {
    Bytes data = (Ethernet() / Vlan{.id = 5} / IPv4() / TCP{.dport = 80, .flags = SYN | ACK, .checksum = 0} /
                  nop() / mp_prio{.backup = true})
                     .build();
    std::string text = explain(data, Link::ethernet);

    for (const char *expected : {"VLAN      id 5", "192.0.2.1 > 198.51.100.1", "49152 > 80", "flags SA",
                                 "mp_prio 1e0351", "WRONG: TCP checksum"}) {
        INFO(text);
        CHECK(text.find(expected) != std::string::npos);
    }
}

TEST_CASE("an insertion of MP_PRIO is told from every other change") {
    for (const auto &[packet, link] : samples()) {
        Bytes before = packet.build();
        auto layout = find_tcp(before, link);

        if (!layout || layout->payload - layout->tcp > 56)
            continue;
        Bytes after = packet.with_first_options(mp_prio{.backup = true} / nop()).build();
        Change change = classify_change(before, after, link);

        INFO(change.why << "\n" << explain(after, link));
        CHECK(change.kind == Change::Kind::prio);
        CHECK(change.backup);
        std::size_t from = link == Link::ethernet ? 14 : 0;
        for (std::size_t at = from; at < after.size(); at++) {
            Bytes broken = after;
            broken[at] ^= 0x10;
            INFO("octet " << at);
            CHECK(classify_change(before, broken, link).kind == Change::Kind::forbidden);
        }
    }
}

TEST_CASE("a rewritten B bit of MP_PRIO is told from every other change") {
    for (std::size_t shift : {0u, 1u}) {
        Packet start = Ethernet() / IPv4() / TCP();
        for (std::size_t i = 0; i < shift; i++)
            start = start / nop();
        const auto with = [&](bool backup) {
            return (start / dss{.data_ack = 1} / mp_prio{.backup = backup} / nop() / Payload(5)).build();
        };
        const Bytes before = with(true), after = with(false);
        Change change = classify_change(before, after, Link::ethernet);

        INFO(change.why);
        CHECK(change.kind == Change::Kind::rewritten);
        CHECK_FALSE(change.backup);
        for (std::size_t at = 14; at < after.size(); at++) {
            Bytes broken = after;
            broken[at] ^= 0x10;
            INFO("octet " << at);
            CHECK(classify_change(before, broken, Link::ethernet).kind == Change::Kind::forbidden);
        }
    }
}

TEST_CASE("damage that was there before must neither vanish nor grow") {
    Packet tcp = Ethernet() / IPv4() / TCP{.checksum = 0x1111} / timestamp();
    Bytes before = tcp.build();
    Bytes repaired = (Ethernet() / IPv4() / TCP() / mp_prio() / nop() / timestamp()).build();

    CHECK(classify_change(before, repaired, Link::ethernet).kind == Change::Kind::forbidden);
}
