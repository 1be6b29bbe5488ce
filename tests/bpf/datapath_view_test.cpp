// SPDX-License-Identifier: MIT
//
// What policies and users see of connections, and when nobody is asked.
#include "datapath_rig.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <random>
#include <sys/socket.h>

using namespace mps;
using namespace mps::packet;
using namespace mps::test;

TEST_CASE("a connection with nothing to send is left alone until time has passed or anything has changed") {
    Rig &rig = every_rig(test::Idle::left_alone);
    Inside inside(rig.network().a());
    const Flow &flow = rig.flows()[1];
    const Bytes ack = usual_ack(flow).build();
    Hook hook = Hook::xdp;
    auto next = [&] { return send(rig, hook, ack, Link::ethernet, flow.ifindex); };
    using Counted = std::map<std::string, std::uint64_t>;
    const Counted left_alone{{"seen", 1}, {"idle", 1}};
    // A busy machine can take longer than a millisecond from one packet to the next.
    auto becomes_idle = [&] {
        for (int i = 0; i < 500; i++)
            if (Outcome out = next(); out.counted == left_alone) {
                CHECK(out.ran.packet == ack);
                return true;
            }
        return false;
    };
    auto pass_time = [] { usleep(20000); }; // more than a tick of any kernel

    for (Hook each : {Hook::xdp, Hook::tc}) {
        hook = each;
        REQUIRE(becomes_idle());
        pass_time();
        CHECK(next().counted["decided"] == 1);

        REQUIRE(becomes_idle());
        rig.use_slot(0);
        CHECK(next().counted["passed"] == 1);
        REQUIRE(becomes_idle());
        rig.use_slot(1);
        CHECK(next().counted["decided"] == 1);
        REQUIRE(becomes_idle());
        rig.set_path_flags(0, MPS_PATH_ATTACHED);
        CHECK(next().counted["decided"] == 1);
        REQUIRE(becomes_idle());
        rig.set_config_flags(MPS_CONFIG_LEAVING);
        CHECK(next().counted["passed"] == 1);
        rig.set_config_flags(0);

        // The peer's wish is noted; what the stack makes of it is looked at with the next packet.
        REQUIRE(becomes_idle());
        const Packet wish = usual_ack(flow) / mp_prio{.backup = true} / nop();
        Outcome out = send(rig, hook, wish.build(), Link::ethernet, flow.ifindex);
        CHECK(out.counted["peer_prio"] == 1);
        CHECK(out.counted["decided"] == 1);
        CHECK(next().counted["decided"] == 1);
        const Packet other_wish = usual_ack(flow) / mp_prio{.backup = false} / nop();
        send(rig, hook, other_wish.build(), Link::ethernet, flow.ifindex);

        // As long as the kernel's bit is not what it should be (a test run never reaches the stack).
        REQUIRE(becomes_idle());
        rig.decide(without(rig, flow));
        pass_time();
        for (int i = 0; i < 20; i++)
            CHECK(next().counted["inserted"] == 1);
        rig.decide(0xff);
    }
}

// Or a subflow on which a burst of data is followed by silence would pass for one whose packets are not met here.
TEST_CASE("a packet that is left alone accounts for all that its subflow has received") {
    Rig &rig = every_rig(test::Idle::left_alone);
    Inside inside(rig.network().a());
    auto heard = [&] {
        std::uint32_t sum = 0;

        for (const Flow &flow : rig.flows())
            sum += rig.remembered()->sf[rig.index_of(flow)].heard_segs;
        return sum;
    };
    auto all_left_alone = [&] {
        bool alone = true;

        for (const Flow &flow : rig.flows())
            alone &= send(rig, Hook::xdp, usual_ack(flow).build(), Link::ethernet, flow.ifindex)
                         .counted.contains("idle");
        return alone;
    };

    for (int i = 0; i < 500; i++) {
        usleep(20000); // the next packet is decided on
        if (all_left_alone() || !all_left_alone())
            continue;
        const std::uint32_t before = heard();
        // Its ACK passes where nothing is attached.
        REQUIRE(write(rig.client_socket(), "x", 1) == 1);
        usleep(200);
        if (!all_left_alone())
            continue;
        CHECK(heard() > before);
        return;
    }
    FAIL("the machine was too busy");
}

