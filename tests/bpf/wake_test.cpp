// SPDX-License-Identifier: MIT
//
// Wakes: the packet that a clone is turned into, octet by octet, and that the kernel takes it for what it is.
#include "catch.hpp"
#include "decode.hpp"
#include "packet.hpp"
#include "rig.hpp"

#include <arpa/inet.h>
#include <bit>
#include <cstring>
#include <fmt/format.h>
#include <memory>
#include <unistd.h>

#include <mpsched/lab/counters.hpp>

using namespace mps;
using namespace mps::packet;
using mps::test::Flow;
using mps::test::Inside;
using mps::test::Ran;
using mps::test::readings;
using mps::test::Rig;

namespace {

constexpr int tc_unspec = -1;
constexpr int tc_shot = 2;

Packet usual_ack(const Flow &flow) {
    return Ethernet() / flow.network() / flow.tcp() / nop() / nop() / flow.timestamp() / dss{.data_ack64 = 7};
}

template <class Address>
void put(__be32 (&to)[4], const Address &address) {
    std::memcpy(to, address.octets().data(), address.octets().size());
}

__be16 wire(std::uint16_t host) { return static_cast<__be16>(host << 8 | host >> 8); }

constexpr const char *own_mac = "00:00:5e:00:53:0a", *peer_mac = "00:00:5e:00:53:0b";

mps_wake a_wake(const Flow &flow, bool tstamp, bool backup) {
    const MacAddress own(own_mac), peer(peer_mac);
    mps_wake w{};

    w.state = MPS_WAKE_SENT;
    w.ifindex = flow.ifindex;
    w.ip_ifindex = flow.ifindex;
    if (flow.ipv6) {
        put(w.saddr, Ipv6Address(flow.remote));
        put(w.daddr, Ipv6Address(flow.local));
    } else {
        put(w.saddr, Ipv4Address(flow.remote));
        put(w.daddr, Ipv4Address(flow.local));
    }
    std::memcpy(w.mac, own.octets().data(), 6);
    std::memcpy(w.mac + 6, peer.octets().data(), 6);
    w.sport = wire(flow.remote_port);
    w.dport = wire(flow.local_port);
    w.seq = 0xfffffffe;
    w.ack = 0x80000000;
    w.tsval = 0x01020304;
    w.tsecr = 0x05060708;
    w.window = 0xabcd;
    w.is_ipv6 = flow.ipv6;
    w.has_tstamp = tstamp;
    w.backup = backup;
    return w;
}

Packet written(const Flow &flow, const mps_wake &w) {
    TCP tcp = flow.tcp();
    tcp.seq = w.seq;
    tcp.ack_seq = w.ack;
    tcp.window = w.window;
    const auto ipv4 = [&] {
        IPv4 ip = flow.ipv4();
        ip.id = 0;
        return ip;
    };
    Packet net = flow.ipv6 ? Packet(flow.ipv6_header()) : Packet(ipv4());
    Packet prio = mp_prio{.backup = w.backup != 0} / nop();
    Packet start = Ethernet{.dst = own_mac, .src = peer_mac} / net / tcp;

    if (w.has_tstamp)
        return start / nop() / nop() / timestamp{.value = w.tsval, .echo = w.tsecr} / prio;
    return start / prio;
}

std::int64_t mib(const Rig &rig, std::string_view name) {
    auto counters = lab::read_counters(rig.network().a());
    REQUIRE(counters);
    return counters->get_or(name, 0);
}

} // namespace

TEST_CASE("a wake is a pure ACK with MP_PRIO, whatever packet lends its body") {
    auto family = GENERATE(lab::Family::ipv4, lab::Family::ipv6);
    Rig rig(family, readings().front());
    Inside inside(rig.network().a());
    const Flow &flow = rig.flows()[0];
    const std::uint32_t ifindex = flow.ifindex, index = 17;
    const std::vector<std::pair<std::string, Packet>> carriers = {
        {"a short TCP segment", Ethernet() / IPv4() / TCP() / Payload(20)},
        {"a long TCP segment", Ethernet() / IPv4() / TCP() / timestamp() / Payload(1400)},
        {"UDP", Ethernet() / IPv4{.options = {1, 1, 1, 1}} / UDP() / Payload(300)},
        {"the shortest frame a test run takes", Ethernet() / IPv4() / ICMP() / Payload(12)},
        {"an IPv6 segment", Ethernet() / IPv6() / TCP() / Payload(10)},
        {"an IPv6 segment with extension headers", Ethernet() / IPv6() / hop_by_hop() / TCP() / Payload(900)},
    };

    for (const auto &[name, carrier] : carriers) {
        for (bool tstamp : {false, true}) {
            for (bool backup : {false, true}) {
                mps_wake w = a_wake(flow, tstamp, backup);
                Bytes expected = written(flow, w).build();

                for (const char *program : {"mps_wake_eth", "mps_tc_eth"}) {
                    rig.clear_wakes();
                    rig.put_wake(index, w);
                    auto handed_over = rig.counter(MPS_C_WAKE_WRITTEN);
                    Ran ran = test::run_tc(rig.program(program), carrier.build(), ifindex,
                                           {.mark = rig.wake_magic() | index});
                    INFO(name << " carries an " << (flow.ipv6 ? "IPv6" : "IPv4") << " wake in " << program);
                    INFO(compare(expected, ran.packet, Link::ethernet));
                    CHECK(ran.packet == expected);
                    CHECK(ran.verdict == tc_unspec);
                    CHECK(ran.mark == 0);
                    CHECK(rig.get_wake(index).state == MPS_WAKE_FREE);
                    CHECK(rig.counter(MPS_C_WAKE_WRITTEN) == handed_over + 1);
                }
            }
        }
    }
}

