// SPDX-License-Identifier: MIT
//
// What a report shows of addresses and names: nothing, and always the same nothing.
#include "report/masker.hpp"

#include "catch.hpp"
#include "report/collect.hpp"

using mps::report::Masker;

TEST_CASE("the same address becomes the same everywhere, and what belongs together stays together", "[cli]") {
    Masker masker;
    CHECK(masker.mask("10.1.2.3:443 > 10.1.2.77 and 10.9.9.3") ==
          "198.18.1.1:443 > 198.18.1.2 and 198.18.2.1");
    CHECK(masker.mask("inet 10.1.2.3/24 brd 10.1.2.255, 10.1.2.0/24") ==
          "inet 198.18.1.1/24 brd 198.18.1.255, 198.18.1.0/24");
    CHECK(masker.mask("to 10.1.2.77.") == "to 198.18.1.2.");
    CHECK(masker.mask("[fd00:1::5]:443 fd00:1::6/64 fd00:2::5") ==
          "[2001:db8:0:1::1]:443 2001:db8:0:1::2/64 2001:db8:0:2::1");
    CHECK(masker.mask("fe80::1234:56ff:fe78:9abc%dsl") == "fe80::1%dsl");
    CHECK(masker.mask("::ffff:10.1.2.3") == "::ffff:198.18.1.1");
    CHECK(masker.mask("link/ether 52:54:00:AA:bb:01 brd ff:ff:ff:ff:ff:ff") ==
          "link/ether 02:00:00:00:00:01 brd ff:ff:ff:ff:ff:ff");
    CHECK(masker.mask("52:54:00:aa:bb:01 52:54:00:aa:bb:02") == "02:00:00:00:00:01 02:00:00:00:00:02");
    // In a JSON document, too.
    CHECK(masker.mask(R"({"local":"10.1.2.3:5"})") == R"({"local":"198.18.1.1:5"})");
}

TEST_CASE("what says nothing of a host stays as it is", "[cli]") {
    Masker masker({"gate.example.org", "gate", "example.org", "", "localhost"});
    for (const char *same :
         {"127.0.0.1 0.0.0.0 255.255.255.255 224.0.0.1 ::1 :: ff02::1 ::/0", "14:03:05.123 and 12:34",
          "version 0.1.0, kernel 6.1.0-18-amd64, id 1234", "token def48bf1 a.b.c.d 1.2.3 1.2.3.4.5 300.1.1.1",
          "dead:beef face add:", "gateway regate localhost", "tag 0123456789abcdef rtt 5.1 ms"})
        CHECK(masker.mask(same) == same);
    CHECK(masker.mask("gate.example.org gate, www.example.org") == "host-1 host-3, www.host-2");
}

TEST_CASE("a command that is not there, fails, or writes without end is told, and the others are asked",
          "[cli]") {
    using mps::report::collect;
    CHECK(collect({.file = "x", .words = {"nosuchprogram"}}, -1).trouble == "nosuchprogram is not installed");
    const auto failed = collect({.file = "x", .words = {"sh", "-c", "echo said; exit 3"}}, -1);
    CHECK(failed.trouble == "ended with 3");
    CHECK(failed.text == "said\n");
    const auto endless = collect({.file = "x", .words = {"yes"}}, -1);
    CHECK(endless.trouble == "cut after 4 MiB");
    CHECK(collect({.file = "x", .words = {"printf", "a mps_1\nb\nc bpf\n"}, .only = "mps_|bpf"}, -1).text ==
          "a mps_1\nc bpf\n");
    CHECK(collect({.file = "x", .files = {"/nosuch"}}, -1).trouble == "there is none that can be read");
}
