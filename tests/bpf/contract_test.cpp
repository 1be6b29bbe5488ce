// SPDX-License-Identifier: MIT
//
// What policies are promised: objects that were built for an older minor version of the contract, more memory, what a policy asks to be
// shown, and the reasons that it gives.
#include "catch.hpp"
#include "rig.hpp"
#include "shapes.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <string>
#include <sys/socket.h>
#include <thread>

#include <mpsched/lab/mptcp_abi.hpp>

#include "abi_4_0_roomiest.embed.h"
#include "mps_large_policy.embed.h"

using namespace mps;
using mps::test::Flow;
using mps::test::Inside;
using mps::test::Rig;

namespace {

constexpr std::uint32_t all_extra =
    MPS_EXTRA_RECEIVED | MPS_EXTRA_SENT | MPS_EXTRA_ECN | MPS_EXTRA_RTT | MPS_EXTRA_RATE | MPS_EXTRA_CC;
constexpr std::uint32_t old_slot = 2, large_slot = 3, nothing_slot = 4;

// One rig for each way of reading the kernel.
Rig &rig_of(test::Reading reading) {
    static std::map<test::Reading, std::unique_ptr<Rig>> rigs;
    auto &rig = rigs[reading];

    if (!rig) {
        rig = std::make_unique<Rig>(lab::Family::ipv4, reading);
        rig->fill_slot(old_slot, abi_4_0_roomiest_begin, abi_4_0_roomiest_end, MPS_SLOT_4_0);
        rig->fill_slot(large_slot, mps_large_policy_begin, mps_large_policy_end, all_extra);
        rig->fill_slot(nothing_slot, mps_large_policy_begin, mps_large_policy_end, 0);
    }
    rig->use_slot(1);
    rig->decide(0xff);
    rig->show_every_subflow();
    return *rig;
}

void acknowledge(Rig &rig, const Flow &flow, bool xdp = true) {
    const auto ack = (packet::Ethernet() / flow.ipv4() / flow.tcp() / packet::dss{.data_ack = 1}).build();

    if (xdp)
        test::run_xdp(rig.program("mps_xdp_eth"), ack, flow.ifindex);
    else
        test::run_tc(rig.program("mps_tc_eth"), ack, flow.ifindex);
    rig.clear_wakes();
}

// The kernel's own word for each subflow, in the order of its list.
std::vector<tcp_info> kernel_truth(const Rig &rig) {
    struct {
        lab::abi::mptcp_subflow_data header{};
        std::array<tcp_info, MPS_MAX_SUBFLOWS> infos{};
    } array;
    socklen_t size = sizeof array;

    array.header.size_subflow_data = sizeof array.header;
    array.header.size_user = sizeof(tcp_info);
    REQUIRE(getsockopt(rig.client_socket(), lab::abi::sol_mptcp, lab::abi::mptcp_tcpinfo_opt, &array,
                       &size) == 0);
    return {array.infos.begin(), array.infos.begin() + array.header.num_subflows};
}

} // namespace

TEST_CASE("an object built for policy ABI 4.0 finds its memory and answers where it was built to") {
    Rig &rig = rig_of(test::readings().front());
    const Inside inside(rig.network().a());

    rig.use_slot(old_slot);
    for (std::uint64_t n = 1; n <= 4; n++) {
        acknowledge(rig, rig.flows()[n % 2], n > 2);
        const auto conn = rig.remembered();
        REQUIRE(conn);
        CHECK(conn->state.word[0] == n);
        // It allows the roomiest, which is one.
        CHECK(std::has_single_bit(conn->allowed));
        CHECK(conn->reasoned == 0);
    }
    rig.use_slot(large_slot);
    acknowledge(rig, rig.flows()[0]);
    CHECK(rig.remembered()->state.word[0] == 1);
    rig.use_slot(old_slot);
    acknowledge(rig, rig.flows()[0]);
    CHECK(rig.remembered()->state.word[0] == 1);
}