TEST_CASE("a wake whose socket or address has gone meanwhile is dropped, not answered and not forwarded") {
    auto family = GENERATE(lab::Family::ipv4, lab::Family::ipv6);
    Rig rig(family, readings().front());
    Inside inside(rig.network().a());
    const Flow &flow = rig.flows()[1];
    const std::uint32_t index = 17;
    const auto arrives = [&](const mps_wake &w) {
        rig.clear_wakes();
        rig.put_wake(index, w);
        auto withheld = rig.counter(MPS_C_WAKE_WITHHELD), handed_over = rig.counter(MPS_C_WAKE_WRITTEN);
        Ran ran = test::run_tc(rig.program("mps_wake_eth"), usual_ack(rig.flows()[0]).build(), flow.ifindex,
                               {.mark = rig.wake_magic() | index});
        bool written = rig.counter(MPS_C_WAKE_WRITTEN) == handed_over + 1;
        CHECK(rig.counter(MPS_C_WAKE_WITHHELD) == withheld + (written ? 0 : 1));
        CHECK(ran.verdict == (written ? tc_unspec : tc_shot));
        CHECK(rig.get_wake(index).state == MPS_WAKE_FREE);
        return written;
    };
    const mps_wake w = a_wake(flow, true, true);
    mps_wake no_socket = w;

    CHECK(arrives(w));
    no_socket.sport = static_cast<__be16>(w.sport + 1);
    CHECK_FALSE(arrives(no_socket));
    // A router that has lost the address sends on what is for it; the socket lives on.
    const std::string v = flow.ipv6 ? "ipv6" : "ipv4";
    REQUIRE(rig.network().a().spawn_checked({"sysctl", "-qw", "net." + v + ".conf.all.forwarding=1"}));
    CHECK(arrives(w));
    REQUIRE(rig.network().a().ip(
        fmt::format("addr del {}/{} dev {}", flow.local, flow.ipv6 ? 64 : 28, rig.network().devices()[1])));
    REQUIRE(rig.network().a().ip(fmt::format("route add {} dev {}", flow.local, rig.network().devices()[1])));
    CHECK_FALSE(arrives(w));
}

TEST_CASE("our mark on a packet that no wake explains changes nothing") {
    static Rig rig(lab::Family::ipv4, readings().front());
    Inside inside(rig.network().a());
    const Flow &flow = rig.flows()[0];
    const std::uint32_t ifindex = flow.ifindex;
    Bytes packet = (Ethernet() / IPv4() / TCP() / Payload(50)).build();
    auto stray = [&](std::uint32_t mark) {
        auto before = rig.counter(MPS_C_WAKE_STRAY);
        Ran ran = test::run_tc(rig.program("mps_wake_eth"), packet, ifindex, {.mark = mark});
        CHECK(ran.packet == packet);
        CHECK(ran.verdict == tc_unspec);
        CHECK(ran.mark == mark);
        return rig.counter(MPS_C_WAKE_STRAY) - before;
    };

    rig.clear_wakes();
    CHECK(stray(rig.wake_magic() | 3) == 1);             // free
    CHECK(stray(rig.wake_magic() | MPS_MAX_WAKES) == 1); // no such entry
    CHECK(stray(rig.wake_magic() | 0xffff) == 1);        // no such entry
    CHECK(stray(0) == 0);                                // not our mark
    CHECK(stray((rig.wake_magic() ^ 0x10000) | 3) == 0); // not our mark
    for (mps_wake_state state : {MPS_WAKE_FILLING, MPS_WAKE_READY}) {
        mps_wake w = a_wake(flow, true, true);
        w.state = state;
        rig.put_wake(3, w);
        CHECK(stray(rig.wake_magic() | 3) == 1);
        CHECK(rig.get_wake(3).state == state);
    }
    rig.put_wake(3, a_wake(rig.flows()[1], true, true)); // meant for another interface
    CHECK(stray(rig.wake_magic() | 3) == 1);
    CHECK(rig.get_wake(3).state == MPS_WAKE_SENT);
}

