// SPDX-License-Identifier: MIT
//
// A packet is believed when TCP itself would take it, and only then. The judge is the kernel: the same packet is handed
// to the data path and, with an MP_PRIO in it, sent to the stack.
#include "catch.hpp"
#include "decode.hpp"
#include "packet.hpp"
#include "rig.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <fmt/format.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <optional>
#include <stdexcept>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <mps/mptcp_options.h>
#include <mpsched/lab/counters.hpp>

using namespace mps;
using namespace mps::packet;
using mps::test::Flow;
using mps::test::Inside;
using mps::test::Ran;
using mps::test::readings;
using mps::test::Rig;

namespace {

// How far a packet is from what the stack expects next.
struct Forged {
    const char *name;
    std::int64_t seq = 0;
    std::int64_t ack = 0;
    std::optional<std::int64_t> age = 0; // of its timestamp, in its own ticks; none: without
    std::size_t payload = 0;
};

const Forged good{"what is expected next"};

const std::vector<Forged> forgeries = {
    good,
    {.name = "without timestamps", .age = {}},
    {.name = "a newer timestamp", .age = -5},
    {.name = "one that is a tick older", .age = 1},
    {.name = "an ACK that another one has overtaken", .age = 20},
    {.name = "an old timestamp", .age = 5000},
    {.name = "a timestamp of the far past", .age = 0x7fffffff},
    {.name = "an old timestamp on a later sequence number", .seq = 1, .age = 20},
    {.name = "a keepalive probe", .seq = -1},
    {.name = "an old segment", .seq = -1000},
    {.name = "a very old segment", .seq = -0x40000000},
    {.name = "a little ahead", .seq = 1000},
    {.name = "beyond the window", .seq = 0x4000000},
    {.name = "half the number space away", .seq = 0x80000000},
    {.name = "an acknowledgement of the octet after the next", .ack = 1},
    {.name = "an acknowledgement of nothing that was sent", .ack = 1 << 20},
    {.name = "an acknowledgement half the number space away", .ack = 0x80000000},
    {.name = "an acknowledgement from before the connection", .ack = -1000},
};

mps_subflow_record record_of(const Rig &rig, const Flow &flow) {
    for (const mps_subflow_record &record : rig.dump())
        if (record.local_port == flow.local_port && record.remote_port == flow.remote_port)
            return record;
    throw std::runtime_error("no such subflow: " + flow.local);
}

// From the numbers that the subflow has at this moment.
Packet forge(const Rig &rig, const Flow &flow, const Forged &how, const Packet &options,
             const Packet &link = Ethernet()) {
    const mps_subflow_record now = record_of(rig, flow);
    TCP tcp = flow.tcp();

    tcp.seq = now.rcv_nxt + static_cast<std::uint32_t>(how.seq);
    tcp.ack_seq = now.snd_una + static_cast<std::uint32_t>(how.ack);
    tcp.window = static_cast<std::uint16_t>(now.window);
    Packet out = link / flow.network() / tcp;
    if (how.age)
        out = out / nop() / nop() /
              timestamp{.value = now.tsval - static_cast<std::uint32_t>(*how.age), .echo = now.tsecr};
    out = out / options;
    return how.payload ? out / Payload(how.payload) : out;
}

std::uint64_t doubts(const Rig &rig) {
    return rig.counter(MPS_C_DOUBT_SEQ) + rig.counter(MPS_C_DOUBT_ACK) + rig.counter(MPS_C_DOUBT_TIME);
}

std::int64_t prio_received(const Rig &rig) {
    auto counters = lab::read_counters(rig.network().a());
    REQUIRE(counters);
    return counters->get_or("MPTcpExtMPPrioRx", 0);
}

std::array<std::uint8_t, 6> mac_of(const std::string &device) {
    std::array<std::uint8_t, 6> mac{};
    ifreq request{};
    Fd any(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));

    device.copy(request.ifr_name, sizeof(request.ifr_name) - 1);
    REQUIRE(::ioctl(any.get(), SIOCGIFHWADDR, &request) == 0);
    std::memcpy(mac.data(), request.ifr_hwaddr.sa_data, mac.size());
    return mac;
}

