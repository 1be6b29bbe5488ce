// SPDX-License-Identifier: MIT
//
// One packet at a time through the real programs in the real kernel, beside a real MPTCP connection: which
// packets are edited, how, and that no other packet ever is.
#include "catch.hpp"
#include "decode.hpp"
#include "packet.hpp"
#include "rig.hpp"
#include "shapes.hpp"

#include <arpa/inet.h>
#include <array>
#include <cstring>
#include <fmt/format.h>
#include <map>
#include <memory>
#include <netinet/in.h>
#include <random>
#include <sys/socket.h>
#include <unistd.h>

using namespace mps;
using namespace mps::packet;
using mps::test::Flow;
using mps::test::Inside;
using mps::test::Ran;
using mps::test::Reading;
using mps::test::readings;
using mps::test::Rig;
using mps::test::Shape;

namespace {

constexpr int xdp_pass = 2;
constexpr int tc_unspec = -1;

const std::array<const char *, MPS_C_MAX> counter_names = {
#define MPS_TEST_NAME(id, name, text) name,
    MPS_COUNTERS(MPS_TEST_NAME)
#undef MPS_TEST_NAME
};

// Counters that changed between two readings, by name. Wakes have tests of their own: whether a packet that
// could not be edited also queues one depends on what the kernel has in flight.
std::map<std::string, std::uint64_t> changes(const std::vector<std::uint64_t> &before,
                                             const std::vector<std::uint64_t> &after) {
    std::map<std::string, std::uint64_t> out;

    for (std::size_t i = 0; i < after.size(); i++)
        if (after[i] != before[i] && !std::string_view(counter_names[i]).starts_with("wake_"))
            out[counter_names[i]] = after[i] - before[i];
    return out;
}

// Rigs take a second to build, so tests share them. Each test starts from the same state.
Rig &shared_rig(lab::Family family, Reading reading) {
    static std::map<std::pair<lab::Family, Reading>, std::unique_ptr<Rig>> rigs;
    auto &rig = rigs[{family, reading}];

    if (!rig)
        rig = std::make_unique<Rig>(family, reading);
    rig->use_slot(1);
    rig->set_config_flags(0);
    rig->set_dwell(0);
    rig->leave_idle_alone(false);
    rig->set_path_flags(0, MPS_PATH_ATTACHED);
    rig->set_path_flags(1, MPS_PATH_ATTACHED);
    rig->decide(0xff);
    rig->clear_wakes();
    // Lets the connection move to this choice, so that later packets count nothing but their own business.
    rig->show_every_subflow();
    rig->decide(0xff);
    return *rig;
}

// Every family, with both ways of reading the kernel.
Rig &every_rig() {
    auto [family, reading] = GENERATE(from_range(test::families_and_readings()));

    return shared_rig(family, reading);
}

Rig &rig_of_each_family() {
    auto family = GENERATE(lab::Family::ipv4, lab::Family::ipv6);

    return shared_rig(family, test::usual_reading(family));
}

enum class Hook { xdp, tc };

struct Outcome {
    Ran ran;
    std::map<std::string, std::uint64_t> counted;
    int passed_as = 0; // the verdict that means "on to the stack" for this hook
};

Outcome send(Rig &rig, Hook hook, ByteView data, Link link, std::uint32_t ifindex) {
    const std::string program =
        std::string(hook == Hook::xdp ? "mps_xdp" : "mps_tc") + (link == Link::ethernet ? "_eth" : "_l3");
    auto before = rig.counters();
    Outcome out;

    out.passed_as = hook == Hook::xdp ? xdp_pass : tc_unspec;
    out.ran = hook == Hook::xdp ? test::run_xdp(rig.program(program), data, ifindex)
                                : test::run_tc(rig.program(program), data, ifindex);
    out.counted = changes(before, rig.counters());
    return out;
}

// TC programs get an Ethernet frame in a test run, whatever the program expects; the kernel takes the VLAN
// tag out before TC ingress, a test run does not. So TC shows its edits on plain Ethernet here, and in
// tests/e2e elsewhere.
bool tc_can_edit(const Shape &shape) {
    return shape.link == Link::ethernet && shape.name.starts_with("Ethernet");
}

// Linux refuses test runs of TC programs with a frame shorter than its EtherType's IP header (6.18).
bool tc_can_run(ByteView data) { return data.size() >= 14 + 40; }

Packet usual_ack(const Flow &flow) {
    return Ethernet() / flow.network() / flow.tcp() / nop() / nop() / flow.timestamp() / dss{.data_ack64 = 7};
}

// The set that allows every subflow but this one.
std::uint32_t without(const Rig &rig, const Flow &flow) { return 0xffu & ~(1u << rig.index_of(flow)); }

void check_edit(Rig &rig, Hook hook, const Shape &shape, const Flow &flow, bool backup) {
    Bytes before = shape.packet.build();
    Bytes expected = shape.packet.with_first_options(mp_prio{.backup = backup} / nop()).build();
    rig.clear_wakes();
    Outcome out = send(rig, hook, before, shape.link, flow.ifindex);

    // A checksum that was wrong stays wrong by as much, which the builder cannot express.
    bool same = out.ran.packet == expected;
    Change change = classify_change(before, out.ran.packet, shape.link);
    bool was_right = checksum_faults(before, shape.link).empty();

    INFO(shape.name);
    INFO(compare(expected, out.ran.packet, shape.link));
    INFO(change.why);
    CHECK((same || !was_right));
    CHECK((change.kind == Change::Kind::prio && change.backup == backup));
    CHECK(out.ran.verdict == out.passed_as);
    CHECK(out.counted["inserted"] == 1);
    CHECK(out.counted["inserted_backup"] == (backup ? 1u : 0u));
}

} // namespace

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
    const Flow &flow = rig.flows()[1];
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

TEST_CASE("a connection with nothing to send is left alone until time has passed or anything has changed") {
    Rig &rig = every_rig();
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

    rig.leave_idle_alone(true);
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
    Rig &rig = every_rig();
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

    rig.leave_idle_alone(true);
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
        lab::Fd listener(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, protocol));
        lab::Fd client(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, protocol));
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
        lab::Fd server(::accept(listener.get(), nullptr, nullptr));
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
