// SPDX-License-Identifier: MIT
//
// Files of other machines, other link types, cut anywhere, damaged anywhere.

#include <algorithm>

#include "catch.hpp"
#include "codec/text.hpp"
#include "samples.hpp"

namespace {

using namespace mps;
using namespace mps::packet;
using codec::CaptureReader;
using codec::Content;
using codec::LinkType;
using test::Order;
using test::Record;

Packet segment_of(const Packet &network) {
    return network / TCP() / mp_prio{.backup = true} / nop() / Payload(5);
}

struct Outcome {
    std::size_t packets = 0, with_options = 0;
    std::string trouble;
};

// Reads a file to its end as `decode` does.
Outcome read_all(const Bytes &file, std::size_t at_most = SIZE_MAX) {
    Outcome outcome;
    auto reader = CaptureReader::open(test::reader_of(file, at_most));

    if (!reader) {
        outcome.trouble = reader.error().what;
        CHECK_FALSE(outcome.trouble.empty());
        return outcome;
    }
    while (const auto packet = reader->next()) {
        outcome.packets++;
        const auto dissected = codec::dissect(packet->data, packet->wire_length, packet->link);
        if (dissected.content != Content::tcp)
            continue;
        const auto list = codec::split_options(dissected.segment.options, dissected.segment.options_length);
        for (const codec::MptcpOption &option : codec::mptcp_options(list)) {
            CHECK_FALSE(codec::option_text(option).empty());
            outcome.with_options++;
        }
    }
    outcome.trouble = reader->trouble();
    return outcome;
}

std::vector<Record> three_packets() {
    const Bytes data = segment_of(Packet(Ethernet()) / IPv4()).build();
    return {{.data = data, .time_us = 5},
            {.data = data, .wire_length = 1500, .time_us = 1000006},
            {.data = data, .time_us = 2000007}};
}

Bytes before(const Bytes &prefix, const Packet &packet) {
    Bytes all = prefix;
    const Bytes rest = packet.build();
    all.insert(all.end(), rest.begin(), rest.end());
    return all;
}

} // namespace

TEST_CASE(
    "pcap and pcapng are read in both byte orders, with micro- and nanoseconds, and in pieces of any size") {
    for (const Order order : {Order::little, Order::big})
        for (const Bytes &file :
             {test::pcap_file(1, three_packets(), order), test::pcap_file(1, three_packets(), order, true),
              test::pcapng_file({1}, three_packets(), order)}) {
            auto reader = CaptureReader::open(test::reader_of(file));
            REQUIRE(reader);
            const auto first = reader->next(), second = reader->next();
            REQUIRE((first && second));
            CHECK(first->number == 1);
            CHECK(first->time_ns == 5000);
            CHECK(second->time_ns == 1000006000);
            CHECK(second->wire_length == 1500);
            CHECK(second->data == three_packets()[1].data);
            CHECK(reader->next());
            CHECK_FALSE(reader->next());
            CHECK(reader->trouble().empty());
            for (const std::size_t piece : {1, 3, 7})
                CHECK(read_all(file, piece).with_options == 3);
        }
}

TEST_CASE("a capture cut at any octet gives the packets before, and says that it ends early") {
    for (const Bytes &whole :
         {test::pcap_file(1, three_packets()), test::pcapng_file({1}, three_packets())}) {
        std::size_t most = 0, silent = 0;
        for (std::size_t size = 0; size < whole.size(); size++) {
            const Outcome outcome =
                read_all({whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size)});
            INFO(size << ": " << outcome.trouble);
            CHECK(outcome.packets >= most);
            most = outcome.packets;
            silent += outcome.trouble.empty();
        }
        CHECK(most == 2);
        // Silent only where it is cut between two packets or blocks.
        CHECK(silent == (whole[0] == 0x0a ? 4 : 3));
    }
}