// Sends frames from the peer's device of a path.
class Wire {
  public:
    Wire(const Rig &rig, std::size_t path) {
        Inside inside(rig.network().b());
        sockaddr_ll at{};

        out_ = Fd(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));
        at.sll_family = AF_PACKET;
        at.sll_ifindex = static_cast<int>(if_nametoindex(rig.network().devices().at(path).c_str()));
        REQUIRE(bind(out_.get(), reinterpret_cast<sockaddr *>(&at), sizeof(at)) == 0);
    }
    void send(ByteView frame) const {
        REQUIRE(::send(out_.get(), frame.data(), frame.size(), 0) == static_cast<ssize_t>(frame.size()));
    }

  private:
    Fd out_;
};

// Everything that is remembered of a connection, but for how many packets were met: the kernel counts those, too.
Bytes memory_of(const Rig &rig) {
    auto conn = rig.remembered();

    REQUIRE(conn);
    for (mps_conn_subflow &sf : conn->sf)
        sf.heard_segs = 0;
    const auto *octets = reinterpret_cast<const std::uint8_t *>(&*conn);
    return {octets, octets + sizeof(*conn)};
}

} // namespace

TEST_CASE("what the data path believes is what the stack takes") {
    auto family = GENERATE(lab::Family::ipv4, lab::Family::ipv6);
    Rig rig(family, test::usual_reading(family));
    Inside inside(rig.network().a());
    std::size_t believed = 0;

    rig.show_every_subflow();
    for (std::size_t path : {0u, 1u}) {
        const Flow &flow = rig.flows()[path];
        const Wire wire(rig, path);
        const std::string device = rig.network().devices().at(path);
        bool backup = false;

        for (const Forged &how : forgeries) {
            INFO(how.name << " on " << flow.local);
            backup = !backup;
            Bytes frame = forge(rig, flow, how, mp_prio{.backup = backup} / nop()).build();
            const auto mac = mac_of(device);
            std::memcpy(frame.data(), mac.data(), mac.size());

            auto doubts_before = doubts(rig), wishes_before = rig.counter(MPS_C_PEER_PRIO);
            test::run_xdp(rig.program("mps_xdp_eth"), frame, flow.ifindex);
            const bool ours = rig.counter(MPS_C_PEER_PRIO) != wishes_before;
            CHECK(doubts(rig) == doubts_before + (ours ? 0 : 1));

            const auto received_before = prio_received(rig);
            wire.send(frame);
            for (int i = 0; i < (ours ? 200 : 5) && prio_received(rig) == received_before; i++)
                usleep(1000);
            const bool theirs = prio_received(rig) != received_before;
            CHECK(ours == theirs);
            believed += ours;
        }
    }
    CHECK(believed >= 8);
    CHECK(rig.sample().subflows.size() == 2);
}

TEST_CASE("a packet that is not believed changes no memory, causes no decision and is not edited") {
    auto family = GENERATE(lab::Family::ipv4, lab::Family::ipv6);
    auto program = GENERATE("mps_xdp_eth", "mps_tc_eth");
    if (test::few_rigs() && (family == lab::Family::ipv6) != (program == std::string_view("mps_tc_eth")))
        return;
    Rig rig(family, test::usual_reading(family));
    Inside inside(rig.network().a());
    const Flow &flow = rig.flows()[1];
    const bool xdp = program == std::string_view("mps_xdp_eth");
    const auto run = [&](const Bytes &frame, std::uint32_t ifindex) {
        return xdp ? test::run_xdp(rig.program(program), frame, ifindex)
                   : test::run_tc(rig.program(program), frame, ifindex);
    };
    const Packet elsewhere =
        Ethernet{.dst = "00:00:5e:00:53:77", .src = "00:00:5e:00:53:78"} / Vlan{.id = 77};
    const Packet wish = dss{.data_ack64 = 7} / mp_prio{.backup = true} / nop();

    rig.show_every_subflow();
    rig.decide(0xffu & ~(1u << rig.index_of(flow)));
    for (const Forged &how : forgeries) {
        if (how.seq == 0 && how.ack == 0 && (!how.age || *how.age < 1000))
            continue;
        if (how.seq == 1000 || how.seq == 1)
            continue;
        INFO(how.name);
        const Bytes before = memory_of(rig);
        const auto decided = rig.counter(MPS_C_DECIDED), doubted = doubts(rig);
        for (const Packet &link : {Packet(Ethernet()), elsewhere})
            for (std::size_t payload : {0u, 1u}) {
                Forged longer = how;
                longer.payload = how.seq == -1 ? 0 : payload;
                const Bytes frame = forge(rig, flow, longer, wish, link).build();
                // From the interface of the other subflow.
                CHECK(run(frame, rig.flows()[0].ifindex).packet == frame);
            }
        CHECK(memory_of(rig) == before);
        CHECK(rig.counter(MPS_C_DECIDED) == decided);
        CHECK(doubts(rig) == doubted + 4);
    }

    // The same packet with the right numbers: every field that can be learnt from one is.
    const Bytes frame = forge(rig, flow, good, wish, xdp ? elsewhere : Packet(Ethernet())).build();
    run(frame, rig.flows()[0].ifindex);
    const mps_conn conn = *rig.remembered();
    const auto ours = std::find_if(std::begin(conn.sf), std::end(conn.sf), [&](const mps_conn_subflow &sf) {
        return sf.sk == record_of(rig, flow).sk;
    });
    REQUIRE(ours != std::end(conn.sf));
    CHECK(ours->ifindex == rig.flows()[0].ifindex);
    CHECK(ours->peer_backup == 1);
    CHECK(ours->has_mac == 1);
    CHECK(std::memcmp(ours->mac, frame.data(), MPS_MACS_LEN) == 0);
    if (xdp) {
        CHECK(ours->nr_vlans == 1);
        CHECK(ours->vlan_tci[0] == 77);
    }
}

