// SPDX-License-Identifier: MIT
//
// The pure functions of spread/.
#include "catch.hpp"

#include <cstdint>
#include <random>

extern "C" {
#include <spread.core.h>
}

namespace {

constexpr std::uint32_t all = 0xffff;
constexpr std::uint32_t none = MPS_SPREAD_PATHS;

mps_spread_look bulk(std::uint64_t rate) {
    return {.rate = rate, .siblings_rate = 3 * rate, .siblings = 3, .limited = 1};
}

} // namespace

TEST_CASE("four subflows take four paths, whichever they begin with") {
    for (std::uint32_t nr = 1; nr <= MPS_SPREAD_PATHS; nr++) {
        for (std::uint32_t start = 0; start < 40; start++) {
            std::uint64_t taken = 0;
            std::uint32_t seen = 0;
            for (std::uint32_t i = 0; i < nr; i++) {
                const std::uint32_t path = mps_spread_pick(taken, nr, all, start, none);
                REQUIRE(path < nr);
                seen |= 1u << path;
                taken = mps_spread_taken(taken, path);
            }
            CHECK(seen == (1u << nr) - 1);
        }
    }
}

TEST_CASE("a path without values is taken by nobody, and one that is left only where there is no other") {
    for (std::uint32_t start = 0; start < 8; start++) {
        CHECK(mps_spread_pick(0, 4, 0b0100, start, none) == 2);
        CHECK(mps_spread_pick(mps_spread_taken(0, 1), 2, 0b11, start, 0) == 1);
        CHECK(mps_spread_pick(0, 1, 0b1, start, 0) == 0);
    }
}

TEST_CASE("a subflow with a path for itself does not go where a sibling is") {
    const std::uint64_t taken = mps_spread_taken(mps_spread_taken(0, 1), 1);
    CHECK(mps_spread_gains(taken, 0, 2));
    CHECK_FALSE(mps_spread_gains(taken, 0, 1));
    CHECK(mps_spread_gains(taken, 1, 0));
}

TEST_CASE("sixteen siblings on one path are counted, and more do not run over into the next") {
    std::uint64_t taken = 0;
    for (int i = 0; i < 40; i++)
        taken = mps_spread_taken(taken, 3);
    CHECK(taken == std::uint64_t{15} << 12);
}

TEST_CASE("any numbers give a path that there is") {
    std::mt19937_64 random(7);
    for (int i = 0; i < 100'000; i++) {
        const auto nr = static_cast<std::uint32_t>(random() % 17);
        const auto path =
            mps_spread_pick(random(), nr, static_cast<std::uint32_t>(random()),
                            static_cast<std::uint32_t>(random()), static_cast<std::uint32_t>(random()));
        REQUIRE(path < (nr ? nr : 1));
    }
}

TEST_CASE("only the slowest subflow tries another path, and only if it has more to send") {
    mps_spread_look look = bulk(100);
    look.link_rate = 400;
    look.link_speed = 1000;
    CHECK(mps_spread_is_slow(&look));
    look.slower = 1;
    CHECK_FALSE(mps_spread_is_slow(&look));
    look.slower = 0;
    look.trying = 1;
    CHECK_FALSE(mps_spread_is_slow(&look));
    look.trying = 0;
    look.limited = 0;
    CHECK_FALSE(mps_spread_is_slow(&look));
}

TEST_CASE("another path has paid only if the connection has more in all, by more than measuring errs") {
    CHECK(mps_spread_pays(0, 1));
    CHECK_FALSE(mps_spread_pays(0, 0));
    CHECK(mps_spread_pays(320, 331));
    CHECK_FALSE(mps_spread_pays(320, 330));
    CHECK_FALSE(mps_spread_pays(320, 300));
}

TEST_CASE("nobody moves while the interface is full, and siblings tell where its speed is not known") {
    mps_spread_look look = bulk(10);
    look.siblings_rate = 300;
    look.link_speed = 1000;
    look.link_rate = 880;
    CHECK_FALSE(mps_spread_is_slow(&look));
    look.link_rate = 870;
    CHECK(mps_spread_is_slow(&look));
    look.link_rate = 0;
    CHECK_FALSE(mps_spread_is_slow(&look)); // not measured yet
    look.link_speed = 0;
    CHECK(mps_spread_is_slow(&look)); // 10 of 100 in the mean
    look.rate = 50;
    CHECK_FALSE(mps_spread_is_slow(&look)); // half
    look.siblings = 0;
    CHECK_FALSE(mps_spread_is_slow(&look));
}
