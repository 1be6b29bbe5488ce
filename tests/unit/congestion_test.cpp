// SPDX-License-Identifier: MIT
//
// What the cores of congestion/ promise, over seeded random connections, against the formulas of their papers in floating point.
#include "catch.hpp"

#include "congestion.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

using namespace mps::test;

namespace {

constexpr double reno = static_cast<double>(MPS_CC_RENO);
constexpr int rounds = 20'000;

std::vector<mps_cc_subflow> present(const mps_cc_flows &flows) {
    std::vector<mps_cc_subflow> all;
    for (const mps_cc_subflow &one : flows.sf)
        if (one.cwnd_segs && one.srtt_us)
            all.push_back(one);
    return all;
}

double speed(const mps_cc_subflow &one) { return 1.0 * one.cwnd_segs / one.srtt_us; }

double speed_of_all(const mps_cc_flows &flows) {
    double sum = 0;
    for (const mps_cc_subflow &one : present(flows))
        sum += speed(one);
    return sum;
}

// Segments that the window grows by for one that is acknowledged.
double increase(const mps_cc_flows &flows, std::int64_t share) {
    return static_cast<double>(share) / reno / flows.sf[0].cwnd_segs;
}

// The same connection with another subflow as the one that grows.
mps_cc_flows turned(const mps_cc_flows &flows, std::size_t first) {
    mps_cc_flows other = flows;
    std::swap(other.sf[0], other.sf[first]);
    return other;
}

// RFC 6356 section 3.
double lia(const mps_cc_flows &flows) {
    double total = 0, best = 0;
    for (const mps_cc_subflow &one : present(flows)) {
        total += one.cwnd_segs;
        best = std::max(best, speed(one) / one.srtt_us);
    }
    const double alpha = total * best / std::pow(speed_of_all(flows), 2);
    return std::min(alpha / total, 1.0 / flows.sf[0].cwnd_segs);
}

double balia(const mps_cc_flows &flows) {
    double fastest = 0;
    for (const mps_cc_subflow &one : present(flows))
        fastest = std::max(fastest, speed(one));
    const double x = speed(flows.sf[0]), a = fastest / x;
    return x / flows.sf[0].srtt_us / std::pow(speed_of_all(flows), 2) * (1 + a) / 2 * (4 + a) / 5;
}

double merit(const mps_cc_subflow &one) { return one.run_segs / std::pow(one.srtt_us, 2); }

double olia(const mps_cc_flows &flows) {
    const auto all = present(flows);
    const auto wide = std::ranges::max(all, {}, &mps_cc_subflow::cwnd_segs).cwnd_segs;
    const double best = merit(std::ranges::max(all, {}, merit));
    const auto is_wide = [&](const mps_cc_subflow &one) { return one.cwnd_segs == wide; };
    const auto is_promising = [&](const mps_cc_subflow &one) { return merit(one) >= best && !is_wide(one); };
    const double n = static_cast<double>(all.size());
    double a = 0;
    if (const auto promising = std::ranges::count_if(all, is_promising); promising) {
        if (is_promising(flows.sf[0]))
            a = 1 / n / static_cast<double>(promising);
        else if (is_wide(flows.sf[0]))
            a = -1 / n / static_cast<double>(std::ranges::count_if(all, is_wide));
    }
    return std::min(speed(flows.sf[0]) / flows.sf[0].srtt_us / std::pow(speed_of_all(flows), 2) +
                        a / flows.sf[0].cwnd_segs,
                    1.0 / flows.sf[0].cwnd_segs);
}

double formula(const Coupling &coupling, const mps_cc_flows &flows) {
    return coupling.name == "lia" ? lia(flows) : coupling.name == "olia" ? olia(flows) : balia(flows);
}

// Two merits that differ by less than a core can tell are one to it and not to the formula.
bool has_close_merits(const mps_cc_flows &flows) {
    const auto all = present(flows);
    for (const auto &a : all)
        for (const auto &b : all)
            if (merit(a) != merit(b) && std::abs(merit(a) / merit(b) - 1) < 1e-3)
                return true;
    return false;
}

} // namespace

