// SPDX-License-Identifier: MIT
// Copyright mpsched contributors
//
// Test cases with known verdicts, for runner_test.cpp. Not part of any tier.

#include "catch.hpp"

#include <chrono>
#include <cstdlib>
#include <thread>

TEST_CASE("a case that passes", "[passes]") { CHECK(1 + 1 == 2); }

TEST_CASE("a case that fails", "[fails]") { CHECK(1 + 1 == 3); }

TEST_CASE("a case that skips", "[skips]") {
    CHECK(1 + 1 == 2);
    mps::test::skip("there is no \"moon\" tonight");
    FAIL("skip() must not return");
}

TEST_CASE("a case that fails and then skips", "[fails-and-skips]") {
    CHECK(1 + 1 == 3);
    mps::test::skip("too late");
}

TEST_CASE("a case that may fail and does", "[may-fail][!mayfail]") { CHECK(1 + 1 == 3); }

TEST_CASE("a case that throws", "[throws]") { throw std::runtime_error("thrown on purpose"); }

TEST_CASE("a case that crashes", "[crashes]") { std::abort(); }

TEST_CASE("a case that exits early with success", "[exits]") { std::_Exit(0); }

TEST_CASE("a case that waits", "[waits]") { std::this_thread::sleep_for(std::chrono::seconds(2)); }

TEST_CASE("a case that calculates", "[calculates]") {
    // A minute of wall time ends it where nobody limits it.
    const auto end = std::chrono::steady_clock::now() + std::chrono::minutes(1);
    while (std::chrono::steady_clock::now() < end) {
    }
}

TEST_CASE("a case that hangs", "[hangs]") { std::this_thread::sleep_for(std::chrono::minutes(1)); }