TEST_CASE("a slot without a program is treated as pass-through and counted") {
    Rig &rig = shared_rig(lab::Family::ipv4, readings().front());
    Inside inside(rig.network().a());
    const Flow &flow = rig.flows()[0];
    Bytes ack = usual_ack(flow).build();

    rig.use_slot(5);
    Outcome out = send(rig, Hook::xdp, ack, Link::ethernet, flow.ifindex);
    CHECK(out.ran.packet == ack);
    CHECK(out.counted["policy_failed"] == 1);
    CHECK(out.counted["switched"] == 1);
}

TEST_CASE("sockets that are not steered are told apart") {
    Rig &rig = rig_of_each_family();
    Inside inside(rig.network().a());
    const Flow &flow = rig.flows()[0];
    const bool v6 = flow.ipv6;
    const int family = v6 ? AF_INET6 : AF_INET;

    // To a listener and back on the loopback device: an established pair of sockets of this host.
    auto pair = [&](int protocol, auto judge) {
        Fd listener(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, protocol));
        Fd client(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, protocol));
        sockaddr_storage at{};
        auto *v4_at = reinterpret_cast<sockaddr_in *>(&at);
        auto *v6_at = reinterpret_cast<sockaddr_in6 *>(&at);
        socklen_t size = v6 ? sizeof(sockaddr_in6) : sizeof(sockaddr_in);

        at.ss_family = static_cast<sa_family_t>(family);
        if (v6)
            v6_at->sin6_addr = in6addr_loopback;
        else
            v4_at->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        REQUIRE(bind(listener.get(), reinterpret_cast<sockaddr *>(&at), size) == 0);
        REQUIRE(listen(listener.get(), 1) == 0);
        REQUIRE(getsockname(listener.get(), reinterpret_cast<sockaddr *>(&at), &size) == 0);
        std::uint16_t server_port = ntohs(v6 ? v6_at->sin6_port : v4_at->sin_port);
        REQUIRE(connect(client.get(), reinterpret_cast<sockaddr *>(&at), size) == 0);
        REQUIRE(getsockname(client.get(), reinterpret_cast<sockaddr *>(&at), &size) == 0);
        std::uint16_t client_port = ntohs(v6 ? v6_at->sin6_port : v4_at->sin_port);
        Fd server(::accept(listener.get(), nullptr, nullptr));
        REQUIRE(server);
        std::string loopback = v6 ? "::1" : "127.0.0.1";
        judge(Flow{.ipv6 = v6,
                   .local = loopback,
                   .remote = loopback,
                   .local_port = client_port,
                   .remote_port = server_port,
                   .ifindex = flow.ifindex});
        // Towards the listener itself: from a port that is not connected.
        judge(Flow{.ipv6 = v6,
                   .local = loopback,
                   .remote = loopback,
                   .local_port = server_port,
                   .remote_port = 9,
                   .ifindex = flow.ifindex});
    };
    auto check = [&](const Flow &other, const char *reason) {
        Bytes ack = usual_ack(other).build();

        for (Hook hook : {Hook::xdp, Hook::tc}) {
            Outcome out = send(rig, hook, ack, Link::ethernet, other.ifindex);
            CHECK(out.ran.packet == ack);
            CHECK(out.counted == std::map<std::string, std::uint64_t>{{"seen", 1}, {reason, 1}});
        }
    };

    rig.decide(0);
    pair(IPPROTO_TCP, [&](const Flow &other) { check(other, "not_mptcp_socket"); });
    pair(262 /* IPPROTO_MPTCP */, [&](const Flow &other) { check(other, "single"); });
}

