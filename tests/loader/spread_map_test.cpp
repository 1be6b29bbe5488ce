// SPDX-License-Identifier: MIT
//
// Files that say which label or port takes which path.
#include "catch.hpp"

#include <string>

#include <fmt/format.h>

#include "mpsched/spread.hpp"
#include "spread/spread_map.hpp"

using namespace mps;

namespace {

std::string mistake(const std::string &text) {
    const auto map = parse_spread_map(text, "x.map");
    return map ? "" : map.error().what;
}

} // namespace

TEST_CASE("a map of paths is read, becomes entries of the kernel, and is written as it was") {
    const std::string text = "label 2001:db8::1 2001:db8:3::1 1:3,17 2:- 3:9\n"
                             "label any 2001:db8:4::/64 1:5 2:6\n"
                             "port 192.0.2.1 192.0.2.9 5001 1:20001,20002 2:20003\n"
                             "port any 198.51.100.0/24 443 1:20010 2:20011\n";
    const auto map = parse_spread_map("# a comment\n\n" + text, "x.map");
    REQUIRE(map);
    CHECK(format_spread_map(*map) == text);
    const auto entries = spread_entries(*map);
    REQUIRE(entries);
    CHECK(spread_map(*entries) == *map);
    CHECK(entries->front().second.usable == 0b101);
}

TEST_CASE("the order of lines does not count, nor how an address is written") {
    const auto one =
        parse_spread_map("label any 2001:db8::/32 1:1\nlabel 2001:DB8:0::1 2001:db8::2 1:2\n", "a");
    const auto other =
        parse_spread_map("label 2001:db8::1 2001:db8::2 1:2\nlabel any 2001:db8::/32 1:1\n", "b");
    REQUIRE(one);
    REQUIRE(other);
    CHECK(*one == *other);
}

TEST_CASE("a mistake in a map of paths is told with its line") {
    CHECK(mistake("\nlable any 2001:db8::1 1:2\n") == "x.map:2: there is no kind 'lable'");
    CHECK(mistake("label any nowhere 1:2") == "x.map:1: 'nowhere' is no IP address");
    CHECK(mistake("label any 192.0.2.1 1:2") == "x.map:1: '192.0.2.1': IPv4 has no flow labels");
    CHECK(mistake("label any 2001:db8::1") == "x.map:1: the line names no path");
    CHECK(mistake("label any 2001:db8::1 1:- 2:-") == "x.map:1: the line names no path");
    CHECK(mistake("label any 2001:db8::1 2:5") == "x.map:1: '2:5' is not path 1");
    CHECK(mistake("label any 2001:db8::1 1:") == "x.map:1: a path has 1 to 16 values, this one has 0");
    CHECK(mistake("label any 2001:db8::1 1:1048576") == "x.map:1: '1048576' is none of 1..1048575");
    CHECK(mistake("port any 192.0.2.1 1:2") == "x.map:1: '1:2' is no port of the peer");
    CHECK(mistake("port any 192.0.2.1 443 1:70000") == "x.map:1: '70000' is none of 1..65535");
    CHECK(mistake("port 2001:db8::1 192.0.2.1 443 1:2") ==
          "x.map:1: '2001:db8::1' and '192.0.2.1' are of different families");
    CHECK(mistake("port 192.0.2.1 192.0.2.0/24 443 1:2") == "x.map:1: '192.0.2.0/24' is no single address");
    CHECK(mistake("label any 2001:db8::1 1:2\nlabel any 2001:db8::1 1:3") ==
          "x.map:2: there is a line for these addresses already");
    std::string many;
    for (int i = 1; i <= 17; i++)
        many += fmt::format(" {}:1", i);
    CHECK(mistake("label any 2001:db8::1" + many) == "x.map:1: more than 16 paths");
}