TEST_CASE("a wake parks and activates an idle subflow in the kernel, and nothing else happens") {
    auto family = GENERATE(lab::Family::ipv4, lab::Family::ipv6);
    auto program = GENERATE("mps_wake_eth", "mps_tc_eth");
    if (test::few_rigs() && (family == lab::Family::ipv6) != (program == std::string_view("mps_tc_eth")))
        return;
    Rig rig(family, test::usual_reading(family));
    Inside inside(rig.network().a());

    rig.attach_tc(program);
    rig.show_every_subflow();
    for (std::size_t busy : {0u, 1u}) {
        const Flow &carrier = rig.flows()[busy], &idle = rig.flows()[1 - busy];
        // Test runs never reach the stack: of this packet only its clone can matter to it.
        Bytes ack = usual_ack(carrier).build();

        for (bool backup : {true, false}) {
            std::int64_t prio_before = mib(rig, "MPTcpExtMPPrioRx"),
                         dup_before = mib(rig, "TcpExtTCPDSACKRecv");
            auto queued = rig.counter(MPS_C_WAKE_QUEUED), sent = rig.counter(MPS_C_WAKE_SENT),
                 landed = rig.counter(MPS_C_WAKE_LANDED), parking = rig.counter(MPS_C_WAKE_LANDED_BACKUP),
                 handed_over = rig.counter(MPS_C_WAKE_WRITTEN);
            std::uint32_t bit = 1u << rig.index_of(idle);

            INFO((backup ? "parking" : "activating") << " the subflow on " << idle.local);
            REQUIRE(rig.kernel_backup(idle) == !backup);
            rig.decide(backup ? 0xffu & ~bit : 0xffu);
            Ran ran = test::run_tc(rig.program("mps_tc_eth"), ack, carrier.ifindex);
            CHECK(ran.packet == ack);
            CHECK(rig.counter(MPS_C_WAKE_QUEUED) == queued + 1);
            CHECK(rig.counter(MPS_C_WAKE_SENT) == sent + 1);
            // The clone goes through the backlog of this CPU.
            for (int i = 0; i < 100 && rig.kernel_backup(idle) != backup; i++)
                usleep(1000);
            CHECK(rig.kernel_backup(idle) == backup);
            CHECK(rig.counter(MPS_C_WAKE_WRITTEN) == handed_over + 1);
            // Only the kernel's bit tells that it landed, and only the next decision looks at it.
            CHECK(rig.counter(MPS_C_WAKE_LANDED) == landed);
            test::run_tc(rig.program("mps_tc_eth"), ack, carrier.ifindex);
            CHECK(rig.counter(MPS_C_WAKE_LANDED) == landed + 1);
            CHECK(rig.counter(MPS_C_WAKE_LANDED_BACKUP) == parking + (backup ? 1 : 0));
            CHECK(mib(rig, "MPTcpExtMPPrioRx") == prio_before + 1);
            CHECK(mib(rig, "TcpInCsumErrors") == 0);
            CHECK(mib(rig, "TcpExtTCPDSACKRecv") == dup_before);
            CHECK(rig.kernel_backup(carrier) == false);
        }
    }
    CHECK(rig.counter(MPS_C_WAKE_STRAY) == 0);
    CHECK(rig.counter(MPS_C_WAKE_FAILED) == 0);
    CHECK(rig.counter(MPS_C_WAKE_LOST) == 0);
    CHECK(rig.counter(MPS_C_WAKE_WITHHELD) == 0);
    CHECK(rig.sample().subflows.size() == 2);
    CHECK_FALSE(rig.sample().fallback);
}

