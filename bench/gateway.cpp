// SPDX-License-Identifier: MIT
#include "gateway.hpp"

#include "gateway.skel.h"
#include "packet.hpp"

#include <bpf/bpf.h>
#include <cerrno>
#include <linux/bpf.h>
#include <memory>
#include <mps/abi.h>
#include <system_error>

using namespace mps::packet;

namespace mps::bench {

namespace {

constexpr int unspecified = -1; // TC_ACT_UNSPEC
constexpr std::uint64_t server_key = 7;

Packet stamps() { return nop() / nop() / timestamp(); }

Packet to_server(TcpFlag flags, std::uint32_t seq, std::uint32_t ack) {
    return Ethernet() / IPv4{.src = "192.0.2.1", .dst = "198.51.100.1"} /
           TCP{.sport = 40000, .dport = 443, .seq = seq, .ack_seq = ack, .flags = flags} / stamps();
}

Packet to_client(TcpFlag flags, std::uint32_t seq, std::uint32_t ack) {
    return Ethernet() / IPv4{.src = "198.51.100.1", .dst = "192.0.2.1"} /
           TCP{.sport = 443, .dport = 40000, .seq = seq, .ack_seq = ack, .flags = flags} / stamps();
}

void pass(const bpf_program *program, const Packet &packet) {
    const Bytes frame = packet.build();
    LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame.data(),
                .data_size_in = static_cast<__u32>(frame.size()));
    if (bpf_prog_test_run_opts(bpf_program__fd(program), &opts))
        throw std::system_error(errno, std::generic_category(), "run a program of the gateway");
}

} // namespace

std::vector<Row> measure_gateway(int empty_tc, Rounds rounds) {
    const std::unique_ptr<gateway, decltype(&gateway::destroy)> object(gateway::open(), gateway::destroy);
    if (!object || gateway::load(object.get()))
        throw std::system_error(errno, std::generic_category(), "load the programs of the gateway");
    const bpf_program *out = object->progs.mps_gout_eth, *in = object->progs.mps_gin_eth;
    pass(out, to_server(SYN, 1000, 0) / mp_capable());
    pass(in, to_client(SYN | ACK, 9000, 1001) / mp_capable{.sender_key = server_key});
    pass(out, to_server(ACK, 1001, 9001) / mp_capable{.sender_key = 5, .receiver_key = server_key});
    const auto row = [&](const char *name, const char *how, const Packet &packet, double target) {
        const Bytes frame = packet.build();
        Row one{name, how, Subject{bpf_program__fd(out), frame, 0, unspecified, true},
                Subject{empty_tc, frame, 0, unspecified, true}};
        one.target_lookups = target;
        return one;
    };
    const Packet other = Ethernet() / IPv4{.src = "192.0.2.2", .dst = "198.51.100.1"} /
                         TCP{.sport = 40000, .dport = 443} / stamps();
    std::vector<Row> rows{
        row("gateway: TCP without MPTCP", "a segment with timestamps, over empty",
            to_server(ACK, 1001, 9001) / Payload(1400), 0.3),
        row("gateway: MPTCP of no known connection", "parse and a lookup in vain",
            other / dss{.data_ack64 = 7} / Payload(1400), 2),
        row("gateway: contents of a known connection", "look-up and statistics",
            to_server(ACK, 1001, 9001) / dss{.data_ack64 = 7} / Payload(1400), 4),
        row("gateway: pure ACK of a known connection", "of one subflow",
            to_server(ACK, 1001, 9001) / dss{.data_ack64 = 7}, 4),
    };
    measure(rows, rounds);
    return rows;
}

} // namespace mps::bench
