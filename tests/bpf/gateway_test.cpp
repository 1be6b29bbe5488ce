// SPDX-License-Identifier: MIT
//
// What a gateway learns from packets (bpf/src/gateway.bpf.c): tokens, which subflows belong together, and when they end.
#include "catch.hpp"
#include "codec/sha256.hpp"
#include "gateway.skel.h"
#include "packet.hpp"
#include "rig.hpp"

#include <mps/gateway_abi.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <random>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

using namespace mps;
using namespace mps::packet;

namespace {

// The most significant 32 bits of the hash (RFC 8684 section 3.2).
std::uint32_t token_of(std::uint64_t key) {
    std::array<std::byte, 8> octets{};
    for (std::size_t i = 0; i < octets.size(); i++)
        octets[i] = static_cast<std::byte>(key >> (56 - 8 * i));
    return static_cast<std::uint32_t>(std::stoul(sha256(octets).substr(0, 8), nullptr, 16));
}

constexpr std::uint64_t client_key = 0x0102030405060708, server_key = 0xf1f2f3f4f5f6f7f8;

// One subflow, whose SYN the host at `source` sends out by the uplink.
struct Subflow {
    Packet network;      // headers on the way out
    Packet back_network; // … and in
    std::uint16_t port = 40000;
    std::uint32_t seq = 1000, back_seq = 9000;

    Packet out(TcpFlag flags, std::uint32_t at, std::uint32_t ack) const {
        return network / TCP{.sport = port, .dport = 443, .seq = at, .ack_seq = ack, .flags = flags} /
               stamps();
    }
    Packet in(TcpFlag flags, std::uint32_t at, std::uint32_t ack) const {
        return back_network / TCP{.sport = 443, .dport = port, .seq = at, .ack_seq = ack, .flags = flags} /
               stamps();
    }
    static Packet stamps() { return nop() / nop() / timestamp(); }
};

Subflow ipv4(std::uint16_t port) {
    return {.network = Ethernet() / IPv4{.src = "192.0.2.1", .dst = "198.51.100.1"},
            .back_network = Ethernet() / IPv4{.src = "198.51.100.1", .dst = "192.0.2.1"},
            .port = port};
}

Subflow ipv6(std::uint16_t port) {
    return {.network = Ethernet() / IPv6{.src = "2001:db8:1::1", .dst = "2001:db8:2::1"},
            .back_network = Ethernet() / IPv6{.src = "2001:db8:2::1", .dst = "2001:db8:1::1"},
            .port = port};
}

class Gateway {
  public:
    explicit Gateway(std::uint32_t room = 64) : object_(gateway::open(), gateway::destroy) {
        if (!object_)
            throw std::system_error(errno, std::generic_category(), "open the programs");
        object_->rodata->mps_max_conns = room;
        bpf_map__set_max_entries(object_->maps.mps_gw_conns, room);
        bpf_map__set_max_entries(object_->maps.mps_gw_places, room);
        if (gateway::load(object_.get()))
            throw std::system_error(errno, std::generic_category(), "load the programs");
    }

    // Passes, and as it was.
    void out(const Packet &packet) const { run(object_->progs.mps_gout_eth, packet); }
    void in(const Packet &packet) const { run(object_->progs.mps_gin_eth, packet); }

    void begin(const Subflow &flow, std::uint64_t client = client_key,
               std::uint64_t server = server_key) const {
        out(flow.out(SYN, flow.seq, 0) / mp_capable());
        in(flow.in(SYN | ACK, flow.back_seq, flow.seq + 1) / mp_capable{.sender_key = server});
        out(flow.out(ACK, flow.seq + 1, flow.back_seq + 1) /
            mp_capable{.sender_key = client, .receiver_key = server});
    }
    void join(const Subflow &flow, std::uint32_t token) const {
        out(flow.out(SYN, flow.seq, 0) / mp_join_syn{.backup = true, .token = token});
        in(flow.in(SYN | ACK, flow.back_seq, flow.seq + 1) / mp_join_synack());
        out(flow.out(ACK, flow.seq + 1, flow.back_seq + 1) / mp_join_ack());
    }

