// SPDX-License-Identifier: MIT
//
// One packet at a time through the real programs in the real kernel, beside a real MPTCP connection: which
// packets are edited, how, and that no other packet ever is.
#include "datapath_rig.hpp"

#include <random>

using namespace mps;
using namespace mps::packet;
using namespace mps::test;

TEST_CASE("an edit is MP_PRIO and a NOP before the options, and lengths and checksums follow") {
    Rig &rig = every_rig();
    Inside inside(rig.network().a());

    for (const Flow &flow : rig.flows()) {
        rig.decide(without(rig, flow));
        for (const Shape &shape : test::editable(flow))
            check_edit(rig, Hook::xdp, shape, flow, true);
    }
}

TEST_CASE("TC writes the same edit as XDP") {
    Rig &rig = every_rig();
    Inside inside(rig.network().a());

    for (const Flow &flow : rig.flows()) {
        rig.decide(without(rig, flow));
        for (const Shape &shape : test::editable(flow))
            if (tc_can_edit(shape))
                check_edit(rig, Hook::tc, shape, flow, true);
    }
}

TEST_CASE("a subflow that is a backup is made active again when it is allowed") {
    Rig &rig = rig_of_each_family();
    Inside inside(rig.network().a());
    const Flow &flow = rig.flows()[1];

    rig.peer_backup(1, true);
    rig.decide(0xff);
    for (const Shape &shape : test::editable_headers(flow)) {
        check_edit(rig, Hook::xdp, shape, flow, false);
        if (tc_can_edit(shape))
            check_edit(rig, Hook::tc, shape, flow, false);
    }
    rig.peer_backup(1, false);
}

TEST_CASE("a packet whose subflow is as the verdict wants it passes untouched") {
    Rig &rig = every_rig();
    Inside inside(rig.network().a());

    for (const Flow &flow : rig.flows()) {
        rig.decide(1u << rig.index_of(flow));
        for (const Shape &shape : test::editable(flow)) {
            Bytes before = shape.packet.build();

            for (Hook hook : {Hook::xdp, Hook::tc}) {
                rig.clear_wakes();
                Outcome out = send(rig, hook, before, shape.link, flow.ifindex);
                INFO(shape.name);
                INFO(compare(before, out.ran.packet, shape.link));
                CHECK(out.ran.packet == before);
                CHECK(out.ran.verdict == out.passed_as);
                CHECK(out.counted == std::map<std::string, std::uint64_t>{{"seen", 1}, {"decided", 1}});
            }
        }
    }
}

TEST_CASE("whatever must not be edited passes bit for bit, and is counted with its reason") {
    Rig &rig = every_rig();
    Inside inside(rig.network().a());

    for (const Flow &flow : rig.flows()) {
        rig.decide(without(rig, flow));
        for (const auto &[shape, counted] : test::untouched(flow)) {
            Bytes before = shape.packet.build();
            std::map<std::string, std::uint64_t> expected;

            for (const auto &[which, n] : counted)
                expected[counter_names.at(which)] = n;
            for (Hook hook : {Hook::xdp, Hook::tc}) {
                rig.clear_wakes();
                Outcome out = send(rig, hook, before, shape.link, flow.ifindex);
                INFO(shape.name << (hook == Hook::xdp ? " on XDP" : " on TC"));
                INFO(compare(before, out.ran.packet, shape.link));
                CHECK(out.ran.packet == before);
                CHECK(out.ran.verdict == out.passed_as);
                CHECK(out.counted == expected);
            }
        }
    }
}

