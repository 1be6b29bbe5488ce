// SPDX-License-Identifier: MIT
//
// The description of MPTCP options, and what is read by it.

#include <algorithm>
#include <set>

#include "catch.hpp"
#include "codec/connections.hpp"
#include "codec/text.hpp"
#include "samples.hpp"

namespace {

using namespace mps;
using namespace mps::packet;
using codec::FormInfo;
using codec::MptcpOption;

template <class T>
MptcpOption read(const T &built, Bytes &storage) {
    storage = built.option().data;
    const auto list = codec::split_options(storage, storage.size());
    REQUIRE(list.options.size() == 1);
    return MptcpOption(list.options[0]);
}

template <class T>
std::string text_of(const T &built) {
    Bytes storage;
    return codec::option_text(read(built, storage));
}

} // namespace

TEST_CASE("no option is of two forms, and every form is found by what it says of itself") {
    test::Random random(1);

    for (const FormInfo &form : codec::forms()) {
        INFO(form.name);
        for (int i = 0; i < 50; i++) {
            const Bytes option = test::random_option(form, random);
            const mptcp_form found =
                mptcp_form_of(option[1], option[2], option.size() > 3 ? option[3] : std::uint8_t{0});
            REQUIRE(found != MPTCP_FORM_UNKNOWN);
            CHECK(codec::forms()[found].name == form.name);
        }
        CHECK(form.length <= TCP_OPTIONS_MAX);
    }
    // Also for heads that no form was made for.
    for (unsigned length = 3; length <= 40; length++)
        for (unsigned head = 0; head < 0x10000; head++) {
            std::size_t fits = 0;
            for (const FormInfo &form : codec::forms())
                fits += head >> 12 == form.subtype && (head & form.mask) == form.value &&
                        (length == form.length || (form.repeats && length > form.length));
            if (fits > 1)
                FAIL("length " << length << " head " << head << " is of " << fits << " forms");
        }
}

