// SPDX-License-Identifier: MIT
//
// What the peer asked for and what the policy wants: whose wish a subflow's packets carry, and when.
#include "datapath_rig.hpp"

using namespace mps;
using namespace mps::packet;
using namespace mps::test;

TEST_CASE("without a policy, while leaving, and on VERDICT_PASS the peer's wish is restored") {
    Rig &rig = rig_of_each_family();
    Inside inside(rig.network().a());
    const Flow &flow = rig.flows()[1];
    Bytes ack = usual_ack(flow).build();
    auto kind = [&] {
        return classify_change(ack, send(rig, Hook::xdp, ack, Link::ethernet, flow.ifindex).ran.packet,
                               Link::ethernet);
    };

    // The peer never asked for backup and the kernel has none: nothing to do, whatever the policy would say.
    rig.decide(without(rig, flow));
    CHECK(kind().kind == Change::Kind::prio);
    rig.use_slot(0);
    auto out = send(rig, Hook::xdp, ack, Link::ethernet, flow.ifindex);
    CHECK(out.ran.packet == ack);
    CHECK(out.counted["passed"] == 1);
    CHECK(out.counted["decided"] == 0);
    rig.use_slot(1);
    rig.set_config_flags(MPS_CONFIG_LEAVING);
    CHECK(kind().kind == Change::Kind::none);
    rig.set_config_flags(0);
    rig.decide(without(rig, flow), MPS_VERDICT_PASS);
    CHECK(kind().kind == Change::Kind::none);
    rig.decide(without(rig, flow));
    rig.set_path_flags(1, MPS_PATH_ATTACHED | MPS_PATH_LEAVING);
    CHECK(kind().kind == Change::Kind::none);
    rig.set_path_flags(1, 0);
    CHECK(kind().kind == Change::Kind::none);
}

TEST_CASE("the peer's own MP_PRIO is remembered, and is what leaving restores") {
    Rig &rig = rig_of_each_family();
    Inside inside(rig.network().a());
    const Flow &flow = rig.flows()[1];
    Bytes ack = usual_ack(flow).build();
    auto peer_backup = [&] { return rig.remembered()->sf[rig.index_of(flow)].peer_backup; };

    rig.use_slot(0);
    REQUIRE(peer_backup() == 0);
    Packet wish = usual_ack(flow) / mp_prio{.backup = true} / nop();
    Outcome out = send(rig, Hook::xdp, wish.build(), Link::ethernet, flow.ifindex);
    CHECK(out.counted["peer_prio"] == 1);
    CHECK(peer_backup() == 1);
    // The test run did not reach the stack, so the kernel's bit still has to follow: pass-through restores it.
    out = send(rig, Hook::xdp, ack, Link::ethernet, flow.ifindex);
    Change change = classify_change(ack, out.ran.packet, Link::ethernet);
    CHECK((change.kind == Change::Kind::prio && change.backup));
    Packet changed_mind =
        usual_ack(flow) / mp_prio{.backup = true} / nop() / mp_prio{.backup = false} / nop();
    send(rig, Hook::xdp, changed_mind.build(), Link::ethernet, flow.ifindex);
    CHECK(peer_backup() == 0);
}