TEST_CASE("a pcapng file may have interfaces of different link types, which libpcap refuses") {
    const Packet ip = segment_of(Packet(IPv4()));
    const Bytes file =
        test::pcapng_file({1, 101}, {{.data = (Packet(Ethernet()) / ip).build(), .interface = 0},
                                     {.data = ip.build(), .interface = 1}});
    auto reader = CaptureReader::open(test::reader_of(file));

    REQUIRE(reader);
    const auto ethernet = reader->next(), raw = reader->next();
    REQUIRE((ethernet && raw));
    CHECK(ethernet->interface == "if0");
    CHECK(raw->interface == "if1");
    CHECK(raw->link == LinkType::raw);
    CHECK(read_all(file).with_options == 2);
}

TEST_CASE("what is no capture is refused with what it is") {
    CHECK(read_all({}).trouble == "is empty");
    CHECK(read_all({1, 2}).trouble == "is too short for a capture");
    CHECK(read_all({'#', '!', '/', 'b', 'i', 'n'}).trouble == "is neither pcap nor pcapng");
    const Bytes packed{0x1f, 0x8b, 0x08, 0, 0};
    const auto reader = CaptureReader::open(test::reader_of(packed));
    REQUIRE_FALSE(reader);
    CHECK(reader.error().what == "is compressed");
    CHECK(reader.error().hint == "gunzip <FILE | mpsched decode -");
}

TEST_CASE("a file that claims more than there can be takes no memory for it") {
    Bytes pcap = test::pcap_file(1, three_packets()), pcapng = test::pcapng_file({1}, three_packets());

    std::fill_n(pcap.begin() + 32, 4, 0xff);
    CHECK(read_all(pcap).trouble.contains("claims 4294967295 octets"));
    std::fill_n(pcapng.begin() + 32, 4, 0xfc);
    CHECK(read_all(pcapng).trouble.contains("damaged"));
}

TEST_CASE("every link type leads to the options") {
    const Packet ip4 = segment_of(Packet(IPv4())), ip6 = segment_of(Packet(IPv6()));
    const Bytes sll4{0, 0, 0, 1, 0, 6, 0, 0, 0x5e, 0, 0x53, 1, 0, 0, 0x08, 0},
        sll6{0, 4, 0, 1, 0, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0x86, 0xdd};
    const Bytes sll2{0x86, 0xdd, 0, 0, 0, 0, 0, 2, 0, 1, 0, 6, 0, 0, 0x5e, 0, 0x53, 1, 0, 0};
    const std::vector<std::pair<LinkType, Bytes>> cases{
        {LinkType::ethernet, (Packet(Ethernet()) / ip4).build()},
        {LinkType::ethernet,
         (Packet(Ethernet()) / Vlan{.id = 100, .tpid = ethertype_qinq} / Vlan{.id = 5} / ip6).build()},
        {LinkType::raw, ip4.build()},
        {LinkType::raw, ip6.build()},
        {LinkType::raw_bsd, ip4.build()},
        {LinkType::ipv4, ip4.build()},
        {LinkType::ipv6, ip6.build()},
        {LinkType::linux_sll, before(sll4, ip4)},
        {LinkType::linux_sll, before(sll6, ip6)},
        {LinkType::linux_sll2, before(sll2, ip6)},
        {LinkType::null, before({2, 0, 0, 0}, ip4)},
        {LinkType::null, before({0, 0, 0, 30}, ip6)},
        {LinkType::loop, before({0, 0, 0, 2}, ip4)},
    };
    for (const auto &[link, data] : cases) {
        const auto dissected = codec::dissect(data, data.size(), link);
        INFO("link type " << static_cast<unsigned>(link));
        REQUIRE(dissected.content == Content::tcp);
        CHECK(dissected.segment.payload == 5);
        CHECK(dissected.segment.options.size() == 4);
        // And cut anywhere it says so, or has fewer options; never more than there is.
        for (std::size_t size = 0; size < data.size(); size++) {
            const auto cut = codec::dissect(ByteView(data).first(size), data.size(), link);
            CHECK((cut.content == Content::cut || cut.content == Content::tcp));
        }
    }
    const Bytes data = ip4.build();
    CHECK(codec::dissect(data, data.size(), static_cast<LinkType>(105)).content == Content::unknown_link);
    CHECK(codec::dissect(
              (Packet(Ethernet()) / Vlan{.id = 100, .tpid = ethertype_qinq} / Vlan{.id = 5} / ip4).build(),
              100, LinkType::ethernet)
              .segment.vlans == std::vector<std::uint16_t>{100, 5});
}