    std::uint32_t token(std::uint64_t key) const {
        __sk_buff before{}, after{};
        before.cb[0] = static_cast<std::uint32_t>(key >> 32);
        before.cb[1] = static_cast<std::uint32_t>(key);
        const Bytes frame = (Ethernet() / IPv4() / TCP()).build();
        LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame.data(),
                    .data_size_in = static_cast<__u32>(frame.size()), .ctx_in = &before, .ctx_out = &after,
                    .ctx_size_in = sizeof before, .ctx_size_out = sizeof after);
        REQUIRE(bpf_prog_test_run_opts(bpf_program__fd(object_->progs.mps_gw_token), &opts) == 0);
        return after.cb[2];
    }

    std::vector<std::pair<mps_gateway_key, mps_gateway_flow>> flows() const {
        std::vector<std::pair<mps_gateway_key, mps_gateway_flow>> all;
        const int map = bpf_map__fd(object_->maps.mps_gw_flows);
        mps_gateway_key key{};
        for (bool any = bpf_map_get_next_key(map, nullptr, &key) == 0; any;
             any = bpf_map_get_next_key(map, &key, &key) == 0) {
            mps_gateway_flow flow{};
            if (!bpf_map_lookup_elem(map, &key, &flow))
                all.emplace_back(key, flow);
        }
        std::ranges::sort(all, {}, [](const auto &one) { return one.second.index; });
        return all;
    }
    std::size_t connections() const {
        std::size_t count = 0;
        const int map = bpf_map__fd(object_->maps.mps_gw_conns);
        std::uint32_t key = 0;
        for (bool any = bpf_map_get_next_key(map, nullptr, &key) == 0; any;
             any = bpf_map_get_next_key(map, &key, &key) == 0)
            count++;
        return count;
    }
    std::uint64_t counter(mps_counter which) const {
        const std::uint32_t zero = 0;
        std::vector<mps_counters> by_cpu(static_cast<std::size_t>(libbpf_num_possible_cpus()));
        REQUIRE(bpf_map_lookup_elem(bpf_map__fd(object_->maps.mps_counters), &zero, by_cpu.data()) == 0);
        std::uint64_t sum = 0;
        for (const mps_counters &one : by_cpu)
            sum += one.n[which];
        return sum;
    }

  private:
    void run(const bpf_program *program, const Packet &packet) const {
        const Bytes before = packet.build();
        const test::Ran ran = test::run_tc(bpf_program__fd(program), before);
        CHECK(ran.verdict == -1);
        CHECK(ran.packet == before);
    }

    std::unique_ptr<gateway, decltype(&gateway::destroy)> object_;
};

} // namespace

TEST_CASE("the token of a key is the beginning of its SHA-256", "[gateway]") {
    const Gateway gateway;
    std::mt19937_64 random(1);
    for (const std::uint64_t key : {std::uint64_t{0}, ~std::uint64_t{0}, client_key, server_key})
        CHECK(gateway.token(key) == token_of(key));
    for (int i = 0; i < 200; i++) {
        const std::uint64_t key = random();
        REQUIRE(gateway.token(key) == token_of(key));
    }
}

TEST_CASE("a connection is known when its handshake was seen whole, and its joins by the token",
          "[gateway]") {
    for (const auto &make : {ipv4, ipv6}) {
        const Gateway gateway;
        gateway.begin(make(40000));
        auto flows = gateway.flows();
        REQUIRE(flows.size() == 1);
        const mps_gateway_flow &first = flows[0].second;
        CHECK(first.conn == token_of(client_key));
        CHECK(first.token[first.initiator] == token_of(client_key));
        CHECK(first.token[1 - first.initiator] == token_of(server_key));
        CHECK(first.out == first.initiator);
        // To the server, and one that the server asks for: from its port to any of the client's.
        gateway.join(make(40001), token_of(server_key));
        gateway.join(make(40002), token_of(client_key));
        flows = gateway.flows();
        REQUIRE(flows.size() == 3);
        CHECK(gateway.connections() == 1);
        for (int i = 0; i < 3; i++) {
            CHECK(flows[i].second.conn == token_of(client_key));
            CHECK(flows[i].second.index == i);
            CHECK(flows[i].second.grouped);
        }
        CHECK(flows[1].second.initiator == flows[1].second.out);
        CHECK(flows[2].second.initiator == 1 - flows[2].second.out);
        CHECK(flows[1].second.way[flows[1].second.out].backup == 1);
        CHECK(flows[1].second.way[1 - flows[1].second.out].backup == 0);
    }
}

