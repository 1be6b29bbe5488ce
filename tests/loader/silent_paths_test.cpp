// SPDX-License-Identifier: MIT
//
// Which addresses may be closed, by what their connections tell.
#include "catch.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <array>

#include "attach/silent_paths.hpp"

using namespace mps;

namespace {

constexpr std::uint64_t ms = 1'000'000, now_ns = 5000 * ms;
constexpr const char *here = "192.0.2.1", *there = "192.0.2.65";
constexpr std::uint32_t established = 1, syn_sent = 2, fin_wait = 4;

// Last heard so long ago; round trip 40 ms.
KnownSubflow subflow(const char *local, bool silent, std::uint64_t heard_ms_ago,
                     std::uint32_t state = established) {
    KnownSubflow one;
    one.record.state = state;
    one.record.fully_established = state == established;
    one.record.view.srtt_us = 40'000;
    std::ranges::copy(std::array<std::uint8_t, 12>{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff},
                      one.record.local);
    ::inet_pton(AF_INET, local, one.record.local + 12);
    if (state == established) {
        one.known.emplace();
        one.known->silent = silent;
        one.known->seen_ns = now_ns - heard_ms_ago * ms;
    }
    return one;
}

AddressLook look(const std::vector<std::vector<KnownSubflow>> &connections) {
    AddressLook seen(here, now_ns);
    std::uint32_t token = 1;
    for (const auto &subflows : connections)
        seen.see({.token = token++, .subflows = subflows});
    return seen;
}

} // namespace

TEST_CASE("an address is silent if data is under way and nothing arrives on any of its subflows") {
    const std::vector<KnownSubflow> lost{subflow(here, true, 100), subflow(there, false, 1)};
    CHECK(look({lost}).silent());
    CHECK_FALSE(look({lost}).is_last_resort());
    CHECK_FALSE(look({{subflow(here, false, 100), subflow(there, false, 1)}}).silent());
    // Another connection was answered on it less than a round trip and 10 ms ago.
    const auto lively = [](std::uint64_t ago) {
        return std::vector<KnownSubflow>{subflow(here, false, ago), subflow(there, false, 500)};
    };
    CHECK_FALSE(look({lost, lively(45)}).silent());
    CHECK(look({lost, lively(60)}).silent());
}

TEST_CASE("an address is not closed if a connection has nothing else") {
    const std::vector<KnownSubflow> lost{subflow(here, true, 100), subflow(there, false, 1)};
    CHECK(look({lost, {subflow(here, false, 900)}}).is_last_resort());
    CHECK(look({lost, {subflow(here, false, 900, syn_sent)}}).is_last_resort());
    CHECK(look({lost, {subflow(here, true, 100), subflow(there, true, 100)}}).is_last_resort());
    CHECK(look({lost, {subflow(here, false, 900), subflow(there, false, 0, syn_sent)}}).is_last_resort());
    auto fallen_back = subflow(here, false, 900);
    fallen_back.record.plain = 1;
    CHECK(look({lost, {fallen_back, subflow(there, false, 1)}}).is_last_resort());
    // What ends has had everything acknowledged.
    CHECK_FALSE(look({lost, {subflow(here, false, 900, fin_wait)}}).is_last_resort());
    CHECK_FALSE(look({lost, {subflow(there, false, 900)}}).is_last_resort());
}

TEST_CASE("a subflow that tries to join is counted, and is no answer") {
    const auto seen = look({{subflow(here, false, 0, syn_sent), subflow(there, false, 1)}});
    CHECK(seen.joining() == 1);
    CHECK_FALSE(seen.heard_since(now_ns - 900 * ms));
    CHECK(look({{subflow(here, false, 20), subflow(there, false, 1)}}).heard_since(now_ns - 900 * ms));
}

TEST_CASE("connections that could join from an address and have nothing there are counted") {
    const std::vector<KnownSubflow> elsewhere{subflow(there, false, 1)};
    CHECK(look({elsewhere, elsewhere}).without() == 2);
    CHECK(look({{subflow(here, false, 1), subflow(there, false, 1)}}).without() == 0);
    // It tries to.
    CHECK(look({{subflow(here, false, 0, syn_sent), subflow(there, false, 1)}}).without() == 0);
    // It ends there, and what it has elsewhere is silent: nothing can be joined.
    CHECK(look({{subflow(here, false, 1, fin_wait), subflow(there, true, 500)}}).without() == 0);
}

TEST_CASE("what has to be told on other subflows takes as long as the slowest of those that work") {
    KnownSubflow queued = subflow(there, false, 1), dead = subflow(there, true, 500);
    queued.record.view.srtt_us = 220'000;
    dead.record.view.srtt_us = 900'000;
    const std::vector<std::vector<KnownSubflow>> all{{subflow(here, true, 100), subflow(there, false, 1)},
                                                     {subflow(here, true, 100), queued, dead}};
    CHECK(look(all).others_ns() == 220 * ms);
    CHECK(look({{subflow(here, true, 100)}}).others_ns() == 0);
}