// While an interface changes between XDP and TC both programs are there; a command killed then leaves them.
TEST_CASE("what our XDP program wrote is not taken for the peer's wish by our TC program") {
    Rig &rig = rig_of_each_family();
    Inside inside(rig.network().a());
    // A packet that no other case has sent: what TC wrote into the same one a moment ago would be met again here.
    Flow flow = rig.flows()[1];
    flow.tsval++;
    const Bytes ack = usual_ack(flow).build();
    auto peer_backup = [&] { return rig.remembered()->sf[rig.index_of(flow)].peer_backup; };

    REQUIRE(peer_backup() == 0);
    rig.decide(without(rig, flow));
    Outcome xdp = send(rig, Hook::xdp, ack, Link::ethernet, flow.ifindex);
    REQUIRE(xdp.counted["inserted"] == 1);
    Outcome tc = send(rig, Hook::tc, xdp.ran.packet, Link::ethernet, flow.ifindex);
    CHECK(tc.ran.packet == xdp.ran.packet);
    CHECK(tc.ran.verdict == tc.passed_as);
    CHECK(tc.counted == std::map<std::string, std::uint64_t>{{"seen", 1}, {"met_again", 1}});
    CHECK(peer_backup() == 0);
    // What the same program meets is another packet, the peer's, be it the same octet by octet.
    CHECK(send(rig, Hook::xdp, xdp.ran.packet, Link::ethernet, flow.ifindex).counted["peer_prio"] == 1);
    CHECK(peer_backup() == 1);
    const Bytes back = (usual_ack(flow) / mp_prio{.backup = false} / nop()).build();
    Outcome rewritten = send(rig, Hook::xdp, back, Link::ethernet, flow.ifindex);
    CHECK(rewritten.counted["rewritten"] == 1);
    CHECK(peer_backup() == 0);
    CHECK(send(rig, Hook::tc, rewritten.ran.packet, Link::ethernet, flow.ifindex).counted["met_again"] == 1);
    CHECK(peer_backup() == 0);
    // No longer under way.
    usleep(300'000);
    CHECK(send(rig, Hook::tc, xdp.ran.packet, Link::ethernet, flow.ifindex).counted["peer_prio"] == 1);
    CHECK(peer_backup() == 1);
    rig.decide(0xff);
    send(rig, Hook::tc, back, Link::ethernet, flow.ifindex);
    CHECK(peer_backup() == 0);
}

// What Linux sends with contents: timestamps and a DSS of 64-bit numbers fill the options.
TEST_CASE("a subflow whose packet has no room is woken behind that packet") {
    for (const lab::Family family : {lab::Family::ipv4, lab::Family::ipv6}) {
        Rig &rig = shared_rig(family, readings().front());
        Inside inside(rig.network().a());
        const Flow &flow = rig.flows()[1];
        const auto full_with = [&](std::uint32_t seq, std::size_t contents) {
            TCP tcp = flow.tcp();
            tcp.seq = seq;
            Packet rest = tcp / nop() / nop() / flow.timestamp() /
                          dss{.data_ack64 = 7, .map = mapping{.dsn64 = 9}} / Payload(contents);
            return (flow.ipv6 ? Ethernet() / flow.ipv6_header() / rest : Ethernet() / flow.ipv4() / rest)
                .build();
        };
        const auto woken_by = [&](const Bytes &packet, Hook hook) {
            rig.clear_wakes();
            Outcome out = send(rig, hook, packet, Link::ethernet, flow.ifindex);
            CHECK(out.ran.packet == packet);
            CHECK(out.counted["skip_room"] == 1);
            mps_wake found{};
            for (std::uint32_t i = 0; i < MPS_MAX_WAKES; i++)
                if (const mps_wake wake = rig.get_wake(i); wake.when_ns > found.when_ns)
                    found = wake;
            return found;
        };

        rig.decide(without(rig, flow));
        // TC sends a wake on at once; the entry keeps what it was.
        for (const Hook hook : {Hook::xdp, Hook::tc}) {
            const mps_wake wake = woken_by(full_with(flow.seq, 300), hook);
            CHECK(wake.seq == flow.seq + 300);
            CHECK(wake.has_tstamp == 0);
            CHECK(wake.backup == 1);
            CHECK(wake.ifindex == flow.ifindex);
            // One that the peer sends again, with more behind what is known already.
            CHECK(woken_by(full_with(flow.seq - 100, 300), hook).seq == flow.seq + 200);
        }
        rig.clear_wakes();
        rig.decide(0xff);
    }
}

TEST_CASE("a verdict that allows nothing usable means all") {
    Rig &rig = rig_of_each_family();
    Inside inside(rig.network().a());
    const Flow &flow = rig.flows()[0];
    Bytes ack = usual_ack(flow).build();
    std::uint32_t present = 0;

    for (const Flow &each : rig.flows())
        present |= 1u << rig.index_of(each);
    for (std::uint32_t allowed : {0u, ~present, 0xff00u & ~present}) {
        rig.decide(allowed);
        Outcome out = send(rig, Hook::xdp, ack, Link::ethernet, flow.ifindex);
        CHECK(out.ran.packet == ack);
        CHECK(out.counted["empty_verdict"] == 1);
        CHECK(rig.remembered()->allowed == present);
    }
}

TEST_CASE("two edits of one subflow are at least the dwell time apart") {
    Rig &rig = rig_of_each_family();
    Inside inside(rig.network().a());
    const Flow &flow = rig.flows()[0];
    Bytes ack = usual_ack(flow).build();

    rig.decide(without(rig, flow));
    rig.set_dwell(0);
    CHECK(send(rig, Hook::xdp, ack, Link::ethernet, flow.ifindex).counted["inserted"] == 1);
    rig.set_dwell(300000);
    Outcome held = send(rig, Hook::xdp, ack, Link::ethernet, flow.ifindex);
    CHECK(held.ran.packet == ack);
    CHECK(held.counted["held_dwell"] == 1);
    usleep(310000);
    Outcome again = send(rig, Hook::xdp, ack, Link::ethernet, flow.ifindex);
    CHECK(again.counted["inserted"] == 1);
    CHECK(again.counted["inserted_retry"] == 1);
}

TEST_CASE("what the peer asked for in its MP_JOIN is remembered and can be overridden") {
    auto family = GENERATE(lab::Family::ipv4, lab::Family::ipv6);
    Rig rig(test::two_hosts(family), readings().front(), 1);
    Inside inside(rig.network().a());
    const Flow &backup = rig.flows()[1];
    Bytes ack = usual_ack(backup).build();

    rig.show_every_subflow();
    std::uint32_t flags = rig.last_view().sf[rig.index_of(backup)].flags;
    CHECK((flags & MPS_SF_BACKUP) != 0);
    CHECK((flags & MPS_SF_PEER_BACKUP) != 0);
    CHECK((flags & MPS_SF_LOCAL_BACKUP) == 0);
    rig.decide(0, MPS_VERDICT_PASS);
    CHECK(send(rig, Hook::xdp, ack, Link::ethernet, backup.ifindex).ran.packet == ack);
    rig.decide(0xff);
    check_edit(rig, Hook::xdp, {"Ethernet", Link::ethernet, usual_ack(backup)}, backup, false);
}

TEST_CASE("a subflow that the local endpoint calls a backup cannot be made active, and that is counted") {
    auto family = GENERATE(lab::Family::ipv4, lab::Family::ipv6);
    lab::NetworkSpec spec = test::two_hosts(family);
    spec.joins = lab::Joins::client_subflow;
    spec.paths[1].backup = true; // our own endpoint
    Rig rig(spec, readings().front());
    Inside inside(rig.network().a());
    const Flow &backup = rig.flows()[1];
    Bytes ack = usual_ack(backup).build();

    rig.show_every_subflow();
    CHECK((rig.last_view().sf[rig.index_of(backup)].flags & MPS_SF_LOCAL_BACKUP) != 0);
    rig.decide(without(rig, backup));
    Outcome out = send(rig, Hook::xdp, ack, Link::ethernet, backup.ifindex);
    CHECK(out.ran.packet == ack);
    CHECK(out.counted["skip_local_backup"] == 1);
}

TEST_CASE("a verdict that leaves only a local backup is taken as all") {
    lab::NetworkSpec spec = test::two_hosts(lab::Family::ipv4);
    spec.joins = lab::Joins::client_subflow;
    spec.paths[1].backup = true; // our own endpoint
    Rig rig(spec, readings().front());
    Inside inside(rig.network().a());
    const Flow &ordinary = rig.flows()[0];
    Bytes ack = usual_ack(ordinary).build();

    rig.show_every_subflow();
    rig.decide(without(rig, ordinary));
    Outcome out = send(rig, Hook::xdp, ack, Link::ethernet, ordinary.ifindex);
    CHECK(out.ran.packet == ack);
    CHECK(out.counted["empty_verdict"] == 1);
}

TEST_CASE("a verdict that leaves only a subflow of an interface that is not attached is taken as all") {
    Rig &rig = shared_rig(lab::Family::ipv4, readings().front());
    Inside inside(rig.network().a());
    const Flow &steered = rig.flows()[0];
    Bytes ack = usual_ack(steered).build();

    rig.decide(without(rig, steered));
    rig.set_path_flags(1, 0);
    Outcome out = send(rig, Hook::xdp, ack, Link::ethernet, steered.ifindex);
    CHECK(out.ran.packet == ack);
    CHECK(out.counted["empty_verdict"] == 1);
    CHECK((rig.last_view().sf[rig.index_of(rig.flows()[1])].flags & MPS_SF_STEERABLE) == 0);
    rig.set_path_flags(1, MPS_PATH_ATTACHED);
    check_edit(rig, Hook::xdp, {"Ethernet", Link::ethernet, usual_ack(steered)}, steered, true);
}
