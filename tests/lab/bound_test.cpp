// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include <mpsched/lab/bound.hpp>
#include <mpsched/lab/run.hpp>

#include "catch.hpp"
#include "run/energy.hpp"

using namespace mps::lab;

namespace {

bool near(double value, double right, double tolerance = 1e-6) {
    return std::abs(value - right) <= tolerance * std::max(1.0, std::abs(right));
}

// Contents of a path of requests-fast-first: 1500-byte packets, IPv4.
FluidPath path(double link_mbit, double delay_s) {
    return {{0, link_mbit * payload_share(1500, false), delay_s}};
}

double request_ms(const std::vector<FluidPath> &paths, double bytes) {
    return fluid_exchange_s(paths, paths, 0, bytes, 1).value() * 1e3;
}

} // namespace

TEST_CASE("of a full packet 1428 of 1514 bytes are contents, and 20 fewer with IPv6") {
    CHECK(near(payload_share(1500, false), 1428.0 / 1514));
    CHECK(near(payload_share(1500, true), 1408.0 / 1514));
}

TEST_CASE("the bounds of requests-fast-first are those that were worked out by hand: 52, 131 and 368 ms") {
    const std::vector<FluidPath> paths{path(20, 0.005), path(5, 0.1)};
    CHECK(std::round(request_ms(paths, 100e3)) == 52);
    CHECK(std::round(request_ms(paths, 300e3)) == 131);
    CHECK(std::round(request_ms(paths, 1e6)) == 368);
}

TEST_CASE("a path that is slower than the whole transfer over the others adds nothing") {
    const std::vector<FluidPath> both{path(20, 0.005), path(5, 0.1)};
    const std::vector<FluidPath> fast{path(20, 0.005)};
    CHECK(near(request_ms(both, 100e3), request_ms(fast, 100e3)));
    CHECK(request_ms(both, 300e3) < request_ms(fast, 300e3));
}

TEST_CASE("one path takes its delay and the bytes at its rate") {
    const std::vector<FluidPath> one{{{0, 8, 0.05}}}; // 1 byte each microsecond
    CHECK(near(fluid_arrival_s(one, 2, 1e6).value(), 3.05));
    CHECK(near(fluid_bytes(one, 2, 3.05), 1e6));
    CHECK(fluid_bytes(one, 2, 2.05) == 0);
    CHECK(near(fluid_arrival_s(one, 2, 0).value(), 2.05));
}

TEST_CASE("a path that is dead for a while delays what did not get through before") {
    const std::vector<FluidPath> one{{{0, 8, 0.05}, {1, 0, 0.05}, {3, 8, 0.05}}};
    CHECK(near(fluid_arrival_s(one, 0, 0.5e6).value(), 0.55));
    CHECK(near(fluid_arrival_s(one, 0, 1.5e6).value(), 3.55));
    CHECK(near(fluid_bytes(one, 0, 3.05), 1e6));
}

TEST_CASE("what can never arrive has no bound") {
    const std::vector<FluidPath> dies{{{0, 8, 0.05}, {1, 0, 0.05}}};
    CHECK(fluid_arrival_s(dies, 0, 0.9e6).has_value());
    CHECK_FALSE(fluid_arrival_s(dies, 0, 1.1e6).has_value());
    CHECK_FALSE(fluid_arrival_s({}, 0, 1).has_value());
    CHECK_FALSE(fluid_exchange_s(dies, dies, 2, 1, 1).has_value());
}

TEST_CASE("a delay that grows does not hold back what is already under way") {
    const std::vector<FluidPath> one{{{0, 8, 0.1}, {1, 8, 0.5}}};
    CHECK(near(fluid_bytes(one, 0, 1.1), 1e6));
    CHECK(near(fluid_bytes(one, 0, 1.5), 1e6));
    CHECK(near(fluid_arrival_s(one, 0, 1.5e6).value(), 2.0));
}

TEST_CASE(
    "more paths, more rate and less delay never make the bound later, and all bytes are there in time") {
    std::mt19937 random(1);
    const auto between = [&](double least, double most) {
        return least + (most - least) * static_cast<double>(random()) / 4294967295.0;
    };
    for (int round = 0; round < 500; ++round) {
        std::vector<FluidPath> paths;
        for (unsigned i = 0; i <= random() % 4; ++i) {
            FluidPath stages;
            for (unsigned j = 0; j <= random() % 4; ++j) {
                stages.push_back({j * 0.5, between(0.1, 20), between(0, 0.3)});
            }
            paths.push_back(stages);
        }
        const double from = between(0, 2);
        const double bytes = between(1, 3e6);
        const double arrival = fluid_arrival_s(paths, from, bytes).value();
        INFO("round " << round);
        CHECK(fluid_bytes(paths, from, arrival) >= bytes * (1 - 1e-9));
        CHECK(fluid_bytes(paths, from, arrival - 1e-6) <= bytes * (1 + 1e-9));
        auto better = paths;
        better.push_back(path(1, 0.01));
        CHECK(fluid_arrival_s(better, from, bytes).value() <= arrival + 1e-9);
        better = paths;
        better[0].back().mbit *= 2;
        CHECK(fluid_arrival_s(better, from, bytes).value() <= arrival + 1e-9);
    }
}

TEST_CASE("a percentile is the smallest time that so many percent do not exceed") {
    const std::vector<double> times{1, 2, 3, 4};
    CHECK(percentile(times, 50) == 2);
    CHECK(percentile(times, 51) == 3);
    CHECK(percentile(times, 99) == 4);
    CHECK(percentile(times, 0) == 1);
    CHECK(percentile({7}, 50) == 7);
}

TEST_CASE("what vanishes later was out of order, what stays are duplicates") {
    CHECK(out_of_order({0, 500, 900, 100, 100, 400, 100}) ==
          std::vector<std::int64_t>{0, 400, 800, 0, 0, 300, 0});
    CHECK(out_of_order({}).empty());
    CHECK(out_of_order({-50, 20, -50}) == std::vector<std::int64_t>{0, 70, 0});
}

TEST_CASE("a radio costs waking up, being used by time and by bits, and staying awake, each once") {
    const Radio radio{.up_mw = 100,
                      .down_mw = 10,
                      .base_mw = 1000,
                      .promotion_s = .5,
                      .promotion_mw = 2000,
                      .tail_s = 10,
                      .tail_mw = 500};
    CHECK(radio_joules(radio, {}) == 0);
    // What no radio has wakes none.
    CHECK(radio_joules(radio, {{0, 1, 42, 42}}) == 0);
    // 1 J to wake up, 1 J for a second, 1 Mbit up for .1 J, 2 Mbit down for .02 J, 5 J of tail.
    CHECK(near(radio_joules(radio, {{0, 1, 125'000, 250'000}}), 7.12));
    // Four seconds later it is still awake: they cost 2 J, and the tail is paid once.
    CHECK(near(radio_joules(radio, {{0, 1, 125'000, 0}, {1, 5, 0, 0}, {5, 6, 125'000, 0}}), 1 + 2.2 + 2 + 5));
    // After the tail all of it is paid again.
    CHECK(near(radio_joules(radio, {{0, 1, 125'000, 0}, {20, 21, 125'000, 0}}), 2 * 7.1));
    CHECK(radio_of("lte") == radio_of("5g"));
    CHECK(radio_of("ethernet") == nullptr);
}