TEST_CASE("a policy that asks for as much memory as there is keeps all of it") {
    Rig &rig = rig_of(test::readings().front());
    const Inside inside(rig.network().a());

    rig.use_slot(large_slot);
    for (std::uint64_t n = 1; n <= 4; n++) {
        acknowledge(rig, rig.flows()[n % 2], n > 2);
        const auto conn = rig.remembered();
        REQUIRE(conn);
        CHECK(conn->state.word[0] == n);
        CHECK(conn->state.word[1] == 0);
        CHECK(conn->state.word[1 + MPS_STATE_WORDS / 2] == rig.sample().token);
        CHECK(conn->state.word[MPS_STATE_WORDS - 1] == 3 * n);
    }
    rig.use_slot(1);
    acknowledge(rig, rig.flows()[0]);
    CHECK(rig.remembered()->state.word[MPS_STATE_WORDS - 1] == 0);
}

TEST_CASE("what a policy asks to be shown is what the kernel tells by getsockopt") {
    for (const test::Reading reading : test::readings()) {
        Rig &rig = rig_of(reading);
        const Inside inside(rig.network().a());

        rig.use_slot(large_slot);
        acknowledge(rig, rig.flows()[0]);
        const mps_view view = rig.last_view();
        const auto truth = kernel_truth(rig);
        REQUIRE(truth.size() == rig.flows().size());
        CHECK(view.direction == MPS_DIRECTION_TX);
        for (std::size_t i = 0; i < truth.size(); i++) {
            const std::uint32_t index = rig.index_of(rig.flows()[i]);
            const mps_subflow_extra &seen = view.extra[index];
            const std::uint32_t known = view.known[index];
            std::array<char, MPS_CC_LEN> cc{};
            socklen_t size = cc.size();

            INFO("subflow " << i);
            REQUIRE(getsockopt(rig.client_socket(), IPPROTO_TCP, TCP_CONGESTION, cc.data(), &size) == 0);
            CHECK((known & MPS_EXTRA_RECEIVED));
            CHECK(seen.bytes_received == truth[i].tcpi_bytes_received);
            CHECK((known & MPS_EXTRA_SENT));
            CHECK(seen.sent_segs == truth[i].tcpi_data_segs_out);
            CHECK(seen.retrans_segs == truth[i].tcpi_total_retrans);
            CHECK(((known & MPS_EXTRA_ECN) != 0) == ((truth[i].tcpi_options & TCPI_OPT_ECN) != 0));
            CHECK(((known & MPS_EXTRA_RATE) != 0) == (truth[i].tcpi_delivery_rate != 0));
            if (known & MPS_EXTRA_RATE) {
                CHECK(seen.delivery_rate == truth[i].tcpi_delivery_rate);
                CHECK(((known & MPS_EXTRA_RATE_APP_LIMITED) != 0) == truth[i].tcpi_delivery_rate_app_limited);
            }
            if (known & MPS_EXTRA_RTT)
                CHECK((seen.last_rtt_us > 0 && seen.last_rtt_us < 1'000'000));
            CHECK((known & MPS_EXTRA_CC));
            CHECK(std::strncmp(seen.cc, cc.data(), cc.size()) == 0);
        }
        // The first subflow has carried contents, so there is a sample of everything.
        CHECK(truth.at(0).tcpi_data_segs_out > 0);
        CHECK((view.known[rig.index_of(rig.flows()[0])] & (MPS_EXTRA_RTT | MPS_EXTRA_RATE)) ==
              (MPS_EXTRA_RTT | MPS_EXTRA_RATE));
    }
}