TEST_CASE("the structures of the forms have every field where it is read") {
    const mptcp_add_addr6_port struct_bytes{.kind = 30,
                                            .length = 30,
                                            .head = 0x30,
                                            .address_id = {7},
                                            .ipv6 = {0x20, 1},
                                            .port = {0x1f, 0x90},
                                            .address_hmac = {}};
    const auto *octets = reinterpret_cast<const std::uint8_t *>(&struct_bytes);
    const Bytes bytes(octets, octets + sizeof struct_bytes);
    const auto list = codec::split_options(bytes, bytes.size());
    const MptcpOption option(list.options.at(0));

    CHECK(option.form() == MPTCP_FORM_add_addr6_port);
    CHECK(option.number(MPTCP_FIELD_address_id) == 7);
    CHECK(option.number(MPTCP_FIELD_port) == 8080);
#define SAME_SIZE(form, subtype, version, mask, value, flags, repeats, title)                                \
    STATIC_REQUIRE(sizeof(struct mptcp_##form) == MPTCP_LEN_##form);
    MPTCP_FORMS(SAME_SIZE)
#undef SAME_SIZE
}

TEST_CASE("each option is told in the RFC's words") {
    CHECK(text_of(mp_capable{}) == "MP_CAPABLE SYN hmac");
    CHECK(
        text_of(
            mp_capable{.flags = 0xa1, .sender_key = 1, .receiver_key = 2, .data_length = 3, .checksum = 4}) ==
        "MP_CAPABLE ACK with data and checksum checksum_required no_more_subflows hmac sender_key=0x0000000000000001 "
        "receiver_key=0x0000000000000002 data_length=3 checksum=0x0004");
    CHECK(text_of(mp_capable{.version = 0, .sender_key = 1}) ==
          "MP_CAPABLE SYN or SYN/ACK, version 0 hmac sender_key=0x0000000000000001");
    CHECK(text_of(mp_capable{.version = 2}).starts_with("MP_CAPABLE of version 2, which is not known"));
    CHECK(text_of(mp_join_syn{.backup = true}) ==
          "MP_JOIN SYN backup address_id=2 token=0x0a0b0c0d nonce=0x01020304");
    CHECK(text_of(mp_join_synack{}) ==
          "MP_JOIN SYN/ACK address_id=2 truncated_hmac=0x1112131415161718 nonce=0x01020304");
    CHECK(text_of(mp_join_ack{}).starts_with("MP_JOIN ACK hmac=0x5a5a"));
    CHECK(text_of(dss{.data_ack = 7, .map = mapping{}, .data_fin = true}) ==
          "DSS data_fin data_ack=7 dsn=5000 subflow_seq=1 data_length=100");
    CHECK(text_of(dss{.map = mapping{.length = 0, .checksum = 9}}) ==
          "DSS dsn=5000 subflow_seq=1 data_length=0 checksum=0x0009 (infinite mapping)");
    CHECK(text_of(add_addr{}) == "ADD_ADDR address_id=3 ipv4=203.0.113.3 address_hmac=0x2122232425262728");
    CHECK(text_of(add_addr{.echo = true, .ipv6 = Ipv6Address("2001:db8::3"), .port = 80}) ==
          "ADD_ADDR echo address_id=3 ipv6=2001:db8::3 port=80");
    CHECK(text_of(raw_option{.kind = 30, .data = {0x34, 3, 192, 0, 2, 1}}) ==
          "ADD_ADDR version 0 address_id=3 ipv4=192.0.2.1");
    CHECK(text_of(remove_addr{.address_ids = {3, 4}}) == "REMOVE_ADDR address_id=3,4");
    CHECK(text_of(mp_prio{.backup = true}) == "MP_PRIO backup");
    CHECK(text_of(mp_prio{.address_id = 6}) == "MP_PRIO version 0 address_id=6");
    CHECK(text_of(mp_fail{}) == "MP_FAIL dsn64=5000");
    CHECK(text_of(mp_fastclose{.receiver_key = 1}) == "MP_FASTCLOSE receiver_key=0x0000000000000001");
    CHECK(text_of(mp_tcprst{.flags = 1, .reason = 6}) ==
          "MP_TCPRST transient reason=6 (middlebox interference)");
    CHECK(text_of(mp_tcprst{.reason = 99}) == "MP_TCPRST reason=99");
    CHECK(text_of(raw_option{.kind = 30, .data = {0x90, 1}}) ==
          "subtype 9 of 4 octets, no form of RFC 8684: 0x1e049001");
    CHECK(text_of(raw_option{.kind = 30, .data = {0x10, 1}}) ==
          "MP_JOIN of 4 octets, no form of RFC 8684: 0x1e041001");
    CHECK(text_of(raw_option{.kind = 30}) == "MPTCP without a subtype");
}

TEST_CASE("a field is told only if it was captured, and where an option is cut that is said") {
    const Bytes whole = add_addr{.port = 80}.option().data;

    for (std::size_t size = 0; size < whole.size(); size++) {
        const Bytes cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
        const auto list = codec::split_options(cut, whole.size());
        INFO(size);
        CHECK(list.cut);
        CHECK_FALSE(list.malformed);
        CHECK(list.options.size() == (size >= 2));
        for (const codec::TcpOption &one : list.options) {
            const MptcpOption option(one);
            CHECK(option.cut());
            CHECK(option.field(MPTCP_FIELD_ipv4).has_value() == (size >= 8));
            CHECK(option.field(MPTCP_FIELD_port).has_value() == (size >= 10));
            CHECK_FALSE(option.field(MPTCP_FIELD_address_hmac));
            CHECK(codec::option_text(option).contains("cut off"));
        }
    }
}

TEST_CASE("impossible lengths end the options, and what stands before them is read") {
    const Bytes after{1, 30, 3, 0x51};

    for (const Bytes &bad : {Bytes{30}, Bytes{30, 0}, Bytes{30, 1}, Bytes{30, 9, 0x20}, Bytes{8, 10}}) {
        Bytes all = after;
        all.insert(all.end(), bad.begin(), bad.end());
        const auto list = codec::split_options(all, all.size());
        CHECK(list.malformed);
        CHECK(codec::mptcp_options(list).size() == 1);
    }
    const Bytes ended{0, 30, 1};
    CHECK_FALSE(codec::split_options(ended, ended.size()).malformed);
}

TEST_CASE("a token is the beginning of the key's SHA-256") {
    // printf '\x01\x02\x03\x04\x05\x06\x07\x08' | sha256sum
    CHECK(codec::token_of(Bytes{1, 2, 3, 4, 5, 6, 7, 8}) == 0x66840dda);
}

TEST_CASE("subflows are put together by the tokens of their handshakes") {
    codec::Connections connections;
    const auto learn = [&](const char *from, std::uint16_t port, const char *to, TcpFlag flags,
                           const auto &option) {
        const Bytes data = (IPv4{.src = from, .dst = to} /
                            TCP{.sport = port,
                                .dport = port == 443 ? std::uint16_t{50000} : std::uint16_t{443},
                                .flags = flags} /
                            option)
                               .build();
        const auto dissected = codec::dissect(data, data.size(), codec::LinkType::raw);
        REQUIRE(dissected.content == codec::Content::tcp);
        const auto list = codec::split_options(dissected.segment.options, dissected.segment.options_length);
        const codec::Connection *found = connections.learn(dissected.segment, codec::mptcp_options(list));
        return found ? static_cast<int>(found->number) : -1;
    };
    const be64 client = 0x0102030405060708, server = 0x1112131415161718;
    const auto token = [](const be64 &key) { return codec::token_of(key.octets()); };

    CHECK(learn("192.0.2.9", 50000, "198.51.100.9", ACK, dss{.data_ack = 1}) == -1);
    CHECK(learn("192.0.2.1", 50000, "198.51.100.1", SYN, mp_capable{}) == 0);
    CHECK(learn("192.0.2.1", 50000, "198.51.100.1", SYN, mp_capable{}) == 0);
    CHECK(learn("198.51.100.1", 443, "192.0.2.1", SYN | ACK, mp_capable{.sender_key = server}) == 0);
    CHECK(learn("192.0.2.1", 50000, "198.51.100.1", ACK,
                mp_capable{.sender_key = client, .receiver_key = server}) == 0);
    CHECK(learn("192.0.2.2", 50000, "198.51.100.1", SYN, mp_join_syn{.token = token(server)}) == 0);
    CHECK(learn("198.51.100.1", 443, "192.0.2.2", SYN | ACK, mp_join_synack{}) == 0);
    // The server joins as well, by the client's token.
    CHECK(learn("198.51.100.2", 50001, "192.0.2.1", SYN, mp_join_syn{.token = token(client)}) == 0);
    // Another connection, of which only a join was captured; and the first one's ports are used again.
    CHECK(learn("192.0.2.3", 50000, "198.51.100.1", SYN, mp_join_syn{.token = 0x01020304}) == 1);
    CHECK(learn("192.0.2.1", 50000, "198.51.100.1", SYN, mp_capable{}) == 2);
    REQUIRE(connections.all().size() == 3);
    CHECK(connections.all()[0].subflows == 3);
    CHECK(connections.all()[0].client_token == token(client));
    CHECK(connections.all()[0].server_token == token(server));
    CHECK(connections.all()[1].has(0x01020304));
}