TEST_CASE("a packet cut at any length passes untouched") {
    Rig &rig = rig_of_each_family();
    Inside inside(rig.network().a());
    const Flow &flow = rig.flows()[0];
    std::vector<Shape> shapes = test::editable_headers(flow);

    for (const auto &[shape, counted] : test::untouched(flow))
        shapes.push_back(shape);
    rig.decide(without(rig, flow));
    for (const Shape &shape : shapes) {
        Bytes whole = shape.packet.build();

        // The kernel runs no test with less than a link-layer header.
        for (std::size_t size = 14; size < whole.size(); size++) {
            Bytes cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));

            for (Hook hook : {Hook::xdp, Hook::tc}) {
                if (hook == Hook::tc && !tc_can_run(cut))
                    continue;
                // The lengths inside no longer fit, so there is nothing a program may write.
                rig.clear_wakes();
                Outcome out = send(rig, hook, cut, shape.link, flow.ifindex);
                INFO(shape.name << ", cut to " << size << " of " << whole.size());
                INFO(compare(cut, out.ran.packet, shape.link));
                CHECK(out.ran.packet == cut);
                CHECK(out.ran.verdict == out.passed_as);
                CHECK(out.counted["inserted"] == 0);
            }
        }
    }
}

TEST_CASE("a packet whose lengths follow the cut is edited rightly or not at all") {
    Rig &rig = rig_of_each_family();
    Inside inside(rig.network().a());
    const Flow &flow = rig.flows()[0];
    std::size_t edited = 0;

    rig.decide(without(rig, flow));
    for (const Shape &shape : test::editable_headers(flow)) {
        Bytes whole = shape.packet.build();
        auto layout = find_tcp(whole, shape.link);
        REQUIRE(layout);

        for (std::size_t size = std::max<std::size_t>(14, layout->ip + 20); size < whole.size(); size++) {
            Bytes cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
            std::size_t at = layout->ip + (layout->ipv6 ? 4 : 2);
            std::size_t length = size - layout->ip - (layout->ipv6 ? 40 : 0);

            if (layout->ipv6 && size < layout->ip + 40)
                continue;
            cut[at] = static_cast<std::uint8_t>(length >> 8);
            cut[at + 1] = static_cast<std::uint8_t>(length);
            Outcome out = send(rig, Hook::xdp, cut, shape.link, flow.ifindex);
            Change change = classify_change(cut, out.ran.packet, shape.link);

            INFO(shape.name << ", cut to " << size << ": " << change.why);
            INFO(explain(out.ran.packet, shape.link));
            CHECK(change.kind == (size >= layout->payload ? Change::Kind::prio : Change::Kind::none));
            edited += change.kind == Change::Kind::prio;
        }
    }
    CHECK(edited > 100);
}

TEST_CASE("a frame with link-layer padding keeps it") {
    Rig &rig = rig_of_each_family();
    Inside inside(rig.network().a());
    const Flow &flow = rig.flows()[0];

    rig.decide(without(rig, flow));
    for (Hook hook : {Hook::xdp, Hook::tc}) {
        Bytes before = usual_ack(flow).build();
        before.insert(before.end(), {1, 2, 3, 4, 5, 6, 7});
        Outcome out = send(rig, hook, before, Link::ethernet, flow.ifindex);
        Change change = classify_change(before, out.ran.packet, Link::ethernet);

        INFO(change.why << explain(out.ran.packet, Link::ethernet));
        CHECK(change.kind == Change::Kind::prio);
    }
}

TEST_CASE("a packet grows up to the MTU and not beyond") {
    Rig &rig = rig_of_each_family();
    Inside inside(rig.network().a());
    const Flow &flow = rig.flows()[0];
    const std::size_t headers = (flow.ipv6 ? 40 : 20) + 20 + 24;

    rig.decide(without(rig, flow));
    for (Hook hook : {Hook::xdp, Hook::tc}) {
        for (std::size_t payload = 1500 - headers - 6; payload <= 1500 - headers; payload++) {
            Bytes before = (usual_ack(flow) / Payload(payload)).build();
            Outcome out = send(rig, hook, before, Link::ethernet, flow.ifindex);
            bool fits = headers + payload + 4 <= 1500;

            INFO("payload of " << payload << " octets");
            CHECK(classify_change(before, out.ran.packet, Link::ethernet).kind ==
                  (fits ? Change::Kind::prio : Change::Kind::none));
            CHECK(out.counted["skip_mtu"] == (fits ? 0u : 1u));
        }
    }
}