TEST_CASE("the reserved bits of the peer's MP_PRIO are ignored") {
    Rig rig(lab::Family::ipv4, readings().front());
    Inside inside(rig.network().a());
    const Flow &flow = rig.flows()[1];

    rig.show_every_subflow();
    for (std::uint8_t bits = 0; bits < 8; bits++)
        for (bool backup : {true, false}) {
            Packet ack = forge(rig, flow, good, mp_prio{.backup = backup, .reserved_bits = bits} / nop());

            test::run_xdp(rig.program("mps_xdp_eth"), ack.build(), flow.ifindex);
            CHECK(rig.remembered()->sf[rig.index_of(flow)].peer_backup == backup);
        }
}

// What RFC 8684 has no form for, the stack passes over; what it has one for where nobody expects it, the stack takes.
TEST_CASE("of odd, impossible and misplaced options the data path learns the wish that the stack goes by") {
    auto family = GENERATE(lab::Family::ipv4, lab::Family::ipv6);
    Rig rig(family, test::usual_reading(family));
    Inside inside(rig.network().a());
    const Flow &flow = rig.flows()[1];
    const Wire wire(rig, 1);
    const auto mac = mac_of(rig.network().devices().at(1));
    const auto kernel_says = [&] { return (record_of(rig, flow).view.flags & MPS_SF_BACKUP) != 0; };
    const auto impossible_dss = [](unsigned length) {
        Bytes data(length - 2);
        data[0] = MPTCP_SUB_DSS << 4;
        data[1] = MPTCP_DSS_A;
        return raw_option{.kind = TCPOPT_MPTCP, .data = data};
    };
    const auto impossible_join = [](unsigned length, bool backup) {
        Bytes data(length - 2);
        data[0] = static_cast<std::uint8_t>(MPTCP_SUB_MP_JOIN << 4 | backup);
        return raw_option{.kind = TCPOPT_MPTCP, .data = data};
    };
    const auto layouts = [&](bool backup) -> std::vector<std::pair<std::string, Packet>> {
        const Packet prio = mp_prio{.backup = backup}, against = mp_prio{.backup = !backup};
        std::vector<std::pair<std::string, Packet>> out;
        for (const unsigned length : {4, 5, 6, 7, 9, 10, 11, 12, 13, 17, 21})
            out.emplace_back(fmt::format("behind a DSS of {} octets", length), impossible_dss(length) / prio);
        out.emplace_back("behind a DSS with a checksum of nothing", impossible_dss(10) / prio);
        out.emplace_back("before MP_PRIO of version 0",
                         prio / mp_prio{.backup = !backup, .address_id = 2} / nop());
        out.emplace_back("before MP_JOIN as of a SYN", against / nop() / mp_join_syn{.backup = backup});
        out.emplace_back("before MP_JOIN as of a SYN/ACK",
                         against / nop() / mp_join_synack{.backup = backup});
        out.emplace_back("behind MP_JOIN as of a SYN/ACK", mp_join_synack{.backup = !backup} / prio / nop());
        for (const unsigned length : {11, 13, 15, 17})
            out.emplace_back(fmt::format("before MP_JOIN of {} octets", length),
                             prio / nop() / impossible_join(length, !backup));
        return out;
    };

    rig.show_every_subflow();
    for (std::size_t i = 0; i < layouts(true).size(); i++) {
        for (const bool backup : {true, false}) {
            const auto [name, options] = layouts(backup)[i];
            const auto before = prio_received(rig);
            Bytes frame = forge(rig, flow, good, options).build();
            std::memcpy(frame.data(), mac.data(), mac.size());
            test::run_xdp(rig.program("mps_xdp_eth"), frame, flow.ifindex);
            wire.send(frame);
            INFO(name << ", B=" << backup);
            // On a veth the stack has it at once; not under a busy CPU's softirq thread.
            for (int tries = 0; tries < 200 && prio_received(rig) == before; tries++)
                usleep(1000);
            REQUIRE(prio_received(rig) == before + 1);
            CHECK(kernel_says() == backup);
            CHECK((rig.remembered()->sf[rig.index_of(flow)].peer_backup != 0) == kernel_says());
        }
    }
}