TEST_CASE("no subflow ever grows faster than Reno, and none shrinks faster than OLIA's shift") {
    for (const Coupling &coupling : couplings) {
        Random random(7);
        for (int i = 0; i < rounds; i++) {
            const mps_cc_flows flows = i % 2 ? sound_flows(random) : any_flows(random);
            const std::int64_t share = coupling.share(&flows);
            INFO(coupling.name << " " << text(flows));
            REQUIRE(share <= static_cast<std::int64_t>(MPS_CC_RENO));
            if (coupling.name == "olia")
                REQUIRE(share >= -static_cast<std::int64_t>(MPS_CC_RENO / 2));
            else
                REQUIRE(share >= 0);
        }
    }
}

TEST_CASE("a subflow that is alone grows as Reno does") {
    Random random(8);
    for (const Coupling &coupling : couplings) {
        for (int i = 0; i < rounds; i++) {
            mps_cc_flows flows{};
            flows.sf[0] = any_subflow(random);
            REQUIRE(coupling.share(&flows) == static_cast<std::int64_t>(MPS_CC_RENO));
            if (flows.sf[0].cwnd_segs && flows.sf[0].cwnd_segs <= MPS_CC_MOST_SEGS)
                REQUIRE(mps_cc_acks(flows.sf[0].cwnd_segs, coupling.share(&flows)) == flows.sf[0].cwnd_segs);
            // A sibling that is not known yet is none.
            flows.sf[3] = {.cwnd_segs = 10, .srtt_us = 0, .run_segs = 5};
            REQUIRE(coupling.share(&flows) == static_cast<std::int64_t>(MPS_CC_RENO));
        }
    }
}

TEST_CASE("each core follows the formula of its paper") {
    for (const Coupling &coupling : couplings) {
        Random random(9);
        int checked = 0;
        for (int i = 0; i < rounds; i++) {
            const mps_cc_flows flows = sound_flows(random);
            if (coupling.name == "olia" && has_close_merits(flows))
                continue;
            const double wanted = formula(coupling, flows) * flows.sf[0].cwnd_segs;
            const double got = increase(flows, coupling.share(&flows)) * flows.sf[0].cwnd_segs;
            INFO(coupling.name << " " << text(flows) << " wanted " << wanted << " got " << got);
            REQUIRE(std::abs(got - wanted) < 0.01 * std::abs(wanted) + 1e-5);
            checked++;
        }
        CHECK(checked > rounds / 2);
    }
}

// The congestion that holds the windows where they are would let one TCP on the best path be as fast as all subflows together: what
// RFC 6356 section 2 asks for, goals 1 and 2. With `inc` segments for each acknowledged one, losses of p keep w where
// inc = p * w / 2, and a TCP then has sqrt(2 / p).
TEST_CASE("under LIA all subflows together are as fast as one TCP on the best path, and never faster") {
    Random random(10);
    int exact = 0;
    for (int i = 0; i < rounds; i++) {
        const mps_cc_flows flows = sound_flows(random);
        double tcp = 0;
        bool capped = false;
        for (std::size_t k = 0; k < std::size(flows.sf); k++) {
            if (!flows.sf[k].cwnd_segs)
                continue;
            const mps_cc_flows mine = turned(flows, k);
            const std::int64_t share = lia_share(&mine);
            capped |= share == static_cast<std::int64_t>(MPS_CC_RENO);
            tcp = std::max(tcp, std::sqrt(mine.sf[0].cwnd_segs / increase(mine, share)) / mine.sf[0].srtt_us);
        }
        INFO(text(flows) << " all " << speed_of_all(flows) << " tcp " << tcp);
        REQUIRE(speed_of_all(flows) < 1.005 * tcp);
        if (capped || present(flows).size() < 2)
            continue;
        REQUIRE(speed_of_all(flows) > 0.995 * tcp);
        exact++;
    }
    CHECK(exact > rounds / 4);
}