TEST_CASE("fragments, extension headers and what is not TCP are told apart") {
    const auto content = [](const Packet &packet) {
        const Bytes data = packet.build();
        return codec::dissect(data, data.size(), LinkType::raw).content;
    };
    const Packet tcp = Packet(TCP()) / mp_prio() / nop() / Payload(8);

    CHECK(content(Packet(IPv6()) / hop_by_hop{} / routing{} / dest_opts{} / tcp) == Content::tcp);
    CHECK(content(Packet(IPv6()) / fragment{.more = true} / tcp) == Content::tcp);
    CHECK(content(Packet(IPv6()) / fragment{.offset_bytes = 8} / tcp) == Content::fragment);
    CHECK(content(Packet(IPv4{.dont_fragment = false, .more_fragments = true}) / tcp) == Content::tcp);
    CHECK(content(Packet(IPv4{.dont_fragment = false, .fragment_offset_bytes = 8, .protocol = 6}) /
                  Payload(8)) == Content::fragment);
    CHECK(content(Packet(IPv4()) / UDP() / Payload(8)) == Content::other);
    CHECK(content(Packet(IPv6()) / ICMPv6()) == Content::other);
    CHECK(content(Packet(IPv4{.total_length = 21}) / tcp) == Content::malformed);
    CHECK(content(Packet(IPv4{.header_words = 3}) / tcp) == Content::malformed);
    CHECK(content(Packet(IPv4()) / TCP{.data_offset_words = 4}) == Content::malformed);
    CHECK(content(Packet(IPv4()) / TCP{.data_offset_words = 15}) == Content::malformed);
    // A first fragment may end within the options, and then they are cut.
    const Bytes data = (Packet(IPv4{.dont_fragment = false, .more_fragments = true, .total_length = 42}) /
                        TCP() / mp_prio() / nop())
                           .build();
    const auto first = codec::dissect(ByteView(data).first(42), 42, LinkType::raw);
    REQUIRE(first.content == Content::tcp);
    CHECK(first.segment.first_fragment);
    CHECK(codec::split_options(first.segment.options, first.segment.options_length).cut);
}

TEST_CASE("IP packets longer than their length field can say are read to the end") {
    const Bytes data = (Packet(IPv4{.total_length = 0}) / TCP() / mp_prio() / nop() / Payload(100)).build();
    CHECK(codec::dissect(data, 70000, LinkType::raw).segment.payload == 70000 - 44);
    const Bytes jumbo =
        (Packet(IPv6{.payload_length = 0}) / TCP() / mp_prio() / nop() / Payload(100)).build();
    CHECK(codec::dissect(jumbo, jumbo.size(), LinkType::raw).segment.payload == 100);
}

TEST_CASE("a hundred thousand damaged captures are read to an end") {
    test::Random random(30);
    const std::vector<Bytes> files{test::pcap_file(1, three_packets()),
                                   test::pcapng_file({1, 101}, three_packets()),
                                   test::pcap_file(276, three_packets(), Order::big)};
    std::size_t packets = 0;

    for (int i = 0; i < 100000; i++) {
        Bytes file = files[random() % files.size()];
        for (std::size_t n = 1 + random() % 4; n > 0; n--)
            file[random() % file.size()] = static_cast<std::uint8_t>(random());
        packets += read_all(file).packets;
    }
    CHECK(packets > 10000);
}