TEST_CASE(
    "the peer's MP_PRIO against the verdict is rewritten in place, the last one that the stack goes by") {
    auto family = GENERATE(lab::Family::ipv4, lab::Family::ipv6);
    Rig rig(family, test::usual_reading(family));
    Inside inside(rig.network().a());
    const Flow &flow = rig.flows()[1];
    const Packet dss8 = dss{.data_ack64 = 7};

    rig.show_every_subflow();
    rig.set_dwell(1'000'000); // no reason to let the peer have its way
    rig.decide(0xff);
    const std::vector<std::pair<const char *, Packet>> layouts = {
        {"alone", mp_prio{.backup = true} / nop()},
        {"behind a DSS", dss8 / mp_prio{.backup = true} / nop()},
        {"at an odd offset", nop() / mp_prio{.backup = true} / dss8},
        {"behind another one", mp_prio{.backup = false} / nop() / mp_prio{.backup = true} / nop()},
        {"with reserved bits", mp_prio{.backup = true, .reserved_bits = 7} / nop() / dss8},
        {"behind a DSS of an odd length",
         raw_option{.kind = TCPOPT_MPTCP, .data = {MPTCP_SUB_DSS << 4, MPTCP_DSS_A, 0}} /
             mp_prio{.backup = true}},
        {"before MP_JOIN as of a SYN/ACK", mp_prio{.backup = false} / nop() / mp_join_synack{.backup = true}},
    };
    for (const char *program : {"mps_xdp_eth", "mps_tc_eth"}) {
        for (const auto &[name, options] : layouts) {
            for (std::size_t payload : {0u, 1u, 100u}) {
                Forged how = good;
                how.payload = payload;
                const Bytes before = forge(rig, flow, how, options).build();
                const auto rewritten = rig.counter(MPS_C_REWRITTEN);
                Ran ran = program == std::string_view("mps_xdp_eth")
                              ? test::run_xdp(rig.program(program), before, flow.ifindex)
                              : test::run_tc(rig.program(program), before, flow.ifindex);
                Change change = classify_change(before, ran.packet, Link::ethernet);

                INFO(name << " in " << program << ", " << payload << " octets: " << change.why);
                INFO(compare(before, ran.packet, Link::ethernet));
                CHECK(change.kind == Change::Kind::rewritten);
                CHECK_FALSE(change.backup);
                CHECK(checksum_faults(ran.packet, Link::ethernet).empty());
                CHECK(rig.counter(MPS_C_REWRITTEN) == rewritten + 1);
                CHECK(rig.remembered()->sf[rig.index_of(flow)].peer_backup == 1);
                // And our other program, where there are both for a moment, does nothing to it.
                const bool by_xdp = program == std::string_view("mps_xdp_eth");
                const auto met_again = rig.counter(MPS_C_MET_AGAIN);
                const Ran again = by_xdp
                                      ? test::run_tc(rig.program("mps_tc_eth"), ran.packet, flow.ifindex)
                                      : test::run_xdp(rig.program("mps_xdp_eth"), ran.packet, flow.ifindex);
                CHECK(again.packet == ran.packet);
                CHECK(rig.counter(MPS_C_MET_AGAIN) == met_again + 1);
                CHECK(rig.remembered()->sf[rig.index_of(flow)].peer_backup == 1);
            }
        }
    }
}