TEST_CASE("equal subflows of a connection grow together as one subflow does") {
    for (const Coupling &coupling : couplings) {
        for (std::uint32_t n = 1; n <= MPS_CC_SUBFLOWS; n++) {
            mps_cc_flows flows{};
            std::fill_n(flows.sf, n, mps_cc_subflow{.cwnd_segs = 40, .srtt_us = 20'000, .run_segs = 900});
            const double segments = n * static_cast<double>(coupling.share(&flows)) / reno;
            INFO(coupling.name << " " << n);
            // Of BALIA a constant factor is left: (1/n + 1/n) * (4/n + 1/n) / 10 = 1/n^2.
            CHECK(std::abs(segments - 1.0 / n) < 0.001);
        }
    }
}

TEST_CASE("zeros and the greatest numbers divide nothing by zero and overflow nothing") {
    const std::uint32_t odd[] = {0, 1, 2, 1u << 20, 1u << 24, 0x7fffffffu, 0x80000000u, ~0u};
    for (const Coupling &coupling : couplings)
        for (const std::uint32_t w : odd)
            for (const std::uint32_t r : odd)
                for (const std::uint32_t l : odd)
                    for (const std::uint32_t w2 : odd)
                        for (const std::uint32_t r2 : odd) {
                            mps_cc_flows flows{};
                            flows.sf[0] = {w, r, l};
                            std::fill_n(flows.sf + 1, MPS_CC_SUBFLOWS, mps_cc_subflow{w2, r2, l});
                            const std::int64_t share = coupling.share(&flows);
                            REQUIRE(share <= static_cast<std::int64_t>(MPS_CC_RENO));
                            const std::uint32_t acks = mps_cc_acks(w, share);
                            REQUIRE((acks == 0 || acks >= std::min(w, MPS_CC_MOST_SEGS)));
                            REQUIRE(balia_left(&flows) >= 2);
                            REQUIRE(balia_left(&flows) <= std::max(w, 2u));
                        }
    CHECK(lia_share(nullptr) == static_cast<std::int64_t>(MPS_CC_RENO));
    CHECK(mps_cc_acks(0, 0) == 0);
    CHECK(mps_cc_acks(100, std::numeric_limits<std::int64_t>::min()) > 0);
}

TEST_CASE(
    "a loss under BALIA leaves half of the fastest subflow's window and a quarter of a much slower one's") {
    mps_cc_flows flows{};
    flows.sf[0] = {.cwnd_segs = 100, .srtt_us = 10'000, .run_segs = 0};
    CHECK(balia_left(&flows) == 50);
    flows.sf[1] = {.cwnd_segs = 10, .srtt_us = 10'000, .run_segs = 0};
    CHECK(balia_left(&flows) == 50);
    flows.sf[1].cwnd_segs = 120; // 1.2 times as fast
    CHECK(balia_left(&flows) == 41);
    flows.sf[1].cwnd_segs = 1000;
    CHECK(balia_left(&flows) == 25);
}

TEST_CASE("OLIA moves the window from the widest subflow to the best one") {
    mps_cc_flows flows{};
    flows.sf[0] = {.cwnd_segs = 10, .srtt_us = 10'000, .run_segs = 5000};
    flows.sf[1] = {.cwnd_segs = 100, .srtt_us = 10'000, .run_segs = 100};
    const std::int64_t best = olia_share(&flows);
    const mps_cc_flows other = turned(flows, 1);
    const std::int64_t widest = olia_share(&other);
    CHECK(best > static_cast<std::int64_t>(MPS_CC_RENO / 2));
    CHECK(widest < static_cast<std::int64_t>(MPS_CC_RENO / 2));
    CHECK(mps_cc_acks(10, best) >= 10);
}
