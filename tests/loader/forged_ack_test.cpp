// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <cstring>
#include <span>

#include <arpa/inet.h>

#include "attach/forged_ack.hpp"

using namespace mps;

namespace {

unsigned be16_at(std::span<const std::uint8_t> bytes, std::size_t at) {
    return bytes[at] << 8 | bytes[at + 1];
}

// RFC 1071, over the whole: a right checksum makes it 0xffff.
unsigned sum(std::span<const std::uint8_t> bytes, unsigned start = 0) {
    unsigned total = start;
    for (std::size_t i = 0; i + 1 < bytes.size(); i += 2)
        total += be16_at(bytes, i);
    while (total >> 16)
        total = (total & 0xffff) + (total >> 16);
    return total;
}

KnownSubflow ipv4_subflow() {
    KnownSubflow subflow;
    mps_subflow_record &record = subflow.record;
    record.local[10] = record.local[11] = record.remote[10] = record.remote[11] = 0xff;
    inet_pton(AF_INET, "192.0.2.1", record.local + 12);
    inet_pton(AF_INET, "198.51.100.2", record.remote + 12);
    record.local_port = 40000;
    record.remote_port = 443;
    record.rcv_nxt = 0x01020304;
    record.snd_una = 0xf1f2f3f4;
    record.tsval = 11;
    record.tsecr = 22;
    record.window = 500;
    record.has_tstamp = 1;
    return subflow;
}

constexpr std::array<std::uint8_t, 6> mac{2, 0, 0, 0, 0, 9};

} // namespace

TEST_CASE("a forged ACK for IPv4 is what the peer could have sent") {
    const auto frame = forged_ack(ipv4_subflow(), true, mac, false);
    REQUIRE(frame.size() == 14 + 20 + 36);
    const std::span bytes(frame);
    CHECK(std::equal(mac.begin(), mac.end(), frame.begin()));
    CHECK(be16_at(bytes, 12) == 0x0800);
    CHECK(sum(bytes.subspan(14, 20)) == 0xffff);
    CHECK(be16_at(bytes, 16) == 56);
    CHECK(frame[14 + 9] == 6);
    const auto tcp = bytes.subspan(34);
    CHECK(be16_at(tcp, 0) == 443);
    CHECK(be16_at(tcp, 2) == 40000);
    CHECK(be16_at(tcp, 4) == 0x0102);
    CHECK(be16_at(tcp, 8) == 0xf1f2);
    CHECK(tcp[12] >> 4 == 9);
    CHECK(tcp[13] == 0x10);
    CHECK(be16_at(tcp, 14) == 500);
    const std::uint8_t options[] = {1, 1, 8, 10, 0, 0, 0, 11, 0, 0, 0, 22, 30, 3, 0x51, 1};
    CHECK(std::equal(tcp.begin() + 20, tcp.end(), std::begin(options), std::end(options)));
    CHECK(sum(tcp, sum(bytes.subspan(26, 8)) + 6 + 36) == 0xffff);
}

TEST_CASE("IPv6 has its own header, and without timestamps there are none") {
    KnownSubflow subflow = ipv4_subflow();
    inet_pton(AF_INET6, "2001:db8::1", subflow.record.local);
    inet_pton(AF_INET6, "2001:db8::2", subflow.record.remote);
    subflow.record.has_tstamp = 0;
    subflow.record.window = 1 << 20;
    const auto frame = forged_ack(subflow, false, mac, false);
    REQUIRE(frame.size() == 14 + 40 + 24);
    const std::span bytes(frame);
    CHECK(be16_at(bytes, 12) == 0x86dd);
    CHECK(be16_at(bytes, 18) == 24);
    const auto tcp = bytes.subspan(54);
    CHECK(be16_at(tcp, 14) == 0xffff);
    const std::uint8_t options[] = {30, 3, 0x50, 1};
    CHECK(std::equal(tcp.begin() + 20, tcp.end(), std::begin(options), std::end(options)));
    CHECK(sum(tcp, sum(bytes.subspan(22, 32)) + 6 + 24) == 0xffff);
}

TEST_CASE("VLAN tags are written outermost first, and only when asked for") {
    KnownSubflow subflow = ipv4_subflow();
    subflow.known.emplace();
    subflow.known->nr_vlans = 2;
    subflow.known->vlan_proto[0] = htons(0x88a8);
    subflow.known->vlan_tci[0] = 100;
    subflow.known->vlan_proto[1] = htons(0x8100);
    subflow.known->vlan_tci[1] = 7;
    const auto frame = forged_ack(subflow, true, mac, true);
    REQUIRE(frame.size() == 14 + 8 + 20 + 36);
    CHECK(be16_at(frame, 12) == 0x88a8);
    CHECK(be16_at(frame, 14) == 100);
    CHECK(be16_at(frame, 16) == 0x8100);
    CHECK(be16_at(frame, 18) == 7);
    CHECK(be16_at(frame, 20) == 0x0800);
    CHECK(forged_ack(subflow, true, mac, false).size() == 14 + 20 + 36);
    // A count that our own map cannot hold must not be believed.
    subflow.known->nr_vlans = 200;
    CHECK(forged_ack(subflow, true, mac, true).size() == frame.size());
}
