// SPDX-License-Identifier: MIT
//
// What each policy promises, case by case. The same views go through the compiled BPF objects in
// tests/bpf/policy_test.cpp, which compares the two for equality.
#include "catch.hpp"
#include "cores.hpp"
#include "views.hpp"

#include <algorithm>
#include <array>
#include <deque>
#include <numeric>

using namespace mps;
using test::Connection;
using test::Core;
using test::Subflow;
using test::view_of;

namespace {

const Core &core_named(std::string_view name) {
    for (const Core &core : test::all_cores())
        if (core.name == name)
            return core;
    throw std::invalid_argument(std::string(name));
}

// A connection under one policy: remembers the policy's state from decision to decision.
class Steered {
  public:
    explicit Steered(std::string_view policy, const void *params = nullptr)
        : core_(core_named(policy)), params_(params) {}

    std::uint32_t allowed(std::initializer_list<Subflow> subflows, Connection connection = {}) {
        return core_(view_of(subflows, connection), state_, params_).allowed;
    }
    std::uint32_t allowed(const mps_view &view) { return core_(view, state_, params_).allowed; }
    mps_verdict verdict(std::initializer_list<Subflow> subflows) {
        return core_(view_of(subflows), state_, params_);
    }

  private:
    const Core &core_;
    const void *params_;
    mps_state state_{};
};

constexpr std::uint32_t first = 1, second = 2, third = 4;
constexpr std::uint64_t ms = 1000;

} // namespace

/* ---------------------------------------------------------------- default */

TEST_CASE("default asks for pass-through whatever the subflows are like", "[default]") {
    Steered policy("default");

    for (mps_verdict v : {policy.verdict({{}, {}}), policy.verdict({{.usable = false}, {}}),
                          policy.verdict({{.troubled = true}, {.peer_backup = true}})}) {
        CHECK(v.flags == MPS_VERDICT_PASS);
        CHECK(v.allowed == (first | second));
    }
}

/* --------------------------------------------------------- active-standby */

TEST_CASE("the path with the lowest priority value is used alone", "[active-standby]") {
    CHECK(Steered("active-standby").allowed({{.priority = 2}, {.priority = 1}, {.priority = 3}}) == second);
    CHECK(Steered("active-standby").allowed({{.priority = 0}, {.priority = 255}}) == first);
}

TEST_CASE("paths of equal priority share a tier", "[active-standby]") {
    CHECK(Steered("active-standby").allowed({{.priority = 1}, {.priority = 2}, {.priority = 1}}) ==
          (first | third));
    CHECK(Steered("active-standby").allowed({{}, {}, {}}) == (first | second | third));
}

TEST_CASE("the next tier takes over at once when the better one has nothing usable", "[active-standby]") {
    Steered policy("active-standby");

    CHECK(policy.allowed({{.priority = 0}, {.priority = 1}, {.priority = 2}}) == first);
    CHECK(policy.allowed({{.usable = false, .priority = 0}, {.priority = 1}, {.priority = 2}}) == second);
    CHECK(policy.allowed(
              {{.usable = false, .priority = 0}, {.usable = false, .priority = 1}, {.priority = 2}}) ==
          third);
}

TEST_CASE("a path in trouble counts as gone while another one is healthy", "[active-standby]") {
    Steered policy("active-standby");

    CHECK(policy.allowed({{.priority = 0}, {.priority = 1}}) == first);
    CHECK(policy.allowed({{.troubled = true, .priority = 0}, {.priority = 1}}) == second);
    // With all of them in trouble the order is as ever.
    CHECK(Steered("active-standby")
              .allowed({{.troubled = true, .priority = 0}, {.troubled = true, .priority = 1}}) == first);
}

TEST_CASE("traffic returns to a better tier only after it held for hold_ms", "[active-standby]") {
    active_standby_params params{.reserved = 0, .hold_ms = 500};
    Steered policy("active-standby", &params);
    auto at = [&](std::uint64_t now_ms, bool better_usable) {
        return policy.allowed({{.usable = better_usable, .priority = 0}, {.priority = 1}},
                              {.now_us = now_ms * ms});
    };

    CHECK(at(0, true) == first);
    CHECK(at(100, false) == second);
    CHECK(at(200, true) == second); // back, the hold begins
    CHECK(at(699, true) == second);
    CHECK(at(701, true) == first);
}

TEST_CASE("a flap during the hold starts it over", "[active-standby]") {
    active_standby_params params{.reserved = 0, .hold_ms = 500};
    Steered policy("active-standby", &params);
    auto at = [&](std::uint64_t now_ms, bool better_usable) {
        return policy.allowed({{.usable = better_usable, .priority = 0}, {.priority = 1}},
                              {.now_us = now_ms * ms});
    };

    CHECK(at(1000, true) == first);
    CHECK(at(1100, false) == second);
    CHECK(at(1200, true) == second);
    CHECK(at(1600, false) == second);
    CHECK(at(1650, true) == second);
    CHECK(at(1750, true) == second); // 550 ms after the first return, 100 ms after the second
    CHECK(at(2200, true) == first);
}

TEST_CASE("with hold_ms 0 traffic returns at once", "[active-standby]") {
    active_standby_params params{.reserved = 0, .hold_ms = 0};
    Steered policy("active-standby", &params);

    CHECK(policy.allowed({{.usable = false, .priority = 0}, {.priority = 1}}, {.now_us = 1}) == second);
    CHECK(policy.allowed({{.priority = 0}, {.priority = 1}}, {.now_us = 2}) == first);
}

TEST_CASE("what the peer or the local endpoint calls a backup ranks behind its equals", "[active-standby]") {
    CHECK(Steered("active-standby").allowed({{.peer_backup = true}, {}}) == second);
    CHECK(Steered("active-standby").allowed({{}, {.local_backup = true}}) == first);
    CHECK(Steered("active-standby").allowed({{.peer_backup = true, .priority = 0}, {.priority = 1}}) ==
          first);
}

TEST_CASE("a priority that the user changes moves traffic", "[active-standby]") {
    active_standby_params params{.reserved = 0, .hold_ms = 0};
    Steered policy("active-standby", &params);

    CHECK(policy.allowed({{.priority = 0}, {.priority = 1}}) == first);
    CHECK(policy.allowed({{.priority = 2}, {.priority = 1}}) == second);
}

/* ---------------------------------------------------------------- weighted */

namespace {

// Plays the kernel: in each round one of the allowed subflows, any of them, gets a burst of 64 KiB. What each path got of all;
// `paths[i]` is the path of subflow i.
std::vector<double> shares(const std::vector<std::uint32_t> &weights, const std::vector<std::uint32_t> &paths,
                           std::uint32_t seed, std::uint32_t lead_bytes = 65536) {
    weighted_params params{.reserved = 0, .lead_bytes = lead_bytes, .lowat_bytes = 0};
    std::vector<double> given(weights.size());
    const Core &core = core_named("weighted");
    const auto subflows = static_cast<std::uint32_t>(paths.size());
    test::Random random(seed);
    mps_state state{};
    mps_view view{};
    constexpr int rounds = 20000;

    for (std::uint32_t i = 0; i < subflows; i++) {
        view.present |= 1u << i;
        view.sf[i].flags = MPS_SF_PRESENT | MPS_SF_USABLE | MPS_SF_STEERABLE | MPS_SF_FRESH;
        view.sf[i].ifindex = 10 + paths[i];
        view.sf[i].weight = weights[paths[i]];
        view.sf[i].bytes_acked = random() % 10000000; // from before
    }
    for (int round = 0; round < rounds; round++) {
        std::uint32_t allowed = core(view, state, &params).allowed, pick = random() % subflows;

        for (std::size_t i = 0; i < subflows; i++)
            view.sf[i].flags &= ~static_cast<std::uint32_t>(MPS_SF_FRESH);
        while (!(allowed >> pick & 1))
            pick = (pick + 1) % subflows;
        view.sf[pick].bytes_acked += 65536;
        given[paths[pick]] += 1.0 / rounds;
    }
    return given;
}

} // namespace

TEST_CASE("bytes follow the weights, whichever allowed subflow the kernel takes", "[weighted]") {
    for (const std::vector<std::uint32_t> &weights : {std::vector<std::uint32_t>{1, 1},
                                                      {3, 1},
                                                      {1, 9},
                                                      {1, 1, 2},
                                                      {100, 250, 650},
                                                      {1, 1000},
                                                      {10000, 10000}}) {
        for (std::uint32_t lead : {1024u, 65536u, 1048576u}) {
            std::vector<std::uint32_t> paths(weights.size());
            std::iota(paths.begin(), paths.end(), 0u);
            auto got = shares(weights, paths, 42, lead);
            double sum = std::accumulate(weights.begin(), weights.end(), 0.0);

            for (std::size_t i = 0; i < weights.size(); i++) {
                INFO("weight " << weights[i] << " of " << sum << ", lead " << lead);
                CHECK(got[i] == Catch::Approx(weights[i] / sum).margin(0.005));
            }
        }
    }
}

TEST_CASE("bytes follow the weights of the paths, however many subflows each has", "[weighted]") {
    for (const std::vector<std::uint32_t> &paths : {std::vector<std::uint32_t>{0, 0, 0, 1},
                                                    {1, 0, 1, 1},
                                                    {0, 1, 0, 1},
                                                    {0, 0, 0, 0, 0, 1, 1},
                                                    {1, 0, 0, 0, 0, 0, 0, 0}}) {
        for (const std::vector<std::uint32_t> &weights :
             {std::vector<std::uint32_t>{1, 1}, {1, 3}, {3, 1}, {9, 1}}) {
            auto got = shares(weights, paths, 7);

            INFO("weights " << weights[0] << ":" << weights[1] << ", " << paths.size() << " subflows");
            CHECK(got[0] == Catch::Approx(1.0 * weights[0] / (weights[0] + weights[1])).margin(0.005));
        }
    }
}

namespace {

const weighted_params lead_of_64k{.reserved = 0, .lead_bytes = 65536, .lowat_bytes = 0};

} // namespace

TEST_CASE("a weight of 0 is taken as 1", "[weighted]") {
    auto got = shares({0, 3}, {0, 1}, 1);

    CHECK(got[0] == Catch::Approx(0.25).margin(0.005));
}

