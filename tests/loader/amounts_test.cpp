// SPDX-License-Identifier: MIT
#include "common/amounts.hpp"

#include <limits>

#include "catch.hpp"

using namespace mps;

namespace {

std::int64_t good(std::string_view text, std::string_view unit) {
    const auto value = parse_amount(text, unit_of(unit));
    INFO(text << " " << unit << ": " << (value ? "" : value.error()));
    REQUIRE(value);
    return *value;
}

std::string bad(std::string_view text, std::string_view unit) {
    const auto value = parse_amount(text, unit_of(unit));
    INFO(text << " " << unit);
    REQUIRE_FALSE(value);
    return value.error();
}

} // namespace

TEST_CASE("amounts are read as people write them") {
    CHECK(good("16384", "bytes") == 16'384);
    CHECK(good("0x4000", "bytes") == 16'384);
    CHECK(good("16k", "bytes") == 16'000);
    CHECK(good("16K", "bytes") == 16'000);
    CHECK(good("16kB", "bytes") == 16'000);
    CHECK(good("16KiB", "bytes") == 16'384);
    CHECK(good("16Ki", "bytes") == 16'384);
    CHECK(good("5GB", "bytes") == 5'000'000'000);
    CHECK(good("5GiB", "bytes") == 5 * (1LL << 30));
    CHECK(good("1.5GB", "bytes") == 1'500'000'000);
    CHECK(good("1T", "bytes") == 1'000'000'000'000);
    CHECK(good("7B", "bytes") == 7);
    CHECK(good("10k", "cost") == 10'000);
    CHECK(good("20%", "%") == 20);
    CHECK(good("-5", "") == -5);
}

TEST_CASE("times are read in any unit and given in the value's own") {
    CHECK(good("20", "ms") == 20);
    CHECK(good("1ms", "us") == 1000);
    CHECK(good("1ms", "ms") == 1);
    CHECK(good("0.5ms", "us") == 500);
    CHECK(good("1.5s", "ms") == 1500);
    CHECK(good("2000us", "ms") == 2);
    CHECK(good("2000µs", "ms") == 2);
    CHECK(good("5m", "s") == 300);
    CHECK(good("5min", "s") == 300);
    CHECK(good("24h", "s") == 86'400);
    CHECK(good("30d", "s") == 2'592'000);
    CHECK(good("1w", "s") == 604'800);
}

TEST_CASE("out of range, not a number, not whole and not a unit are four different mistakes") {
    CHECK(bad("99999999999999999999", "bytes") == "out of range");
    CHECK(bad("9999999999999999999999999999999999999999999999999999", "") == "out of range");
    CHECK(bad("99999999T", "bytes") == "out of range");
    CHECK(bad("0xffffffffffffffffff", "") == "out of range");
    CHECK(bad("9223372036854775808", "") == "out of range");
    CHECK(good("9223372036854775807", "") == std::numeric_limits<std::int64_t>::max());
    for (const char *text :
         {"", "x", "-", "1e3", "k", ".5", "1.", "0x", "0xg", "1..5", "--1", " 1", "1 ", "+1"}) {
        INFO(text);
        CHECK(bad(text, "") == "not a number");
    }
    CHECK(bad("500us", "ms") == "not a whole number of ms");
    CHECK(bad("1.5", "bytes") == "not a whole number of bytes");
    CHECK(bad("0.0001k", "bytes") == "not a whole number of bytes");
    CHECK(bad("5x", "ms") == "'x' is no unit of time");
    CHECK(bad("5M", "ms") == "'M' is no unit of time");
    CHECK(bad("5d", "bytes") == "'d' is no unit of bytes");
    CHECK(bad("5 GB", "bytes") == "' GB' is no unit of bytes");
}