TEST_CASE("congestion marks are known where both ends agreed on ECN, and counted") {
    const auto spec = test::two_hosts(lab::Family::ipv6);
    Rig rig(spec, test::readings().front(), {}, true);
    const Inside inside(rig.network().a());

    rig.mark_congestion();
    rig.fill_slot(large_slot, mps_large_policy_begin, mps_large_policy_end, all_extra);
    rig.use_slot(large_slot);
    std::uint32_t marked = 0;
    for (int i = 0; i < 500 && !marked; i++) {
        const std::string data(20'000, 'x');
        (void)send(rig.client_socket(), data.data(), data.size(), MSG_DONTWAIT);
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
        for (const tcp_info &info : kernel_truth(rig))
            marked += info.tcpi_delivered_ce;
    }
    REQUIRE(marked > 0);
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    const auto truth = kernel_truth(rig);
    Flow first = rig.flows()[0];
    for (const mps_subflow_record &record : rig.dump()) {
        if (record.local_port != first.local_port || record.remote_port != first.remote_port)
            continue;
        first.seq = record.rcv_nxt;
        first.ack = record.snd_una;
    }
    test::run_xdp(
        rig.program("mps_xdp_eth"),
        (packet::Ethernet() / first.ipv6_header() / first.tcp() / packet::dss{.data_ack = 1}).build(),
        first.ifindex);
    rig.clear_wakes();
    const mps_view view = rig.last_view();
    for (std::size_t i = 0; i < truth.size(); i++) {
        const std::uint32_t index = rig.index_of(rig.flows()[i]);
        CHECK((truth[i].tcpi_options & TCPI_OPT_ECN));
        CHECK((view.known[index] & MPS_EXTRA_ECN));
        CHECK(view.extra[index].ce_segs == truth[i].tcpi_delivered_ce);
    }
}

TEST_CASE("what a policy did not ask for is marked as not known") {
    Rig &rig = rig_of(test::readings().front());
    const Inside inside(rig.network().a());

    rig.use_slot(large_slot);
    acknowledge(rig, rig.flows()[0]);
    CHECK(rig.last_view().known[rig.index_of(rig.flows()[0])] != 0);
    rig.use_slot(nothing_slot);
    acknowledge(rig, rig.flows()[0]);
    for (const std::uint32_t known : rig.last_view().known)
        CHECK(known == 0);
}

TEST_CASE("a policy is shown what came of the last verdict") {
    Rig &rig = rig_of(test::readings().front());
    const Inside inside(rig.network().a());
    const auto bit = [&](std::size_t flow) { return 1u << rig.index_of(rig.flows()[flow]); };

    rig.decide(bit(0));
    acknowledge(rig, rig.flows()[0]);
    rig.decide(bit(1));
    acknowledge(rig, rig.flows()[0]);
    CHECK(rig.last_view().last_allowed == bit(0));
    rig.decide(0); // taken as all
    acknowledge(rig, rig.flows()[0]);
    CHECK(rig.last_view().last_allowed == bit(1));
    acknowledge(rig, rig.flows()[0]);
    CHECK(rig.last_view().last_allowed == (bit(0) | bit(1)));
}

TEST_CASE("reasons are kept for every subflow of the verdict, and go with the next one that has none") {
    Rig &rig = rig_of(test::readings().front());
    const Inside inside(rig.network().a());

    rig.use_slot(large_slot);
    acknowledge(rig, rig.flows()[1]);
    auto conn = rig.remembered();
    REQUIRE(conn);
    CHECK(conn->reasoned == conn->known);
    for (const Flow &flow : rig.flows()) {
        const mps_reason &why = conn->sf[rig.index_of(flow)].reason;
        CHECK(why.code == MPS_REASON_LATER);
        CHECK(why.flags == MPS_REASON_HAS_NUMBER);
        CHECK(why.number == static_cast<std::int32_t>(rig.last_view().known[rig.index_of(flow)]));
        CHECK(why.number != 0);
        CHECK(why.other == rig.index_of(rig.flows()[1]) + 1);
    }
    rig.use_slot(1);
    acknowledge(rig, rig.flows()[0]);
    CHECK(rig.remembered()->reasoned == 0);
}