TEST_CASE("the view is what the kernel tells through getsockopt and the paths' attributes") {
    Rig &rig = every_rig();
    Inside inside(rig.network().a());

    for (const Flow &flow : rig.flows()) {
        send(rig, Hook::xdp, usual_ack(flow).build(), Link::ethernet, flow.ifindex);
        mps_view view = rig.last_view();
        lab::ConnectionSample sample = rig.sample();

        CHECK(view.token == sample.token);
        CHECK(view.self == rig.index_of(flow));
        CHECK(view.present == ((1u << rig.index_of(rig.flows()[0])) | (1u << rig.index_of(rig.flows()[1]))));
        CHECK(view.unsent_bytes == 0);
        CHECK(view.unacked_bytes == 0);
        CHECK(view.window_bytes > 1000);
        for (std::size_t i = 0; i < rig.flows().size(); i++) {
            const Flow &each = rig.flows()[i];
            const mps_subflow_view &sf = view.sf[rig.index_of(each)];
            const lab::SubflowSample &truth = sample.subflows.at(i);

            INFO("subflow " << i);
            CHECK(sf.id == truth.id);
            CHECK(sf.srtt_us == truth.rtt_us);
            CHECK(sf.cwnd_segs == truth.cwnd);
            CHECK(sf.bytes_acked == truth.bytes_acked);
            CHECK(sf.ifindex == each.ifindex);
            CHECK((sf.weight == i + 11 && sf.priority == i + 21 && sf.cost == i + 31));
            CHECK(sf.energy_class == MPS_ENERGY_WIFI);
            CHECK(sf.in_flight_segs == 0);
            CHECK(sf.outstanding_bytes == 0);
            CHECK(sf.mss_bytes > 1300);
            CHECK(sf.mss_bytes < 1500);
            std::uint32_t expected = MPS_SF_PRESENT | MPS_SF_USABLE | MPS_SF_STEERABLE;
            if (&each == &flow || each.local == flow.local)
                expected |= MPS_SF_SELF;
            if (each.ipv6)
                expected |= MPS_SF_IPV6;
            CHECK((sf.flags & ~static_cast<std::uint32_t>(MPS_SF_SLOW_START | MPS_SF_FRESH)) == expected);
        }
    }
}

TEST_CASE("the iterator dumps every subflow, and what it tells of each") {
    Rig &rig = every_rig();
    lab::ConnectionSample sample = rig.sample();
    std::size_t ours = 0;

    for (const mps_subflow_record &record : rig.dump()) {
        CHECK(record.abi == MPS_ABI_VERSION);
        if (record.token != sample.token)
            continue;
        for (std::size_t i = 0; i < rig.flows().size(); i++) {
            const Flow &flow = rig.flows()[i];

            if (record.local_port != flow.local_port || record.remote_port != flow.remote_port)
                continue;
            ours++;
            INFO("subflow " << i);
            CHECK(record.view.id == sample.subflows[i].id);
            CHECK(record.view.srtt_us == sample.subflows[i].rtt_us);
            CHECK(record.view.bytes_acked == sample.subflows[i].bytes_acked);
            CHECK(record.state == sample.subflows[i].tcp_state);
            CHECK(record.window == record.view.snd_wnd_bytes >> rig.send_window_shift());
            CHECK(record.is_ipv6 == flow.ipv6);
            CHECK(record.has_tstamp == 1);
            CHECK(record.fully_established == 1);
            CHECK(record.sk == rig.remembered()->sf[rig.index_of(flow)].sk);
            char text[INET6_ADDRSTRLEN] = {};
            inet_ntop(flow.ipv6 ? AF_INET6 : AF_INET, record.local + (flow.ipv6 ? 0 : 12), text,
                      sizeof(text));
            CHECK(flow.local == text);
            inet_ntop(flow.ipv6 ? AF_INET6 : AF_INET, record.remote + (flow.ipv6 ? 0 : 12), text,
                      sizeof(text));
            CHECK(flow.remote == text);
        }
    }
    CHECK(ours == rig.flows().size());
}