TEST_CASE("a merged packet is left for an ACK to carry the edit") {
    Rig &rig = rig_of_each_family();
    Inside inside(rig.network().a());
    const Flow &flow = rig.flows()[0];
    Bytes before = (usual_ack(flow) / Payload(2800)).build();

    rig.decide(without(rig, flow));
    auto counters = rig.counters();
    Ran ran = test::run_tc(rig.program("mps_tc_eth"), before, flow.ifindex, {.gso_size = 1400});
    CHECK(ran.packet == before);
    CHECK(changes(counters, rig.counters())["skip_gso"] == 1);
}

TEST_CASE("twenty thousand damaged packets: none is changed but by a right edit") {
    Rig &rig = rig_of_each_family();
    Inside inside(rig.network().a());
    const Flow &flow = rig.flows()[0];
    std::vector<std::pair<Bytes, Link>> seeds;
    std::size_t edited = 0, packets = 20000;
    std::mt19937 random(0x8684);

    for (const Shape &shape : test::editable(flow))
        if (shape.packet.build().size() < 300)
            seeds.emplace_back(shape.packet.build(), shape.link);
    for (const auto &[shape, counted] : test::untouched(flow))
        seeds.emplace_back(shape.packet.build(), shape.link);
    rig.decide(without(rig, flow));
    for (std::size_t i = 0; i < packets; i++) {
        auto [data, link] = seeds[random() % seeds.size()];
        Hook hook = random() % 4 ? Hook::xdp : Hook::tc;

        for (std::size_t n = random() % 4; n > 0; n--)
            data[random() % data.size()] = static_cast<std::uint8_t>(random());
        if (random() % 2 == 0) // a single bit, most often in the headers
            data[random() % std::min<std::size_t>(data.size(), 120)] ^=
                static_cast<std::uint8_t>(1u << random() % 8);
        if (random() % 8 == 0)
            data.resize(std::max<std::size_t>(14, random() % (data.size() + 8)));
        if (hook == Hook::tc && !tc_can_run(data))
            continue;
        rig.clear_wakes();
        Outcome out = send(rig, hook, data, link, flow.ifindex);
        Change change = classify_change(data, out.ran.packet, link);

        // Damage can make an MP_PRIO of another option; such a packet is rewritten.
        edited += change.kind == Change::Kind::prio;
        if (change.kind != Change::Kind::forbidden && out.ran.verdict == out.passed_as &&
            out.counted["inserted"] == (change.kind == Change::Kind::none ? 0u : 1u))
            continue;
        FAIL_CHECK("packet " << i << (hook == Hook::xdp ? " on XDP, " : " on TC, ") << change.why
                             << "\nbefore: " << explain(data, link)
                             << "after: " << explain(out.ran.packet, link));
    }
    // Else the loop would prove nothing.
    CHECK(edited > packets / 10);
    CHECK(edited < packets * 9 / 10);
}

TEST_CASE(
    "a subflow whose packets arrive without being met here is no reason to park another, until one is met") {
    auto reading = GENERATE_COPY(from_range(readings()));
    Rig rig(lab::Family::ipv4, reading);
    Inside inside(rig.network().a());
    const Flow &met = rig.flows()[0], &other = rig.flows()[1];
    Bytes ack = usual_ack(met).build();
    auto steerable = [&] { return (rig.last_view().sf[rig.index_of(other)].flags & MPS_SF_STEERABLE) != 0; };

    send(rig, Hook::xdp, ack, Link::ethernet, met.ifindex);
    CHECK(steerable());
    // Packets from the wire that the kernel alone has seen.
    rig.peer_backup(1, true);
    rig.peer_backup(1, false);
    rig.decide(without(rig, met));
    Outcome out = send(rig, Hook::xdp, ack, Link::ethernet, met.ifindex);
    CHECK_FALSE(steerable());
    CHECK(out.ran.packet == ack);
    CHECK(out.counted["empty_verdict"] == 1);

    send(rig, Hook::xdp, usual_ack(other).build(), Link::ethernet, other.ifindex);
    CHECK(steerable());
    check_edit(rig, Hook::xdp, {"Ethernet", Link::ethernet, usual_ack(met)}, met, true);
}