TEST_CASE("a handshake that was not seen whole makes nothing known", "[gateway]") {
    const Gateway gateway;
    const Subflow flow = ipv4(40000);
    const auto third = flow.out(ACK, flow.seq + 1, flow.back_seq + 1) /
                       mp_capable{.sender_key = client_key, .receiver_key = server_key};
    const auto syn = flow.out(SYN, flow.seq, 0) / mp_capable();
    const auto synack =
        flow.in(SYN | ACK, flow.back_seq, flow.seq + 1) / mp_capable{.sender_key = server_key};
    gateway.out(third);
    gateway.out(syn);
    gateway.out(third);
    gateway.in(flow.in(SYN | ACK, flow.back_seq, flow.seq + 2) / mp_capable{.sender_key = server_key});
    gateway.out(third);
    // All from one side: who forges sees no answer.
    gateway.out(flow.in(SYN | ACK, flow.back_seq, flow.seq + 1) / mp_capable{.sender_key = server_key});
    gateway.out(third);
    gateway.in(synack);
    gateway.out(flow.out(ACK, flow.seq + 1, flow.back_seq + 2) /
                mp_capable{.sender_key = client_key, .receiver_key = server_key});
    gateway.out(flow.out(ACK, flow.seq + 1, flow.back_seq + 1) /
                mp_capable{.sender_key = client_key, .receiver_key = server_key + 1});
    CHECK(gateway.flows().empty());
    CHECK(gateway.connections() == 0);
    CHECK(gateway.counter(MPS_C_GW_UNSEEN) == 6);
    gateway.out(third);
    CHECK(gateway.flows().size() == 1);
    gateway.join(ipv4(40001), 0xdeadbeef);
    CHECK(gateway.flows().size() == 1);
}

TEST_CASE("contents are counted once, and what is guessed counts for nothing", "[gateway]") {
    const Gateway gateway;
    const Subflow flow = ipv4(40000);
    gateway.begin(flow);
    const auto data = [&](std::uint32_t at, std::size_t length, std::uint32_t ack) {
        return flow.out(ACK, flow.seq + 1 + at, flow.back_seq + 1 + ack) / dss{.data_ack = 5} /
               Payload(length);
    };
    gateway.out(data(0, 100, 0));
    gateway.out(data(100, 100, 0));
    gateway.out(data(0, 100, 0));   // again
    gateway.out(data(150, 100, 0)); // half of it
    const auto way = [&] {
        const auto flows = gateway.flows();
        REQUIRE(flows.size() == 1);
        return flows[0].second.way[flows[0].second.out];
    };
    CHECK(way().bytes == 250);
    CHECK(way().again_bytes == 150);
    const std::uint64_t doubted = gateway.counter(MPS_C_GW_DOUBT);
    gateway.out(data(0x7fffffff, 100, 0));
    gateway.out(data(250, 100, 0x10000));
    gateway.out(data(250, 100, 0x7fffffff));
    CHECK(way().bytes == 250);
    CHECK(gateway.counter(MPS_C_GW_DOUBT) == doubted + 3);
    // A RST or FIN that nobody takes ends nothing.
    gateway.in(flow.in(RST | ACK, flow.back_seq + 77, flow.seq + 1));
    gateway.out(flow.out(RST, flow.seq + 2, 0));
    CHECK(gateway.flows().size() == 1);
    gateway.in(flow.in(FIN | ACK, flow.back_seq + 1, flow.seq + 251) / dss{.data_ack = 5});
    CHECK(gateway.flows().size() == 1);
    gateway.out(flow.out(FIN | ACK, flow.seq + 251, flow.back_seq + 2) / dss{.data_ack = 5});
    CHECK(gateway.flows().empty());
    CHECK(gateway.connections() == 0);
}