TEST_CASE("the subflow that is furthest behind is allowed, the one ahead is parked", "[weighted]") {
    Steered policy("weighted", &lead_of_64k);

    CHECK(policy.allowed({{.fresh = true}, {.fresh = true}}) == (first | second));
    CHECK(policy.allowed({{.bytes_acked = 60000}, {}}) == (first | second)); // within lead_bytes
    CHECK(policy.allowed({{.bytes_acked = 70000}, {}}) == second);
    CHECK(policy.allowed({{.bytes_acked = 70000}, {.outstanding_bytes = 5000}}) == (first | second));
}

TEST_CASE("what waited when sharing began is forgotten once it has had time to leave", "[weighted]") {
    Steered policy("weighted", &lead_of_64k);
    const std::uint32_t much = 500'000;

    // Two equal weights; the first subflow was filled before.
    CHECK(policy.allowed({{.fresh = true, .outstanding_bytes = much, .notsent_bytes = much}, {.fresh = true}},
                         {.now_us = 1'000'000}) == second);
    CHECK(policy.allowed({{.bytes_acked = much}, {.bytes_acked = 200'000}}, {.now_us = 1'099'999}) == second);
    CHECK(policy.allowed({{.bytes_acked = much}, {.bytes_acked = 200'000}}, {.now_us = 1'100'000}) ==
          (first | second));
    // Once: from here on every byte counts.
    CHECK(policy.allowed({{.bytes_acked = much + 70'000}, {.bytes_acked = 200'000}}, {.now_us = 1'500'000}) ==
          second);
}

TEST_CASE("an overshoot of one burst is not taken for something that waited", "[weighted]") {
    Steered policy("weighted", &lead_of_64k);

    CHECK(policy.allowed(
              {{.fresh = true, .outstanding_bytes = 65'536, .notsent_bytes = 65'536}, {.fresh = true}},
              {.now_us = 1'000'000}) == (first | second));
    CHECK(policy.allowed({{.bytes_acked = 70'000}, {}}, {.now_us = 1'900'000}) == second);
}

TEST_CASE("weighted wishes the same lowat for every subflow, or none", "[weighted][levers]") {
    weighted_params params{.reserved = 0, .lead_bytes = 65536, .lowat_bytes = 20000};
    const mps_verdict some = Steered("weighted", &params).verdict({{}, {}});
    CHECK(some.flags == MPS_VERDICT_LEVERS);
    for (const mps_lever &lever : std::span(some.lever).first<MPS_MAX_SUBFLOWS>()) {
        CHECK(lever.lowat_bytes == 20000);
        CHECK(lever.pace_bytes_s == 0);
    }
    params.lowat_bytes = 0;
    CHECK(Steered("weighted", &params).verdict({{}, {}}).flags == 0);
}

TEST_CASE("a newcomer shares from its arrival on and owes nothing for what was before", "[weighted]") {
    Steered policy("weighted", &lead_of_64k);

    CHECK(policy.allowed({{.fresh = true}}) == first);
    CHECK(policy.allowed({{.bytes_acked = 100000000}}) == first);
    CHECK(policy.allowed({{.bytes_acked = 100000000}, {.fresh = true}}) == (first | second));
    CHECK(policy.allowed({{.bytes_acked = 100060000}, {}}) == (first | second));
    CHECK(policy.allowed({{.bytes_acked = 100070000}, {}}) == second);
}

TEST_CASE("after an outage a path gets its share again, not what it missed", "[weighted]") {
    Steered policy("weighted", &lead_of_64k);

    CHECK(policy.allowed({{.fresh = true}, {.fresh = true}}) == (first | second));
    CHECK(policy.allowed({{.bytes_acked = 50000}, {.troubled = true}}) == first);
    CHECK(policy.allowed({{.bytes_acked = 90000000}, {.troubled = true}}) == first);
    CHECK(policy.allowed({{.bytes_acked = 90000000}, {}}) == (first | second));
    CHECK(policy.allowed({{.bytes_acked = 90060000}, {}}) == (first | second));
}

TEST_CASE("new weights count from now on", "[weighted]") {
    Steered policy("weighted", &lead_of_64k);

    CHECK(policy.allowed({{.fresh = true, .weight = 1}, {.fresh = true, .weight = 1}}) == (first | second));
    CHECK(policy.allowed({{.weight = 1, .bytes_acked = 5000000}, {.weight = 1, .bytes_acked = 5000000}}) ==
          (first | second));
    CHECK(policy.allowed({{.weight = 9, .bytes_acked = 5000000}, {.weight = 1, .bytes_acked = 5000000}}) ==
          (first | second));
    CHECK(policy.allowed({{.weight = 9, .bytes_acked = 5000000}, {.weight = 1, .bytes_acked = 5100000}}) ==
          first);
    CHECK(policy.allowed({{.weight = 9, .bytes_acked = 5900000}, {.weight = 1, .bytes_acked = 5100000}}) ==
          (first | second));
}

TEST_CASE("what was under way when the policy took over counts, what was delivered before does not",
          "[weighted]") {
    Steered policy("weighted", &lead_of_64k);

    CHECK(policy.allowed({{.fresh = true, .bytes_acked = 9000000, .outstanding_bytes = 100000},
                          {.fresh = true, .bytes_acked = 4000000}}) == second);
}

TEST_CASE("a count of bytes that goes back for a moment parks nobody for ever", "[weighted]") {
    Steered policy("weighted", &lead_of_64k);

    CHECK(policy.allowed({{.fresh = true, .bytes_acked = 5000}, {.fresh = true, .bytes_acked = 5000}}) ==
          (first | second));
    CHECK(policy.allowed({{.bytes_acked = 4999}, {.bytes_acked = 5000}}) == (first | second));
    CHECK(policy.allowed({{.bytes_acked = 4999}, {.bytes_acked = 4999}}) == (first | second));
}

TEST_CASE("all subflows of a path are parked and allowed together", "[weighted]") {
    Steered policy("weighted", &lead_of_64k);

    CHECK(policy.allowed({{.fresh = true, .ifindex = 5},
                          {.fresh = true, .ifindex = 5},
                          {.fresh = true, .ifindex = 6}}) == (first | second | third));
    CHECK(policy.allowed(
              {{.bytes_acked = 40000, .ifindex = 5}, {.bytes_acked = 40000, .ifindex = 5}, {.ifindex = 6}}) ==
          third);
    CHECK(policy.allowed({{.bytes_acked = 40000, .ifindex = 5},
                          {.bytes_acked = 40000, .ifindex = 5},
                          {.bytes_acked = 150000, .ifindex = 6}}) == (first | second));
}

TEST_CASE("a subflow that joins a path takes over its account, one that goes leaves it behind",
          "[weighted]") {
    Steered policy("weighted", &lead_of_64k);

    CHECK(policy.allowed({{.fresh = true, .ifindex = 5}, {.fresh = true, .ifindex = 6}}) == (first | second));
    CHECK(policy.allowed({{.bytes_acked = 100000, .ifindex = 5}, {.ifindex = 6}}) == second);
    CHECK(policy.allowed(
              {{.bytes_acked = 100000, .ifindex = 5}, {.ifindex = 6}, {.fresh = true, .ifindex = 5}}) ==
          second);
    CHECK(policy.allowed({{.usable = false, .ifindex = 5}, {.ifindex = 6}, {.ifindex = 5}}) == second);
    CHECK(policy.allowed(
              {{.usable = false, .ifindex = 5}, {.bytes_acked = 50000, .ifindex = 6}, {.ifindex = 5}}) ==
          (second | third));
}

TEST_CASE("what a path carried while its interface was not attached is not made up for", "[weighted]") {
    Steered policy("weighted", &lead_of_64k);

    CHECK(policy.allowed({{.fresh = true}, {.fresh = true}}) == (first | second));
    CHECK(policy.allowed({{.bytes_acked = 30000}, {.bytes_acked = 30000}}) == (first | second));
    // Detached: nobody holds it back, and the other one need not wait for it either.
    CHECK((policy.allowed({{.bytes_acked = 60000}, {.bytes_acked = 9000000, .steerable = false}}) & first) ==
          first);
    CHECK((policy.allowed({{.bytes_acked = 8000000}, {.bytes_acked = 9000000, .steerable = false}}) &
           first) == first);
    CHECK((policy.allowed({{.bytes_acked = 8000000}, {.bytes_acked = 30000000, .steerable = false}}) &
           first) == first);
    // Attached again: from now on every byte counts.
    CHECK(policy.allowed({{.bytes_acked = 8100000}, {.bytes_acked = 30100000}}) == (first | second));
    CHECK(policy.allowed({{.bytes_acked = 8100000}, {.bytes_acked = 30170000}}) == first);
    CHECK(policy.allowed({{.bytes_acked = 8200000}, {.bytes_acked = 30170000}}) == (first | second));
}

TEST_CASE("gigabytes that the only path carried meanwhile are nobody's debt", "[weighted]") {
    Steered policy("weighted", &lead_of_64k);

    CHECK(policy.allowed({{.fresh = true}, {.fresh = true}}) == (first | second));
    // One subflow left: nothing is decided until the second is back, as a new one.
    for (std::uint64_t carried : {3'000'000'000ull, 4'290'000'000ull, 7'000'000'000ull}) {
        CHECK(policy.allowed({{.bytes_acked = carried}, {.fresh = true}}) == (first | second));
        CHECK(policy.allowed({{.bytes_acked = carried + 70000}, {}}) == second);
    }
}

TEST_CASE("dead paths take no part in the shares", "[weighted]") {
    Steered policy("weighted", &lead_of_64k);

    CHECK(policy.allowed({{.fresh = true}, {.fresh = true}, {.usable = false, .fresh = true}}) ==
          (first | second));
    CHECK(policy.allowed({{.bytes_acked = 9000000}, {.bytes_acked = 9000000}, {.usable = false}}) ==
          (first | second));
}

/* ---------------------------------------------------------- smallest-delay */

TEST_CASE("what the quickest path can hold goes there alone", "[smallest-delay]") {
    CHECK(Steered("smallest-delay").allowed({{.srtt_us = 40000}, {.srtt_us = 10000}, {.srtt_us = 20000}}) ==
          second);
    CHECK(Steered("smallest-delay")
              .allowed({{.srtt_us = 10000}, {.srtt_us = 40000}}, {.unsent_bytes = 14000}) == first);
}

TEST_CASE("further paths join in the order of their delay for what the quicker ones cannot hold",
          "[smallest-delay]") {
    // Each window takes 10 segments of 1400 octets.
    auto allowed = [](std::uint64_t unsent) {
        return Steered("smallest-delay")
            .allowed({{.srtt_us = 40000}, {.srtt_us = 10000}, {.srtt_us = 20000}}, {.unsent_bytes = unsent});
    };

    CHECK(allowed(14000) == second);
    CHECK(allowed(14001) == (second | third));
    CHECK(allowed(28000) == (second | third));
    CHECK(allowed(28001) == (first | second | third));
    CHECK(allowed(100000000) == (first | second | third));
}

TEST_CASE("a window that is full lets the next path in", "[smallest-delay]") {
    CHECK(Steered("smallest-delay")
              .allowed({{.srtt_us = 10000, .in_flight_segs = 10}, {.srtt_us = 20000}}, {.unsent_bytes = 1}) ==
          (first | second));
}

TEST_CASE("the preferred path changes only for one that is quicker by the margin", "[smallest-delay]") {
    Steered policy("smallest-delay"); // margin 10 %

    CHECK(policy.allowed({{.srtt_us = 20000}, {.srtt_us = 30000}}) == first);
    CHECK(policy.allowed({{.srtt_us = 20000}, {.srtt_us = 19000}}) == first);
    CHECK(policy.allowed({{.srtt_us = 20000}, {.srtt_us = 17000}}) == second);
    CHECK(policy.allowed({{.srtt_us = 17000}, {.srtt_us = 18000}}) == second);
}

TEST_CASE("jitter wider than the margin does not make traffic jump", "[smallest-delay]") {
    Steered policy("smallest-delay");

    CHECK(policy.allowed({{.srtt_us = 20000, .rttvar_us = 8000}, {.srtt_us = 30000}}) == first);
    CHECK(policy.allowed({{.srtt_us = 20000, .rttvar_us = 8000}, {.srtt_us = 13000}}) == first);
    CHECK(policy.allowed({{.srtt_us = 20000, .rttvar_us = 8000}, {.srtt_us = 11000}}) == second);
}

TEST_CASE("a path without an RTT sample takes its delay from the handshake", "[smallest-delay]") {
    CHECK(Steered("smallest-delay").allowed({{.srtt_us = 20000}, {.srtt_us = 0, .min_rtt_us = 5000}}) ==
          second);
    CHECK(Steered("smallest-delay").allowed({{.srtt_us = 20000}, {.srtt_us = 0, .min_rtt_us = 0}}) == first);
}

TEST_CASE("a path in trouble is left at once, whatever its delay was", "[smallest-delay]") {
    Steered policy("smallest-delay");

    CHECK(policy.allowed({{.srtt_us = 10000}, {.srtt_us = 90000}}) == first);
    CHECK(policy.allowed({{.troubled = true, .srtt_us = 10000}, {.srtt_us = 90000}}) == second);
}

TEST_CASE("the preference does not pass to another subflow that took over the index", "[smallest-delay]") {
    Steered policy("smallest-delay");

    CHECK(policy.allowed({{.srtt_us = 10000}, {.srtt_us = 20000}}) == first);
    CHECK(policy.allowed({{.fresh = true, .srtt_us = 20500}, {.srtt_us = 20000}}) == second);
}

/* ---------------------------------------------------------------- overflow */

namespace {

// Two tiers on paths of 20 ms, whose queue is looked at every 10 ms.
class Overflowing {
  public:
    explicit Overflowing(
        overflow_params params = {.reserved = 0, .full_ms = 100, .full_rtts = 4, .calm_ms = 1000})
        : params_(params) {}

    std::uint32_t at(std::uint64_t now_ms, std::uint64_t unsent, std::uint32_t notsent = 0,
                     std::uint64_t window = 1u << 20) {
        return policy_.allowed({{.priority = 0, .notsent_bytes = notsent}, {.priority = 1}},
                               {.now_us = now_ms * ms, .unsent_bytes = unsent, .window_bytes = window});
    }
    // Data waits at every look from `from_ms` to `to_ms`; the last answer.
    std::uint32_t busy(std::uint64_t from_ms, std::uint64_t to_ms) {
        std::uint32_t last = 0;

        for (std::uint64_t now = from_ms; now <= to_ms; now += 10)
            last = at(now, 100000);
        return last;
    }

  private:
    overflow_params params_;
    Steered policy_{"overflow", &params_};
};

} // namespace

TEST_CASE("the next tier opens only after data has waited for full_ms without a break", "[overflow]") {
    Overflowing stream;

    CHECK(stream.busy(10, 100) == first);
    CHECK(stream.busy(110, 120) == (first | second));
}

TEST_CASE("a stream whose queue empties now and then stays on the preferred path", "[overflow]") {
    Overflowing stream;

    for (std::uint64_t now = 0; now < 10000; now += 100) {
        CHECK(stream.busy(now + 10, now + 90) == first);
        CHECK(stream.at(now + 100, 0) == first);
    }
}

TEST_CASE("what waits in the preferred subflow's own queue counts as waiting", "[overflow]") {
    Overflowing stream;

    CHECK(stream.at(10, 0, 5000) == first);
    CHECK(stream.at(110, 0, 5000) == (first | second));
}

TEST_CASE("the end of a message that Nagle's rule holds back does not open the next tier", "[overflow]") {
    Overflowing stream;

    for (std::uint64_t now = 10; now < 5000; now += 10)
        CHECK(stream.at(now, 0, 1399) == first); // segments have 1400 bytes
}

TEST_CASE("what the peer has no room for does not open the next tier", "[overflow]") {
    Overflowing stream;

    for (std::uint64_t now = 10; now < 5000; now += 10)
        CHECK(stream.at(now, 100000, 0, 0) == first);
}

TEST_CASE("a path of long delay has four of its round trips before it is called full", "[overflow]") {
    Steered policy("overflow");
    auto at = [&](std::uint64_t now_ms) {
        return policy.allowed({{.srtt_us = 100000, .priority = 0}, {.priority = 1}},
                              {.now_us = now_ms * ms, .unsent_bytes = 100000});
    };

    CHECK(at(10) == first);
    CHECK(at(400) == first);
    CHECK(at(410) == (first | second));
}

TEST_CASE("the next tier closes when the paths have not been full for calm_ms", "[overflow]") {
    Overflowing stream;

    CHECK(stream.busy(10, 500) == (first | second));
    CHECK(stream.at(510, 0) == (first | second));
    CHECK(stream.at(1490, 0) == (first | second));
    CHECK(stream.at(1491, 100) == (first | second)); // not while something waits
    CHECK(stream.at(1501, 0) == first);
}

TEST_CASE("a bulk transfer keeps all tiers open, however long it takes", "[overflow]") {
    Overflowing stream;
    std::uint32_t flips = 0, last = stream.busy(10, 200);

    for (std::uint64_t now = 210; now < 60000; now += 10) {
        const std::uint32_t allowed = stream.at(now, 100000);

        flips += allowed != last;
        last = allowed;
    }
    CHECK(last == (first | second));
    CHECK(flips == 0);
}

TEST_CASE("a stream between the capacities costs two flips in calm_ms and full_ms", "[overflow]") {
    Overflowing stream;
    std::uint32_t flips = 0, last = stream.at(0, 0);

    // With both tiers nothing waits, with one something does.
    for (std::uint64_t now = 10; now < 60000; now += 10) {
        const std::uint32_t allowed = stream.at(now, last == first ? 100000 : 0);

        flips += allowed != last;
        last = allowed;
    }
    CHECK(flips > 50);
    CHECK(flips < 120);
}

TEST_CASE("tiers open one after the other, and the last one closes first", "[overflow]") {
    overflow_params params{.reserved = 0, .full_ms = 100, .full_rtts = 0, .calm_ms = 1000};
    Steered policy("overflow", &params);
    auto at = [&](std::uint64_t now_ms, std::uint64_t unsent) {
        return policy.allowed({{.priority = 5}, {.priority = 0}, {.priority = 2}},
                              {.now_us = now_ms * ms, .unsent_bytes = unsent});
    };

    CHECK(at(10, 1) == second);
    CHECK(at(110, 1) == (second | third));
    CHECK(at(120, 1) == (second | third));
    CHECK(at(220, 1) == (first | second | third));
    CHECK(at(1220, 0) == (second | third));
    CHECK(at(2220, 0) == second);
}

TEST_CASE("when the preferred path dies the next tier takes over, and goes when it is back", "[overflow]") {
    overflow_params params{.reserved = 0, .full_ms = 100, .full_rtts = 4, .calm_ms = 1000};
    Steered policy("overflow", &params);

    CHECK(policy.allowed({{.priority = 0}, {.priority = 1}}, {.now_us = 10 * ms}) == first);
    CHECK(policy.allowed({{.troubled = true, .priority = 0}, {.priority = 1}}, {.now_us = 20 * ms}) ==
          second);
    CHECK(policy.allowed({{.priority = 0}, {.priority = 1}}, {.now_us = 30 * ms}) == (first | second));
    CHECK(policy.allowed({{.priority = 0}, {.priority = 1}}, {.now_us = 1020 * ms}) == first);
}

TEST_CASE("when the preferred path joins late the standby path is left at once", "[overflow]") {
    Steered policy("overflow");

    CHECK(policy.allowed({{.priority = 1}, {.usable = false, .fresh = true, .priority = 0}}) == first);
    CHECK(policy.allowed({{.priority = 1}, {.fresh = true, .priority = 0}}) == second);
    CHECK(policy.allowed({{.priority = 1}, {.priority = 0}}) == second);
}

TEST_CASE("paths of equal priority are one tier, and a peer's backup ranks behind them", "[overflow]") {
    CHECK(Steered("overflow").allowed({{}, {}, {}}) == (first | second | third));
    CHECK(Steered("overflow").allowed({{.peer_backup = true}, {}, {.local_backup = true}}) == second);
}

/* ------------------------------------------------------------------- quota */

TEST_CASE("a path that has carried its quota is left, whatever its priority", "[quota]") {
    CHECK(Steered("quota").allowed({{.priority = 1}, {.quota_left_bytes = 0}}) == first);
    CHECK(Steered("quota").allowed({{.priority = 1}, {.quota_left_bytes = 65536}}) == first);
    CHECK(Steered("quota").allowed({{.priority = 1}, {.quota_left_bytes = 65537}}) == second);
    CHECK(Steered("quota").allowed({{.priority = 1}, {}}) == second);
}

TEST_CASE("what is left is for when the preferred path is full, and no longer than it lasts", "[quota]") {
    Steered policy("quota");
    auto at = [&](std::uint64_t now_ms, std::uint64_t left) {
        return policy.allowed({{}, {.priority = 1, .quota_left_bytes = left}},
                              {.now_us = now_ms * ms, .unsent_bytes = 100000});
    };

    CHECK(at(10, 10000000) == first);
    CHECK(at(200, 10000000) == (first | second));
    CHECK(at(300, 70000) == (first | second));
    CHECK(at(310, 60000) == first);
    CHECK(at(5000, 0) == first);
    // A new period.
    CHECK(at(5010, 10000000) == (first | second));
}

TEST_CASE("a path without quota left is used when nothing else is alive", "[quota]") {
    CHECK(Steered("quota").allowed({{.usable = false}, {.priority = 1, .quota_left_bytes = 0}}) == second);
    CHECK(Steered("quota").allowed({{.troubled = true}, {.priority = 1, .quota_left_bytes = 0}}) == second);
    CHECK(Steered("quota").allowed({{.quota_left_bytes = 0}, {.quota_left_bytes = 0}}) == (first | second));
}

TEST_CASE("a larger reserve stops earlier", "[quota]") {
    quota_params params = quota_defaults;

    params.reserve_bytes = 1000000;
    CHECK(Steered("quota", &params).allowed({{.priority = 1}, {.quota_left_bytes = 1000000}}) == first);
    CHECK(Steered("quota", &params).allowed({{.priority = 1}, {.quota_left_bytes = 1000001}}) == second);
}

/* ------------------------------------------------------------- round-robin */

TEST_CASE("the turn passes after turn_bytes, in the order of the subflows", "[round-robin]") {
    round_robin_params params{.reserved = 0, .turn_bytes = 100000, .patience_ms = 200};
    Steered policy("round-robin", &params);

    CHECK(policy.allowed({{}, {}, {}}) == first);
    CHECK(policy.allowed({{.bytes_acked = 50000, .outstanding_bytes = 49999}, {}, {}}) == first);
    CHECK(policy.allowed({{.bytes_acked = 50000, .outstanding_bytes = 50000}, {}, {}}) == second);
    CHECK(policy.allowed({{.bytes_acked = 100000}, {.outstanding_bytes = 100000}, {}}) == third);
    CHECK(policy.allowed({{.bytes_acked = 100000}, {.bytes_acked = 100000}, {.bytes_acked = 100000}}) ==
          first);
}

TEST_CASE("what a subflow had beyond its turn is taken off its next ones", "[round-robin]") {
    // Plays the kernel: the one that is allowed gets what its send buffer takes.
    constexpr std::array<std::uint64_t, 3> buffer{1000000, 64000, 300000};
    test::Random random(7);
    mps_state state{};
    mps_view view = test::view_of({{}, {}, {}});
    const Core &core = core_named("round-robin");
    std::uint32_t flips = 0, last = 0;
    constexpr int rounds = 20000;

    for (int round = 0; round < rounds; round++) {
        const std::uint32_t allowed = core(view, state).allowed;

        REQUIRE((allowed == first || allowed == second || allowed == third));
        flips += allowed != last;
        last = allowed;
        const std::size_t i = allowed == first ? 0 : allowed == second ? 1 : 2;
        view.sf[i].bytes_acked += buffer[i] / 2 + random() % (buffer[i] / 2);
    }
    const auto sum =
        static_cast<double>(view.sf[0].bytes_acked + view.sf[1].bytes_acked + view.sf[2].bytes_acked);
    for (std::size_t i = 0; i < 3; i++)
        CHECK(static_cast<double>(view.sf[i].bytes_acked) / sum == Catch::Approx(1.0 / 3).margin(0.005));
    CHECK(flips > 100);
}

TEST_CASE("what a subflow still gets after its turn, until it is parked, is taken off its next ones",
          "[round-robin]") {
    round_robin_params params{.reserved = 0, .turn_bytes = 100000, .patience_ms = 200};
    Steered policy("round-robin", &params);

    CHECK(policy.allowed({{}, {}}) == first);
    CHECK(policy.allowed({{.bytes_acked = 100000}, {}}) == second);
    CHECK(policy.allowed({{.bytes_acked = 220000}, {.bytes_acked = 100000}}) == second); // skips one
    CHECK(policy.allowed({{.bytes_acked = 220000}, {.bytes_acked = 200000}}) == first);
    CHECK(policy.allowed({{.bytes_acked = 299999}, {.bytes_acked = 200000}}) == first);
    CHECK(policy.allowed({{.bytes_acked = 300000}, {.bytes_acked = 200000}}) == second);
}

TEST_CASE("one that takes nothing although data waits loses its turn after patience_ms", "[round-robin]") {
    Steered policy("round-robin");
    auto at = [&](std::uint64_t now_ms, std::uint64_t unsent) {
        return policy.allowed({{}, {}}, {.now_us = now_ms * ms, .unsent_bytes = unsent});
    };

    CHECK(at(10, 100) == first);
    CHECK(at(20, 100) == first);
    CHECK(at(210, 0) == first); // it did take what waited
    CHECK(at(1000, 100) == first);
    CHECK(at(1199, 100) == first);
    CHECK(at(1200, 100) == second);
}

TEST_CASE("without data the turn stays where it is", "[round-robin]") {
    Steered policy("round-robin");

    for (std::uint64_t now = 0; now < 100; now++)
        CHECK(policy.allowed({{}, {}}, {.now_us = now * 1000 * ms}) == first);
}

TEST_CASE("a turn ends with its subflow", "[round-robin]") {
    Steered policy("round-robin");

    CHECK(policy.allowed({{}, {}}) == first);
    CHECK(policy.allowed({{.troubled = true}, {}}) == second);
    CHECK(policy.allowed({{}, {}}) == second);
    CHECK(policy.allowed({{}, {.usable = false}}) == first);
    // Another subflow at the same index starts with a turn of its own, without debts.
    CHECK(policy.allowed({{.fresh = true}, {}}) == second);
}

/* ---------------------------------------------------------- latency-budget */

namespace {

// The first path has the given RTT, the second keeps 20 ms; packets arrive on both.
class Budgeted {
  public:
    explicit Budgeted(
        latency_budget_params params = {.reserved = 0, .budget_ms = 50, .hold_ms = 500, .retry_s = 10})
        : params_(params) {}

    std::uint32_t at(std::uint64_t now_ms, std::uint32_t first_us, std::uint32_t second_us = 20000) {
        return policy_.allowed(
            {{.srtt_us = first_us, .last_rcv_age_us = 1000}, {.srtt_us = second_us, .last_rcv_age_us = 1000}},
            {.now_us = now_ms * ms});
    }

  private:
    latency_budget_params params_;
    Steered policy_{"latency-budget", &params_};
};

} // namespace

TEST_CASE("all paths within the budget are used", "[latency-budget]") {
    CHECK(Budgeted().at(1, 49999, 1) == (first | second));
    CHECK(Budgeted().at(1, 50000, 50000) == (first | second));
}

TEST_CASE("a path is left only after it broke the budget for hold_ms without a break", "[latency-budget]") {
    Budgeted voice;

    CHECK(voice.at(100, 60000) == (first | second));
    CHECK(voice.at(500, 60000) == (first | second));
    CHECK(voice.at(550, 40000) == (first | second));
    CHECK(voice.at(600, 60000) == (first | second));
    CHECK(voice.at(1099, 60000) == (first | second));
    CHECK(voice.at(1100, 60000) == second);
}

TEST_CASE("jitter that returns into the budget within hold_ms causes no switch", "[latency-budget]") {
    Budgeted voice;
    test::Random random(3);
    std::uint32_t flips = 0;

    for (std::uint64_t now = 1; now < 600000; now += 20)
        flips += voice.at(now, now % 400 < 20 ? 20000 : 20000 + random() % 60000) != (first | second);
    CHECK(flips == 0);
}

TEST_CASE(
    "a parked path is tried again after retry_s, whatever its old samples say, and twice as late after each failure",
    "[latency-budget]") {
    Budgeted voice;
    std::uint64_t now = 0;
    auto until = [&](std::uint32_t answer) {
        const std::uint64_t start = now;

        while (voice.at(now, 60000) != answer && now < start + 1000000)
            now += 100;
        return now - start;
    };

    until(second);
    CHECK(until(first | second) == 10000);
    CHECK(until(second) <= 600);
    CHECK(until(first | second) == 20000);
    until(second);
    CHECK(until(first | second) == 40000);
    for (int i = 0; i < 5; i++) {
        until(second);
        CHECK(until(first | second) <= 160000);
    }
    // Within the budget for retry_s: forgiven.
    CHECK(voice.at(now += 100, 30000) == (first | second));
    CHECK(voice.at(now += 10000, 30000) == (first | second));
    until(second);
    CHECK(until(first | second) == 10000);
}

TEST_CASE("an RTT without traffic parks nobody", "[latency-budget]") {
    Steered policy("latency-budget");

    for (std::uint64_t now = 1; now < 20000; now += 100)
        CHECK(policy.allowed({{.srtt_us = 900000, .last_rcv_age_us = 5000000}, {}}, {.now_us = now * ms}) ==
              (first | second));
    CHECK(policy.allowed({{.srtt_us = 0, .min_rtt_us = 0, .last_rcv_age_us = 0}, {}},
                         {.now_us = 30000 * ms}) == (first | second));
}

TEST_CASE("if no path keeps the budget the quickest is used alone", "[latency-budget]") {
    Budgeted voice;

    CHECK(voice.at(100, 90000, 70000) == (first | second));
    CHECK(voice.at(600, 90000, 70000) == second);
    CHECK(voice.at(700, 68000, 70000) == second); // not quicker by a tenth
    CHECK(voice.at(800, 60000, 70000) == first);
}

/* -------------------------------------------------------------------- ecf */

namespace {

// Windows of 14000 bytes, unless told otherwise; the first path is the quick one.
std::uint32_t ecf_first(std::uint32_t slow_us, std::uint64_t unsent, std::uint32_t slow_cwnd = 10,
                        std::uint32_t burst_bytes = 0) {
    ecf_params params{.reserved = 0, .beta_pct = 25, .burst_bytes = burst_bytes};

    return Steered("ecf", &params)
        .allowed({{.srtt_us = 20000}, {.srtt_us = slow_us, .cwnd_segs = slow_cwnd, .last_rcv_age_us = 1000}},
                 {.unsent_bytes = unsent});
}

} // namespace

TEST_CASE("what the quickest path's window holds goes there alone", "[ecf]") {
    CHECK(ecf_first(20001, 0) == first);
    CHECK(ecf_first(20001, 14000) == first);
    CHECK(Steered("ecf").allowed({{.srtt_us = 50000}, {.srtt_us = 10000}}, {.unsent_bytes = 14000}) ==
          second);
}

TEST_CASE("a slow path is used once waiting would take longer", "[ecf]") {
    // (1 + k/14000)·20 ms against 100 ms: four windows.
    CHECK(ecf_first(100000, 55000) == first);
    CHECK(ecf_first(100000, 56001) == (first | second));
    // Two paths alike: at once.
    CHECK(ecf_first(21000, 14001) == (first | second));
}

TEST_CASE("a slow path is used if what waits fits there in twice the quick path's round trip", "[ecf]") {
    // One round of 39 ms for it all; waiting takes 20·(1 + 14001/14000) ms, 40.
    CHECK(ecf_first(39000, 14001, 100) == (first | second));
    CHECK(ecf_first(41000, 14001, 100) == first);
}

TEST_CASE("what a burst takes on the slow path is counted in its present windows", "[ecf]") {
    // 70000 bytes are five rounds there, so 500 ms and not 100.
    CHECK(ecf_first(100000, 70000, 10, 0) == (first | second));
    CHECK(ecf_first(100000, 70000, 10, 65536) == first);
    CHECK(ecf_first(100000, 70000, 100, 65536) == (first | second));
    CHECK(ecf_first(100000, 1000000, 10, 65536) == (first | second));
}

TEST_CASE("one that is being waited out stays so until waiting looks worse by beta", "[ecf]") {
    ecf_params params{.reserved = 0, .beta_pct = 25, .burst_bytes = 0};
    Steered policy("ecf", &params);
    auto at = [&](std::uint64_t unsent) {
        return policy.allowed({{.srtt_us = 20000}, {.srtt_us = 100000}}, {.unsent_bytes = unsent});
    };

    CHECK(at(50000) == first);
    CHECK(at(60000) == first); // 105.7 ms against 100, but below 125
    CHECK(at(73000) == first);
    CHECK(at(73501) == (first | second));
}

TEST_CASE("a subflow that was needed stays open for a round trip, but not beyond the end", "[ecf]") {
    Steered policy("ecf");
    auto at = [&](std::uint64_t now_ms, std::uint64_t unsent, std::uint32_t outstanding) {
        return policy.allowed({{.srtt_us = 20000, .outstanding_bytes = outstanding}, {.srtt_us = 30000}},
                              {.now_us = now_ms * ms, .unsent_bytes = unsent});
    };

    CHECK(at(100, 900000, 1000) == (first | second));
    CHECK(at(120, 100, 1000) == (first | second));
    CHECK(at(130, 100, 1000) == first);
    CHECK(at(140, 900000, 1000) == (first | second));
    CHECK(at(141, 0, 0) == first);
}

TEST_CASE("a path that never had a sample is given something to measure", "[ecf]") {
    CHECK(Steered("ecf").allowed({{.srtt_us = 20000}, {.srtt_us = 0, .min_rtt_us = 0}},
                                 {.unsent_bytes = 14001}) == (first | second));
    CHECK(Steered("ecf").allowed({{.srtt_us = 20000}, {.srtt_us = 0, .min_rtt_us = 900000}},
                                 {.unsent_bytes = 14001}) == first);
}

TEST_CASE("the window of an idle subflow counts as the ten segments it restarts with", "[ecf]") {
    auto at = [](std::uint32_t age_us) {
        return Steered("ecf").allowed(
            {{.srtt_us = 20000}, {.srtt_us = 100000, .cwnd_segs = 100, .last_rcv_age_us = age_us}},
            {.unsent_bytes = 70000});
    };

    CHECK(at(1000) == (first | second));
    CHECK(at(400000) == first);
}

/* ------------------------------------------------------------------ blest */

namespace {

// Two paths of 20 and 100 ms with windows of 14000 bytes: λX is 100800 bytes at λ = 1.2.
std::uint32_t blest_with(std::uint64_t window, std::uint32_t on_slow = 0, std::uint32_t burst = 0) {
    blest_params params{
        .reserved = 0, .burst_bytes = burst, .margin_pct = 0, .lambda_least = 1200, .lambda_most = 1200};

    return Steered("blest", &params)
        .allowed({{.srtt_us = 20000}, {.srtt_us = 100000, .outstanding_bytes = on_slow}},
                 {.unsent_bytes = 90000, .window_bytes = window});
}

} // namespace

TEST_CASE("a slow path is skipped if the quick one could then fill the send window", "[blest]") {
    CHECK(blest_with(100799) == first);
    CHECK(blest_with(100800) == (first | second));
}

TEST_CASE("what the slow path holds already, and the burst it would get, take from the window", "[blest]") {
    CHECK(blest_with(110000, 10000) == first);
    CHECK(blest_with(110800, 10000) == (first | second));
    CHECK(blest_with(166000, 0, 65536) == first);
    CHECK(blest_with(166336, 0, 65536) == (first | second));
}

TEST_CASE("what the quickest path's window holds goes there alone, whatever room there is", "[blest]") {
    CHECK(Steered("blest").allowed({{.srtt_us = 20000}, {.srtt_us = 21000}},
                                   {.unsent_bytes = 14000, .window_bytes = 1u << 30}) == first);
    CHECK(Steered("blest").allowed({{.srtt_us = 20000}, {.srtt_us = 21000}},
                                   {.unsent_bytes = 14001, .window_bytes = 1u << 30}) == (first | second));
}

TEST_CASE("lambda grows while the window blocks and shrinks while it does not", "[blest]") {
    blest_params params{
        .reserved = 0, .burst_bytes = 0, .margin_pct = 0, .lambda_least = 1000, .lambda_most = 1300};
    Steered policy("blest", &params);
    std::uint64_t now = 0;
    // λX is 84000·λ here.
    auto at = [&](std::uint64_t window) {
        return policy.allowed({{.srtt_us = 20000}, {.srtt_us = 100000}},
                              {.now_us = (now += 200) * ms, .unsent_bytes = 90000, .window_bytes = window});
    };

    for (int i = 0; i < 30; i++)
        at(1u << 20);
    CHECK(at(84000) == (first | second)); // 1.0
    for (int i = 0; i < 30; i++)
        at(0);
    CHECK(at(1) == first);
    CHECK(at(107000) == first); // still about 1.3
    CHECK(at(109200) == (first | second));
}

TEST_CASE("a skipped path returns only when there is room to spare", "[blest]") {
    blest_params params{
        .reserved = 0, .burst_bytes = 0, .margin_pct = 10, .lambda_least = 1000, .lambda_most = 1000};
    Steered policy("blest", &params);
    auto at = [&](std::uint64_t now_ms, std::uint64_t window) {
        return policy.allowed({{.srtt_us = 20000}, {.srtt_us = 100000}},
                              {.now_us = now_ms * ms, .unsent_bytes = 80000, .window_bytes = window});
    };

    CHECK(at(100, 90000) == first);
    CHECK(at(200, 92400) == (first | second));
    CHECK(at(400, 85000) == (first | second));
    CHECK(at(600, 83999) == first);
}

TEST_CASE("blest gives a path without a sample something to measure", "[blest]") {
    CHECK(Steered("blest").allowed({{.srtt_us = 20000}, {.srtt_us = 0, .min_rtt_us = 0}},
                                   {.unsent_bytes = 14001}) == (first | second));
}

/* ------------------------------------------------------------------ otias */

TEST_CASE("a burst goes where it arrives first, although the window there is full", "[otias]") {
    // 20/2 + one round of 20 is earlier than 100/2.
    CHECK(Steered("otias").allowed({{.srtt_us = 20000, .in_flight_segs = 20}, {.srtt_us = 100000}}) == first);
    CHECK(Steered("otias").allowed({{.srtt_us = 20000, .in_flight_segs = 10, .notsent_bytes = 42000},
                                    {.srtt_us = 100000}}) == second);
}

TEST_CASE("bursts that wait are placed one after the other", "[otias]") {
    otias_params params{.reserved = 0, .burst_bytes = 14000, .margin_pct = 0};
    auto with = [&](std::uint64_t unsent) {
        return Steered("otias", &params)
            .allowed({{.srtt_us = 20000}, {.srtt_us = 100000}}, {.unsent_bytes = unsent});
    };

    // On the quick one they arrive after 10, 10, 30, 50, 70 ms; on the other after 50.
    CHECK(with(14000) == first);
    CHECK(with(14000 * 4) == first);
    CHECK(with(14000 * 5) == (first | second));
}

TEST_CASE("the first choice changes only for an arrival that is earlier by the margin", "[otias]") {
    Steered policy("otias");

    CHECK(policy.allowed({{.srtt_us = 20000}, {.srtt_us = 30000}}) == first);
    CHECK(policy.allowed({{.srtt_us = 20000}, {.srtt_us = 19000}}) == first);
    CHECK(policy.allowed({{.srtt_us = 20000}, {.srtt_us = 17000}}) == second);
}

TEST_CASE("one without a sample counts as a path of 100 ms", "[otias]") {
    CHECK(Steered("otias").allowed({{.srtt_us = 99000}, {.srtt_us = 0, .min_rtt_us = 0}}) == first);
    CHECK(Steered("otias").allowed({{.srtt_us = 101000}, {.srtt_us = 0, .min_rtt_us = 0}}) == second);
}

/* ----------------------------------------------------------------- energy */

namespace {

constexpr std::uint32_t asleep = 60000000, awake = 1000;

// WiFi of 8 and LTE of 12 Mbit/s, as their windows say.
mps_view wifi_and_lte(std::uint64_t moved, std::uint32_t lte_age_us, std::uint64_t unsent = 10000) {
    return view_of(
        {{.srtt_us = 14000, .bytes_acked = moved, .energy_class = MPS_ENERGY_WIFI, .last_rcv_age_us = awake},
         {.srtt_us = 9333, .energy_class = MPS_ENERGY_LTE, .last_rcv_age_us = lte_age_us}},
        {.unsent_bytes = unsent});
}

energy_params energy_with(std::uint32_t device_mw) {
    energy_params params = energy_defaults;

    params.device_mw = device_mw;
    return params;
}

} // namespace

TEST_CASE("a small message does not wake a radio with a long tail, although it is quicker", "[energy]") {
    for (std::uint64_t unsent : {0, 1400, 10000, 1000000})
        CHECK(Steered("energy").allowed(wifi_and_lte(0, asleep, unsent)) == first);
}

TEST_CASE("a radio that is awake is cheap enough to help where a sleeping one is not", "[energy]") {
    const auto params = energy_with(5000);

    CHECK(Steered("energy", &params).allowed(wifi_and_lte(0, asleep, 100000)) == first);
    CHECK(Steered("energy", &params).allowed(wifi_and_lte(0, awake, 100000)) == (first | second));
}

TEST_CASE("a transfer that turns out long gets the second radio once that pays, and keeps it", "[energy]") {
    const auto params = energy_with(5000);
    Steered policy("energy", &params);

    CHECK(policy.allowed(wifi_and_lte(0, asleep)) == first);
    CHECK(policy.allowed(wifi_and_lte(5000000, asleep)) == first);
    CHECK(policy.allowed(wifi_and_lte(20000000, asleep)) == (first | second));
    CHECK(policy.allowed(wifi_and_lte(20100000, awake)) == (first | second));
    // The next one is thought to be small again.
    CHECK(policy.allowed(wifi_and_lte(20200000, asleep, 0)) == first);
    CHECK(policy.allowed(wifi_and_lte(20210000, asleep)) == first);
}

TEST_CASE("without the device's own power the least power for each byte is all that counts", "[energy]") {
    const auto params = energy_with(0);
    Steered policy("energy", &params);

    CHECK(policy.allowed(wifi_and_lte(0, awake)) == first);
    CHECK(policy.allowed(wifi_and_lte(1000000000, awake)) == first);
}

TEST_CASE("a path on mains costs nothing", "[energy]") {
    CHECK(Steered("energy").allowed({{.energy_class = MPS_ENERGY_WIFI, .last_rcv_age_us = awake}, {}}) ==
          second);
}

TEST_CASE("a radio is paid for once, however many subflows are on it", "[energy]") {
    const Subflow wifi{.energy_class = MPS_ENERGY_WIFI, .last_rcv_age_us = awake, .ifindex = 5};
    const Subflow lte{.energy_class = MPS_ENERGY_LTE, .last_rcv_age_us = asleep, .ifindex = 6};

    // A second subflow only adds to the rate, unless the second one wakes a second radio.
    CHECK(Steered("energy").allowed({wifi, lte, wifi}, {.unsent_bytes = 100000}) == (first | third));
    // The radio is awake when the other subflow on it is.
    auto talking = lte;
    talking.last_rcv_age_us = awake;
    const auto params = energy_with(5000);
    CHECK(Steered("energy", &params).allowed({wifi, lte}, {.unsent_bytes = 100000}) == first);
    CHECK(Steered("energy", &params).allowed({wifi, lte, talking}, {.unsent_bytes = 100000}) ==
          (first | second | third));
}

TEST_CASE("the user's own numbers decide", "[energy]") {
    auto params = energy_with(0);
    params.wifi_up_mw = 5000;

    CHECK(Steered("energy", &params).allowed(wifi_and_lte(0, asleep, 20000000)) == second);
    params.lte_tail_ms = 60000;
    params.lte_tail_mw = 100000;
    CHECK(Steered("energy", &params).allowed(wifi_and_lte(0, asleep, 20000000)) == first);
}

TEST_CASE("rates that change a little do not change the set", "[energy]") {
    auto params = energy_with(0);
    auto after_swap = [&] {
        Steered policy("energy", &params);
        auto at = [&](std::uint32_t first_us, std::uint32_t second_us) {
            return policy.allowed(
                {{.srtt_us = first_us, .energy_class = MPS_ENERGY_WIFI, .last_rcv_age_us = awake},
                 {.srtt_us = second_us, .energy_class = MPS_ENERGY_WIFI, .last_rcv_age_us = awake}},
                {.unsent_bytes = 10000});
        };

        CHECK(at(20000, 21000) == first);
        return at(21000, 20000);
    };

    CHECK(after_swap() == first);
    params.margin_pct = 0;
    CHECK(after_swap() == second);
}

/* --------------------------------------------------------------- deadline */

namespace {

// A cheap path of 1 MB/s by its window, and a costly one; deadline 4 s, of which 3.6 are aimed at.
class Due {
  public:
    explicit Due(std::uint32_t message_bytes = 0)
        : params_{.reserved = 0,
                  .deadline_ms = 4000,
                  .message_bytes = message_bytes,
                  .alpha_pct = 90,
                  .margin_pct = 10} {}

    std::uint32_t at(std::uint64_t now_ms, std::uint64_t unsent, std::uint64_t acked = 0) {
        return policy_.allowed({{.srtt_us = 14000, .bytes_acked = acked, .cost = 1}, {.cost = 10}},
                               {.now_us = now_ms * ms, .unsent_bytes = unsent});
    }

  private:
    deadline_params params_;
    Steered policy_{"deadline", &params_};
};

} // namespace

TEST_CASE("the costly path stays off while the cheap one is in time", "[deadline]") {
    CHECK(Due().at(1000, 3580000) == first);
    CHECK(Due().at(1000, 3600000) == (first | second));
}

TEST_CASE("time that passes without progress brings the costly path in", "[deadline]") {
    Due message;

    CHECK(message.at(1000, 3000000) == first);
    CHECK(message.at(1400, 3000000) == (first | second));
}

TEST_CASE("the measured rate counts, not the window", "[deadline]") {
    Due message;
    std::uint64_t acked = 0;
    std::uint32_t last = 0;

    CHECK(message.at(1000, 1500000) == first);
    // A quarter of what the window promises.
    for (std::uint64_t now = 1050; now < 1400; now += 50) {
        last = message.at(now, 1500000 - acked, acked);
        acked += 12500;
    }
    CHECK(last == (first | second));
}

TEST_CASE("the costly path goes when the cheap one is in time by the margin", "[deadline]") {
    Due message;

    CHECK(message.at(1000, 4000000) == (first | second));
    CHECK(message.at(1001, 3300000) == (first | second));
    CHECK(message.at(1002, 3200000) == first);
}

TEST_CASE("late is late: all paths until the message is through", "[deadline]") {
    Due message;

    CHECK(message.at(1000, 1000) == first);
    CHECK(message.at(4600, 1000) == (first | second));
    CHECK(message.at(4700, 0) == first);
    CHECK(message.at(9000, 1000) == first); // another message
}

TEST_CASE("a size that is known counts from the first byte on", "[deadline]") {
    Due message(5000000);

    CHECK(message.at(1000, 100000) == (first | second));
    CHECK(message.at(1010, 100000, 3000000) == first);
}

TEST_CASE("paths of one cost are all cheap", "[deadline]") {
    CHECK(Steered("deadline").allowed({{}, {}, {.cost = 1}}, {.unsent_bytes = 1}) == (first | second));
    CHECK(Steered("deadline").allowed({{.troubled = true}, {.cost = 5}}, {.unsent_bytes = 1}) == second);
}

/* ------------------------------------------------------------- ratio-probe */

namespace {

// Two paths as they answer a policy: each takes what it is allowed at its own capacity, the slower one of a share
// holds up the other.
class Sharing {
  public:
    Sharing(double first_rate, double second_rate) : rate_{first_rate, second_rate} {}

    void capacity(double first_rate, double second_rate) {
        rate_[0] = first_rate;
        rate_[1] = second_rate;
    }

    // One millisecond; bytes delivered by both.
    double step() {
        mps_view view = view_of({{.srtt_us = 10000, .cwnd_segs = 20, .bytes_acked = acked(0)},
                                 {.srtt_us = 10000, .cwnd_segs = 20, .bytes_acked = acked(1)}},
                                {.now_us = now_us_ += ms, .unsent_bytes = 1000000});
        const std::uint32_t allowed = policy_.allowed(view);
        double sum = 0;
        for (std::uint32_t i = 0; i < 2; i++) {
            if (!(allowed >> i & 1))
                continue;
            acked_[i] += rate_[i];
            sum += rate_[i];
        }
        return sum;
    }

    double mean(int steps) {
        double sum = 0;
        for (int i = 0; i < steps; i++)
            sum += step();
        return sum / steps;
    }

  private:
    std::uint64_t acked(int i) const { return static_cast<std::uint64_t>(acked_[i]); }

    Steered policy_{"ratio-probe"};
    double rate_[2];
    double acked_[2] = {0, 0};
    std::uint64_t now_us_ = 0;
};

} // namespace

TEST_CASE("the ratio of the rates is found although windows and delays tell of another", "[ratio-probe]") {
    Sharing paths(5000, 1000);

    // By the windows both would carry the same, so the slower one would set the pace: 2000 a millisecond.
    CHECK(paths.mean(200) < 4000);
    paths.mean(10000);
    CHECK(paths.mean(3000) > 5000);
}

TEST_CASE("rates that change are found again", "[ratio-probe]") {
    Sharing paths(5000, 1000);

    paths.mean(10000);
    paths.capacity(1000, 5000);
    paths.mean(10000);
    CHECK(paths.mean(3000) > 5000);
}

TEST_CASE("who leads when a period ends still leads when the next one begins", "[ratio-probe]") {
    Steered policy("ratio-probe");
    auto at = [&](std::uint64_t now_ms, std::uint64_t given) {
        return policy.allowed({{.bytes_acked = given}, {}}, {.now_us = now_ms * ms, .unsent_bytes = 1000000});
    };

    CHECK(at(1000, 0) == (first | second));
    CHECK(at(1099, 300000) == second);
    CHECK(at(1101, 300000) == second);
}

TEST_CASE("a subflow that is silent with data in flight is left before its timer runs out", "[ratio-probe]") {
    Steered policy("ratio-probe");
    auto heard = [&](std::uint32_t age_us, std::uint32_t in_flight) {
        return policy.allowed({{.srtt_us = 4000, .in_flight_segs = in_flight, .last_rcv_age_us = age_us},
                               {.last_rcv_age_us = 0}});
    };

    CHECK(heard(1000, 10) == (first | second));
    CHECK(heard(40000, 10) == second);
    CHECK(heard(0, 10) == (first | second));    // back with its first packet
    CHECK(heard(40000, 0) == (first | second)); // idle is not silent
}

/* ----------------------------------------------------------------- learned */

namespace {

// A connection whose slower path either helps or blocks: what is delivered follows from what was allowed `late` looks (of 5 ms)
// before.
double waited_share(bool slow_helps, int epochs, std::size_t late = 0) {
    Steered policy("learned");
    std::uint64_t acked = 0, now_us = 0;
    std::deque<std::uint32_t> before(late, first | second);
    int waits = 0, counted = 0;

    for (int i = 0; i < epochs * 20; i++) {
        const std::uint32_t allowed =
            policy.allowed({{.srtt_us = 10000,
                             .cwnd_segs = 10,
                             .in_flight_segs = 10,
                             .bytes_acked = acked,
                             .outstanding_bytes = 14000},
                            {.srtt_us = 100000, .cwnd_segs = 50, .outstanding_bytes = 10000}},
                           {.now_us = now_us += 5 * ms, .unsent_bytes = 1000000, .unacked_bytes = 24000});

        // 5 ms: the quick one alone carries 7,000 bytes; with the slow one 10,500, or hardly any when that blocks.
        before.push_back(allowed);
        acked += before.front() == first ? 7000 : slow_helps ? 10500 : 1500;
        before.pop_front();
        if (i < epochs * 10)
            continue;
        counted++;
        waits += allowed == first;
    }
    return static_cast<double>(waits) / counted;
}

} // namespace

TEST_CASE("a slow subflow that blocks is learned to be waited out, one that helps to be used", "[learned]") {
    const double blocking = waited_share(false, 200), helping = waited_share(true, 200);

    INFO("waits: " << blocking << " when it blocks, " << helping << " when it helps");
    CHECK(blocking > 0.8);
    CHECK(helping < 0.2);
}

TEST_CASE("what is delivered a round trip late is learned from all the same", "[learned]") {
    const double blocking = waited_share(false, 600, 20), helping = waited_share(true, 600, 20);

    INFO("waits: " << blocking << " when it blocks, " << helping << " when it helps");
    CHECK(blocking > 0.8);
    CHECK(helping < 0.2);
}

TEST_CASE("the quickest subflow is used alone while it has room, and at the end of a transfer", "[learned]") {
    CHECK(Steered("learned").allowed({{.srtt_us = 10000}, {.srtt_us = 100000}}, {.unsent_bytes = 1000}) ==
          first);
    CHECK(Steered("learned").allowed({{.srtt_us = 100000}, {.srtt_us = 10000}}) == second);
}

/* ------------------------------------------------------------------- auto */

namespace {

// A connection whose second path is slower: 20 and 200 ms.
std::uint32_t auto_first_decision(std::uint64_t unsent, std::uint32_t slow_us = 200000,
                                  std::uint64_t window = 1u << 30) {
    return Steered("auto").allowed(
        {{.fresh = true, .srtt_us = 20000}, {.fresh = true, .srtt_us = slow_us, .min_rtt_us = slow_us}},
        {.unsent_bytes = unsent, .window_bytes = window});
}

} // namespace

TEST_CASE("auto foresees rounds of a window that doubles, the bottleneck, and what is ahead", "[auto]") {
    // 20 ms, 1000 bytes/ms, a window of 10000 bytes that may double up to 40000.
    const auto_model idle{.rtt_us = 20000,
                          .inverse = (1000u << 20) / 1000,
                          .rate = 500,
                          .soon = 1000,
                          .window = 10000,
                          .ssthresh = 40000};
    auto us = [](const auto_model &m, std::uint64_t bytes, auto_window window = AUTO_AS_IT_IS) {
        return auto_arrival_us(&m, bytes, window);
    };

    CHECK(us(idle, 5000) == 5000 + 10000);
    CHECK(us(idle, 15000) == 20000 + 5000 + 10000); // what does not fit waits for a round trip
    CHECK(us(idle, 10000 + 20000 + 5000) == 40000 + 5000 + 10000);
    CHECK(us(idle, 10000 + 20000 + 40000 + 1000) ==
          40000 + 40000 + 1000 + 10000); // now the bottleneck limits
    CHECK(us(idle, 35000, AUTO_GROWN) == 35000 + 10000);

    auto busy = idle;
    busy.queue = 5000;
    CHECK(us(busy, 5000) == 10000 + 10000);
    busy.head_us = 4000; // of what is ahead, so much has passed
    CHECK(us(busy, 5000) == 6000 + 10000);
    busy.most = 9000; // and no more than that is trusted to it as yet
    CHECK(us(busy, 5000) == AUTO_NEVER_US);
}

TEST_CASE("auto reckons with the held back end of a second burst, and with a limit", "[auto]") {
    const auto_model m{
        .rtt_us = 20000, .inverse = (1000u << 20) / 1000, .rate = 1000, .soon = 1000, .window = 1u << 30};
    const std::uint32_t one = 65536 + 10000;

    CHECK(auto_late_us(&m, 65536, 0, 0, AUTO_AS_IT_IS) == one);
    CHECK(auto_late_us(&m, 66000, 0, 0, AUTO_AS_IT_IS) == one + 20000);
    CHECK(auto_late_us(&m, 66000, 1, 0, AUTO_AS_IT_IS) == 66000 + 10000); // bulk has no end
    CHECK(auto_late_us(&m, 60000, 0, 500, AUTO_AS_IT_IS) == 60000 + 10000 + 60000);
    CHECK(auto_late_us(&m, 60000, 0, 2000, AUTO_AS_IT_IS) == 60000 + 10000);
}

TEST_CASE("a message goes where it arrives first, whichever subflow was the first", "[auto]") {
    CHECK(auto_first_decision(1000) == first);
    CHECK(auto_first_decision(60000) == first);
    CHECK(Steered("auto").allowed({{.fresh = true, .srtt_us = 200000, .min_rtt_us = 200000}, {.fresh = true}},
                                  {.unsent_bytes = 1000}) == second);
}

TEST_CASE("a slow path is opened once its burst is not the last to arrive", "[auto]") {
    // Windows of 14000 bytes that do not grow: 140000 bytes take ten round trips of 20 ms.
    CHECK(auto_first_decision(140000, 600000) == first);
    CHECK(auto_first_decision(140000, 100000) == (first | second));
    CHECK(auto_first_decision(1000000, 600000) == (first | second));
}

TEST_CASE("a slow path stays closed if its burst would close the receive window", "[auto]") {
    CHECK(auto_first_decision(1000000, 600000, 1u << 30) == (first | second));
    CHECK(auto_first_decision(1000000, 600000, 200000) == first);
}

TEST_CASE("a path is not closed for what the receive window does not take yet", "[auto]") {
    Steered policy("auto");
    auto with_window = [&](std::uint64_t free, std::uint64_t unsent, bool fresh = false) {
        return policy.allowed(
            {{.fresh = fresh, .srtt_us = 10000, .cwnd_segs = 250, .outstanding_bytes = 350000},
             {.fresh = fresh,
              .srtt_us = 40000,
              .min_rtt_us = 40000,
              .cwnd_segs = 200,
              .outstanding_bytes = 280000}},
            {.unsent_bytes = unsent, .window_bytes = free, .unacked_bytes = 2100000});
    };

    CHECK(with_window(1u << 30, 3600000, true) == (first | second));
    // 3.7 MB wait, but the kernel can hand out only what the window opens for, a burst at a time. It has arrived on the slower path
    // in 60 ms, when the quick one will have sent as much as the window holds; 1.5 MB would take 200 ms.
    CHECK(with_window(0, 3700000) == (first | second));
}

TEST_CASE("a path that is about as quick stays open between transfers, a slow one does not", "[auto]") {
    CHECK(Steered("auto").allowed({{.fresh = true, .srtt_us = 20000}, {.fresh = true, .srtt_us = 21000}}) ==
          (first | second));
    CHECK(auto_first_decision(0) == first);
    // Nothing tells yet whether it is slow.
    CHECK(Steered("auto").allowed({{.fresh = true}, {.fresh = true, .srtt_us = 0, .min_rtt_us = 0}}) ==
          (first | second));
}

TEST_CASE("a path that was never used is judged by its handshake", "[auto]") {
    CHECK(Steered("auto").allowed(
              {{.fresh = true, .srtt_us = 50000}, {.fresh = true, .srtt_us = 0, .min_rtt_us = 10000}},
              {.unsent_bytes = 1000}) == second);
}

TEST_CASE("a subflow that should have answered long ago is left out", "[auto]") {
    Steered policy("auto");
    auto at = [&](std::uint64_t now_ms) {
        return policy.allowed({{.fresh = now_ms == 100, .outstanding_bytes = 1000},
                               {.fresh = now_ms == 100, .srtt_us = 90000, .min_rtt_us = 90000}},
                              {.now_us = now_ms * ms, .unsent_bytes = 1000, .self = 1});
    };

    CHECK(at(100) == first);
    CHECK(at(139) == first);
    CHECK(at(141) == second); // 1.5 round trips and 10 ms
}

TEST_CASE("a slow path whose window is full is judged by when it opens", "[auto]") {
    Steered policy("auto");
    // 560 bytes a millisecond over the quick path, 80000 are on it and 60000 wait: 250 ms. The slow one's window of 56000 bytes is
    // nearly full: a round trip of 380 ms until the rest can leave, and half of one.
    auto at = [&](std::uint64_t since_ms) {
        mps_view view = view_of({{.fresh = since_ms == 0,
                                  .srtt_us = 10000,
                                  .min_rtt_us = 10000,
                                  .cwnd_segs = 4,
                                  .outstanding_bytes = 80000},
                                 {.fresh = since_ms == 0,
                                  .srtt_us = 380000,
                                  .min_rtt_us = 380000,
                                  .cwnd_segs = 40,
                                  .outstanding_bytes = 54000}},
                                {.now_us = (1000 + since_ms) * ms, .unsent_bytes = 60000});
        view.sf[1].ssthresh_segs = 1000;
        return policy.allowed(view);
    };

    CHECK(at(0) == first);
    CHECK(at(300) == first);
    CHECK((at(370) & second) == second);
}

TEST_CASE("a path in trouble is left out", "[auto]") {
    CHECK(Steered("auto").allowed({{.troubled = true}, {.srtt_us = 200000}}, {.unsent_bytes = 1000}) ==
          second);
}

namespace {

/*
 * An upload over a path of 10 Mbit/s and 4 ms with a full send buffer and the queue that makes, beside a second path of 100 ms that has carried nothing
 * and whose handshake waited for ARP: 200 ms. The writer is woken when a third of the buffer is free and comes `late_ms` after that.
 * Returns at what part of the decisions behind the first 2 MB the second path was open.
 */
double upload_with_second_open(std::uint64_t buffer, std::uint32_t segs_an_ack, double late_ms) {
    constexpr double bytes_a_ms = 1190;
    constexpr std::uint64_t whole = 16'000'000;
    Steered policy("auto");
    std::uint64_t acked = 0, on_it = 0;
    double now_ms = 2000, wake_ms = 0;
    int decisions = 0, open = 0;
    auto opened = [&](bool fresh) {
        const auto in_flight = std::min<std::uint64_t>(on_it, 120 * 1400);
        Subflow quick{.fresh = fresh,
                      .srtt_us =
                          static_cast<std::uint32_t>(4000 + 1000 * static_cast<double>(on_it) / bytes_a_ms),
                      .min_rtt_us = 4000,
                      .cwnd_segs = 120,
                      .bytes_acked = acked,
                      .outstanding_bytes = static_cast<std::uint32_t>(on_it),
                      .notsent_bytes = static_cast<std::uint32_t>(on_it - in_flight)};
        Subflow slow{.fresh = fresh, .srtt_us = 200000, .rttvar_us = 100000, .min_rtt_us = 200000};
        auto view = view_of({quick, slow}, {.now_us = static_cast<std::uint64_t>(now_ms * 1000),
                                            .window_bytes = 300000,
                                            .unacked_bytes = on_it});
        view.sf[0].ssthresh_segs = 70;
        view.sf[1].ssthresh_segs = 0x7fffffff;
        return (policy.allowed(view) & second) != 0;
    };

    opened(true);
    for (on_it = buffer; acked < whole;) {
        const auto got = std::min<std::uint64_t>(on_it, std::uint64_t{1400} * segs_an_ack);
        acked += got;
        on_it -= got;
        now_ms += static_cast<double>(got + !got) / bytes_a_ms;
        const bool now_open = opened(false);
        if (acked > 2'000'000) {
            ++decisions;
            open += now_open;
        }
        if (!wake_ms && on_it <= buffer * 2 / 3)
            wake_ms = now_ms + late_ms;
        if (wake_ms && now_ms >= wake_ms) {
            on_it = buffer;
            wake_ms = 0;
        }
    }
    return static_cast<double>(open) / decisions;
}

} // namespace

TEST_CASE("a long upload tries a second path, however small its send buffer and late its writer are",
          "[auto]") {
    for (std::uint64_t buffer : {87040u, 174080u, 400000u}) {
        for (std::uint32_t segs : {2u, 8u, 20u}) {
            for (double late_ms : {0.0, 10.0}) {
                INFO("buffer " << buffer << ", " << segs << " segments an ACK, writer " << late_ms
                               << " ms late");
                CHECK(upload_with_second_open(buffer, segs, late_ms) > 0.8);
            }
        }
    }
}

namespace {

// How much of the end of a long upload over 20 Mbit/s the second path is open: as quick, 400 ms instead of 8. Each round trip in
// which it was used makes its window twice as large and, if they grow, the receive window and the send buffer half as large again.
double upload_with_far_path_open(bool buffers_grow) {
    constexpr std::uint32_t bytes_a_ms = 2500, far_ms = 400, rounds_ms = 40000;
    Steered policy("auto");
    std::uint64_t acked[2]{}, room = 300'000;
    std::uint32_t near = 200'000, far = 0, far_window = 10, far_since_ms = 0, decisions = 0, open = 0;
    bool allowed_far = false;

    for (std::uint32_t at_ms = 0; at_ms < rounds_ms; ++at_ms) {
        bool far_answers = false;
        if (far && at_ms - far_since_ms >= far_ms) {
            const auto got = std::min(far, bytes_a_ms);
            acked[1] += got;
            far -= got;
            far_answers = true;
            if (!far) {
                far_window = std::min(far_window * 2, 800u);
                room = buffers_grow ? std::min<std::uint64_t>(room * 3 / 2, 6'000'000) : room;
            }
        } else if (allowed_far && !far) {
            far = std::min<std::uint32_t>(far_window * 1400, 65536);
            far_since_ms = at_ms;
        }
        acked[0] += std::min(near, bytes_a_ms);
        near -= std::min(near, bytes_a_ms);
        if (near <= room / 2)
            near = static_cast<std::uint32_t>(room * 3 / 4);
        auto view = view_of({{.fresh = at_ms == 0,
                              .srtt_us = 8000 + near * 1000 / bytes_a_ms,
                              .min_rtt_us = 8000,
                              .cwnd_segs = 200,
                              .bytes_acked = acked[0],
                              .outstanding_bytes = near,
                              .notsent_bytes = near > 280'000 ? near - 280'000 : 0},
                             {.fresh = at_ms == 0,
                              .srtt_us = far_ms * 1000,
                              .min_rtt_us = far_ms * 1000,
                              .cwnd_segs = far_window,
                              .bytes_acked = acked[1],
                              .outstanding_bytes = far}},
                            {.now_us = (1000 + at_ms) * ms,
                             .unsent_bytes = room / 4,
                             .self = far_answers ? 1u : 0u,
                             .window_bytes = room - near - far,
                             .unacked_bytes = near + far});
        view.sf[0].ssthresh_segs = 100;
        view.sf[1].ssthresh_segs = 0x7fffffff;
        allowed_far = (policy.allowed(view) & second) != 0;
        decisions += at_ms > rounds_ms / 2;
        open += at_ms > rounds_ms / 2 && allowed_far;
    }
    return static_cast<double>(open) / decisions;
}

} // namespace

TEST_CASE("a long upload goes on trying a far path where the buffers grow by it, and not where they do not",
          "[auto]") {
    CHECK(upload_with_far_path_open(true) > 0.5);
    CHECK(upload_with_far_path_open(false) < 0.1);
}

TEST_CASE("an application that refills the send buffer is thought to have as much more to send", "[auto]") {
    Steered policy("auto");
    // 200 kB are under way at each look, 2 MB a second are acknowledged; nothing waits above the subflows.
    auto at = [&](std::uint64_t round, std::uint64_t written) {
        const std::uint64_t acked = round * 10000;

        return policy.allowed({{.fresh = round == 0,
                                .cwnd_segs = 100,
                                .bytes_acked = acked,
                                .outstanding_bytes = static_cast<std::uint32_t>(written - acked)},
                               {.fresh = round == 0, .srtt_us = 100000, .min_rtt_us = 100000}},
                              {.now_us = (1000 + 5 * round) * ms, .unacked_bytes = written - acked});
    };

    CHECK(at(0, 200000) == first);
    CHECK(at(1, 200000) == first);
    for (std::uint64_t round = 2; round < 200; ++round)
        at(round, 200000 + 10000 * round);
    CHECK((at(200, 2200000) & second) == second);
    // It has stopped: half of what was under way is acknowledged and nothing came after.
    for (std::uint64_t round = 201; round < 211; ++round)
        at(round, 2200000);
    CHECK((at(219, 2200000) & first) == first);
}

namespace {

// Messages over paths of 20 ms that carry 2400 and 600 bytes a millisecond, acknowledged without a pause. The kernel divides by
// pacing rates, 1.2 windows a round trip.
class Messages {
  public:
    Messages(std::uint64_t first_pace, std::uint64_t second_pace) : pace_{first_pace, second_pace} {}

    // The verdict with everything acknowledged: what the next message will find.
    mps_verdict message(std::uint32_t on_first, std::uint32_t on_second) {
        left_[0] = on_first;
        left_[1] = on_second;
        mps_verdict verdict = ack(0, 0);
        while (left_[0] || left_[1]) {
            now_ += 5 * ms;
            ack(0, 12000);
            verdict = ack(1, 3000);
        }
        return verdict;
    }

  private:
    mps_verdict ack(std::uint32_t self, std::uint32_t bytes) {
        const std::uint32_t got = std::min(bytes, left_[self]);
        left_[self] -= got;
        acked_[self] += got;
        auto subflow = [&](std::uint32_t i) {
            return Subflow{.fresh = now_ == 1000 * ms,
                           .cwnd_segs = static_cast<std::uint32_t>(pace_[i] * 20 / 1200 / 1400),
                           .bytes_acked = acked_[i],
                           .outstanding_bytes = left_[i]};
        };
        mps_view view = view_of({subflow(0), subflow(1)}, {.now_us = now_, .self = self});
        for (std::uint32_t i = 0; i < 2; ++i) {
            view.sf[i].pacing_rate = pace_[i];
            view.sf[i].ssthresh_segs = 10;
        }
        const mps_verdict verdict = core_(view, state_);
        now_ += 1;
        return verdict;
    }

    const Core &core_ = core_named("auto");
    mps_state state_{};
    std::uint64_t now_ = 1000 * ms;
    std::uint64_t pace_[2];
    std::uint64_t acked_[2]{};
    std::uint32_t left_[2]{};
};

} // namespace

TEST_CASE("a subflow that would get more of a message than it can carry is paced", "[auto][levers]") {
    // As if both carried as much: half of a megabyte on the second would take 0.8 s, a fifth is right.
    Messages messages(5'000'000, 5'000'000);
    mps_verdict verdict{};
    for (int i = 0; i < 3; ++i)
        verdict = messages.message(800'000, 200'000);

    CHECK(verdict.allowed == (first | second));
    REQUIRE((verdict.flags & MPS_VERDICT_LEVERS));
    CHECK(verdict.lever[0].pace_bytes_s == 0);
    // In the ratio of two or three bursts to the rest, of 1.2 times 2400 bytes a millisecond.
    CHECK(verdict.lever[1].pace_bytes_s > 350'000);
    CHECK(verdict.lever[1].pace_bytes_s < 800'000);
    CHECK(verdict.lever[1].lowat_bytes == 0);
}

TEST_CASE("a subflow that gets what it can carry is not paced", "[auto][levers]") {
    Messages messages(2'880'000, 720'000);

    for (int i = 0; i < 3; ++i)
        CHECK_FALSE((messages.message(800'000, 200'000).flags & MPS_VERDICT_LEVERS));
}