TEST_CASE("a subflow that has received nothing yet since it joined is on a path all the same") {
    auto family = GENERATE(lab::Family::ipv4, lab::Family::ipv6);
    Rig rig(family, readings().front());
    Inside inside(rig.network().a());
    const Flow &first = rig.flows()[0], &joined = rig.flows()[1];

    send(rig, Hook::xdp, usual_ack(first).build(), Link::ethernet, first.ifindex);
    mps_view view = rig.last_view();
    for (std::uint32_t i = 0; i < MPS_MAX_SUBFLOWS; i++)
        if (view.present >> i & 1 && i != view.self) {
            CHECK(view.sf[i].ifindex == joined.ifindex);
            CHECK((view.sf[i].flags & MPS_SF_STEERABLE) != 0);
        }
    for (const mps_subflow_record &record : rig.dump())
        CHECK(record.rx_ifindex == (record.local_port == first.local_port ? first.ifindex : joined.ifindex));
}

TEST_CASE("both ways of reading the kernel see the same") {
    if (readings().size() < 2)
        test::skip("this kernel has no bpf_rdonly_cast()");
    auto family = GENERATE(lab::Family::ipv4, lab::Family::ipv6);

    for (Reading reading : readings()) {
        Rig &rig = shared_rig(family, reading);
        Inside inside(rig.network().a());
        const Flow &flow = rig.flows()[0];

        send(rig, Hook::xdp, usual_ack(flow).build(), Link::ethernet, flow.ifindex);
        mps_view view = rig.last_view();
        CHECK(view.sf[view.self & 7].min_rtt_us > 0);
        CHECK(view.sf[view.self & 7].queued_bytes < 100000);
        CHECK(view.sf[view.self & 7].snd_wnd_bytes > 1000);
        CHECK(view.sf[view.self & 7].delivered_segs > 0);
    }
}

TEST_CASE("sixteen connections that went are no reason to mix up the next one") {
    // Tokens are random, sockets are reused slab objects: remembered indices must follow the connection.
    Rig &rig = shared_rig(lab::Family::ipv4, readings().front());
    Inside inside(rig.network().a());
    const Flow &flow = rig.flows()[0];
    auto conn = rig.remembered();
    std::uint32_t token = rig.sample().token;

    REQUIRE(conn);
    mps_conn stale = *conn;
    stale.msk ^= 0x100; // the record of a connection that had the same token
    stale.allowed = 0x55;
    REQUIRE(bpf_map_update_elem(rig.map(MPS_MAP_CONNS), &token, &stale, BPF_ANY) == 0);
    Outcome out = send(rig, Hook::xdp, usual_ack(flow).build(), Link::ethernet, flow.ifindex);
    CHECK(out.counted["conn_new"] == 1);
    CHECK(rig.remembered()->msk == conn->msk);
}

TEST_CASE("a policy's memory stays with the connection until it comes to another policy") {
    Rig &rig = shared_rig(lab::Family::ipv4, readings().front());
    Inside inside(rig.network().a());
    const Flow &flow = rig.flows()[0];
    Bytes ack = usual_ack(flow).build();

    rig.count_decisions(true);
    for (std::uint64_t n = 1; n <= 5; n++) {
        send(rig, n % 2 ? Hook::xdp : Hook::tc, ack, Link::ethernet, flow.ifindex);
        CHECK(rig.remembered()->state.word[0] == n);
    }
    rig.use_slot(0);
    send(rig, Hook::xdp, ack, Link::ethernet, flow.ifindex);
    CHECK(rig.remembered()->state.word[0] == 0);
    rig.use_slot(1);
    send(rig, Hook::xdp, ack, Link::ethernet, flow.ifindex);
    CHECK(rig.remembered()->state.word[0] == 1);
    rig.count_decisions(false);
}

TEST_CASE("nine subflows are seen and steered, each by its own bit") {
    auto reading = GENERATE_COPY(from_range(readings()));
    Rig rig(lab::Family::ipv4, reading, MPS_MAX_SUBFLOWS);
    Inside inside(rig.network().a());

    rig.show_every_subflow();
    mps_view view = rig.last_view();
    CHECK(view.present == (1u << MPS_MAX_SUBFLOWS) - 1);
    for (const Flow &flow : rig.flows()) {
        rig.decide(without(rig, flow));
        check_edit(rig, Hook::xdp, {"Ethernet", Link::ethernet, usual_ack(flow)}, flow, true);
        CHECK(rig.remembered()->allowed == without(rig, flow));
    }
}