TEST_CASE("a queued wake repeats what the connection knows") {
    auto family = GENERATE(lab::Family::ipv4, lab::Family::ipv6);
    Rig rig(family, readings().front());
    Inside inside(rig.network().a());
    const Flow &carrier = rig.flows()[0], &idle = rig.flows()[1];
    auto address = [&](const __be32(&words)[4]) {
        char text[INET6_ADDRSTRLEN] = {};
        inet_ntop(idle.ipv6 ? AF_INET6 : AF_INET, words, text, sizeof(text));
        return std::string(text);
    };

    rig.show_every_subflow();
    rig.decide(0xffu & ~(1u << rig.index_of(idle)));
    test::run_xdp(rig.program("mps_xdp_eth"), usual_ack(carrier).build(), carrier.ifindex);
    REQUIRE(rig.wakes_ready() != 0);
    mps_wake w = rig.get_wake(static_cast<std::uint32_t>(std::countr_zero(rig.wakes_ready())));

    CHECK(w.state == MPS_WAKE_READY);
    CHECK(w.ifindex == idle.ifindex);
    CHECK(w.backup == 1);
    CHECK(w.is_ipv6 == idle.ipv6);
    CHECK(address(w.saddr) == idle.remote);
    CHECK(address(w.daddr) == idle.local);
    CHECK(w.sport == wire(idle.remote_port));
    CHECK(w.dport == wire(idle.local_port));
    CHECK(w.has_tstamp == 1);
    for (const mps_subflow_record &record : rig.dump()) {
        if (record.local_port != idle.local_port)
            continue;
        CHECK(w.seq == record.rcv_nxt);
        CHECK(w.ack == record.snd_una);
        CHECK(w.tsval == record.tsval);
        CHECK(w.tsecr == record.tsecr);
        CHECK(w.window == record.view.snd_wnd_bytes >> rig.send_window_shift());
    }
}

TEST_CASE("a wake that no packet came to carry expires") {
    Rig rig(lab::Family::ipv4, readings().front());
    Inside inside(rig.network().a());
    const Flow &carrier = rig.flows()[0], &idle = rig.flows()[1];
    Bytes ack = usual_ack(carrier).build();

    rig.show_every_subflow();
    rig.decide(0xffu & ~(1u << rig.index_of(idle)));
    test::run_xdp(rig.program("mps_xdp_eth"), ack, carrier.ifindex);
    REQUIRE(rig.counter(MPS_C_WAKE_QUEUED) == 1);
    REQUIRE(rig.wakes_ready() != 0);
    usleep(250000);
    test::run_tc(rig.program("mps_wake_eth"), ack, carrier.ifindex);
    CHECK(rig.counter(MPS_C_WAKE_SENT) == 0);
    CHECK(rig.counter(MPS_C_WAKE_EXPIRED) == 1);
    CHECK(rig.wakes_ready() == 0);
    CHECK_FALSE(rig.kernel_backup(idle));
    // And the next decision asks again. Attached only now: before, any neighbour solicitation could have
    // carried the wake.
    rig.attach_tc("mps_wake_eth");
    test::run_xdp(rig.program("mps_xdp_eth"), ack, carrier.ifindex);
    test::run_tc(rig.program("mps_wake_eth"), ack, carrier.ifindex);
    CHECK(rig.counter(MPS_C_WAKE_SENT) == 1);
    for (int i = 0; i < 100 && !rig.kernel_backup(idle); i++)
        usleep(1000);
    CHECK(rig.kernel_backup(idle));
}

TEST_CASE("a wake that is under way is not asked for twice") {
    Rig rig(lab::Family::ipv4, readings().front());
    Inside inside(rig.network().a());
    const Flow &carrier = rig.flows()[0], &idle = rig.flows()[1];
    Bytes ack = usual_ack(carrier).build();

    rig.show_every_subflow();
    rig.decide(0xffu & ~(1u << rig.index_of(idle)));
    for (int i = 0; i < 5; i++)
        test::run_xdp(rig.program("mps_xdp_eth"), ack, carrier.ifindex);
    CHECK(rig.counter(MPS_C_WAKE_QUEUED) == 1);
    CHECK(rig.counter(MPS_C_WAKE_BUSY) == 4);
}

// In generic XDP the clone looks like a packet of the other interface; what arrives there meanwhile may be what completes a join.
TEST_CASE("while a wake is on its way to an interface, that interface's own packets are decided on") {
    auto reading = GENERATE_COPY(from_range(readings()));
    Rig rig(lab::Family::ipv4, reading);
    Inside inside(rig.network().a());
    const Flow &busy = rig.flows()[0], &idle = rig.flows()[1];
    Bytes own = usual_ack(idle).build(), clone = usual_ack(busy).build();
    auto decided = [&](const Bytes &packet) {
        const auto before = rig.counter(MPS_C_DECIDED);

        test::run_xdp(rig.program("mps_xdp_eth"), packet, idle.ifindex);
        return rig.counter(MPS_C_DECIDED) - before;
    };

    rig.show_every_subflow();
    rig.wake_on_its_way(busy.ifindex, idle.ifindex);
    CHECK(decided(own) == 1);
    rig.wake_on_its_way(busy.ifindex, idle.ifindex);
    CHECK(decided(clone) == 0);
    CHECK(rig.remembered()->sf[rig.index_of(busy)].ifindex == busy.ifindex);
    // A clone of a packet of the same interface cannot be told from it.
    rig.wake_on_its_way(idle.ifindex, idle.ifindex);
    CHECK(decided(own) == 0);
    rig.clear_wakes();
}