TEST_CASE("contents that pass after later ones of the connection are counted, by their mappings",
          "[gateway]") {
    const Gateway gateway;
    Subflow first = ipv4(40000), second = ipv4(40001);
    gateway.begin(first);
    const auto send = [&](Subflow &over, std::uint64_t data_seq, bool wide) {
        dss option;
        if (wide) {
            option.data_ack64 = 5;
            option.map = mapping{.dsn64 = data_seq};
        } else {
            option.map = mapping{.dsn = static_cast<std::uint32_t>(data_seq)};
        }
        gateway.out(over.out(ACK, ++over.seq, over.back_seq + 1) / option / Payload(100));
        over.seq += 99;
    };
    const auto ways = [&] {
        std::vector<mps_gateway_way> all;
        for (const auto &[key, flow] : gateway.flows())
            all.push_back(flow.way[flow.out]);
        return all;
    };
    // With one subflow nothing overtakes anything.
    send(first, 0x1'0000'0100, true);
    send(first, 0x1'0000'0000, true);
    CHECK(ways()[0].late_bytes == 0);
    gateway.join(second, token_of(server_key));
    for (const bool wide : {false, true}) {
        INFO("numbers of eight octets: " << wide);
        const auto before = ways();
        const std::uint64_t from = wide ? 0xffff'ff00 : 0xffff'0000; // the second time it wraps around
        send(first, from, wide);
        send(second, from + 1000, wide);
        send(first, from + 100, wide); // late by 900
        send(first, from + 200, wide); // by 800
        send(second, from + 1100, wide);
        const auto after = ways();
        REQUIRE(after.size() == 2);
        CHECK(after[0].late_bytes - before[0].late_bytes == 200);
        CHECK(after[0].late_most == 900);
        CHECK(after[1].late_bytes == 0);
    }
    // What is sent again on its own subflow has passed before.
    second.seq -= 100;
    send(second, 0x1'0000'0000, true);
    CHECK(ways()[1].late_bytes == 0);
}

TEST_CASE("a RST that its receiver takes ends the subflow, and ports that are used anew another connection",
          "[gateway]") {
    const Gateway gateway;
    Subflow flow = ipv4(40000);
    gateway.begin(flow);
    gateway.join(ipv4(40001), token_of(server_key));
    const Subflow joined = ipv4(40001);
    gateway.in(joined.in(RST, joined.back_seq + 1, 0));
    CHECK(gateway.flows().size() == 1);
    CHECK(gateway.connections() == 1);
    flow.seq += 0x40000000;
    flow.back_seq += 0x40000000;
    gateway.begin(flow, 11, 12);
    const auto flows = gateway.flows();
    REQUIRE(flows.size() == 1);
    CHECK(flows[0].second.conn == token_of(11));
    CHECK(gateway.connections() == 1);
}

TEST_CASE("a full table takes no more, and what has a place keeps it under a flood", "[gateway]") {
    const Gateway gateway(16);
    for (std::uint16_t i = 0; i < 20; i++)
        gateway.begin(ipv4(static_cast<std::uint16_t>(50000 + i)), 100 + i, 200 + i);
    CHECK(gateway.connections() == 16);
    CHECK(gateway.flows().size() == 16);
    CHECK(gateway.counter(MPS_C_GW_FULL) == 4);
    for (unsigned i = 0; i < 20'000; i++) {
        const auto port = static_cast<std::uint16_t>(i);
        const Packet head = Ethernet() / IPv4{.src = "192.0.2.1", .dst = "198.51.100.1", .id = port} /
                            TCP{.sport = port, .dport = 443, .seq = i * 7919, .flags = SYN};
        gateway.out(i % 2 ? head / mp_capable() : head / mp_join_syn{.token = token_of(200 + i % 16)});
    }
    CHECK(gateway.connections() == 16);
    CHECK(gateway.flows().size() == 16);
    const Subflow first = ipv4(50000);
    gateway.out(first.out(ACK, first.seq + 1, first.back_seq + 1) / dss{.data_ack = 5} / Payload(10));
    std::uint64_t bytes = 0;
    for (const auto &[key, flow] : gateway.flows())
        bytes += flow.way[flow.out].bytes;
    CHECK(bytes == 10);
}
