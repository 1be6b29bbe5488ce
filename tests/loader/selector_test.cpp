// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <string>

#include <mps/abi.h>

#include "policy/names.hpp"
#include "policy/selector.hpp"

using namespace mps;

TEST_CASE("selectors are read, and written as they are best read again") {
    const struct {
        const char *text;
        const char *canonical;
    } cases[] = {
        {"remote=203.0.113.0/24:443", "remote=203.0.113.0/24:443"},
        {"remote=203.0.113.77/24", "remote=203.0.113.0/24"},
        {"remote=203.0.113.7", "remote=203.0.113.7"},
        {"remote=203.0.113.7/32:1", "remote=203.0.113.7:1"},
        {"remote=0.0.0.0/0", "remote=0.0.0.0/0"},
        {"local=2001:db8::1", "local=2001:db8::1"},
        {"local=2001:db8:ffff::/32", "local=2001:db8::/32"},
        {"remote=[2001:db8::/32]:443", "remote=[2001:db8::/32]:443"},
        {"remote=[2001:db8::]/32:443", "remote=[2001:db8::/32]:443"},
        {"remote=[2001:db8::1]", "remote=2001:db8::1"},
        {"remote=::/0", "remote=::/0"},
        {"remote=*:443", "rport=443"},
        {"rport=443,lport=0x50", "rport=443,lport=80"},
        {"remote=192.0.2.1,rport=443", "remote=192.0.2.1:443"},
        {"lport=80,remote=192.0.2.1", "remote=192.0.2.1,lport=80"},
        {"mark=1", "mark=0x1"},
        {"mark=0x10/0xff", "mark=0x10/0xff"},
        {"dev=lo", "dev=lo"},
        {"dev=#4000000", "dev=#4000000"},
        {"cgroup=#12345678901", "cgroup=#12345678901"},
        {"user=root", "user=root"},
        {"user=0", "user=root"},
        {"user=4000000000", "user=4000000000"},
        {"command=curl", "command=curl"},
        {"command=tmux: server,rport=443", "rport=443,command=tmux: server"},
        {"command=fifteen-letters", "command=fifteen-letters"},
        {"unit=nginx", "unit=nginx.service"},
        {"unit=user-1000.slice,user=4000000000", "user=4000000000,unit=user-1000.slice"},
        {R"(unit=system-getty.slice)", "unit=system-getty.slice"},
        {R"(unit=a\x2db@1.service)", R"(unit=a\x2db@1.service)"},
        {"host=Server.Example,rport=443", "rport=443,host=server.example"},
    };
    for (const auto &example : cases) {
        INFO(example.text);
        const auto rule = parse_selector(example.text);
        REQUIRE(rule);
        CHECK(format_selector(*rule) == example.canonical);
        const auto again = parse_selector(example.canonical);
        REQUIRE(again);
        CHECK(same_selector(*rule, *again));
    }
}

TEST_CASE("IPv4 is written as mapped IPv6, host bits and slot cleared") {
    const auto rule = parse_selector("remote=203.0.113.77/24:443,mark=0x1/0xff");
    REQUIRE(rule);
    CHECK(rule->fields == (MPS_RULE_REMOTE | MPS_RULE_REMOTE_PORT | MPS_RULE_MARK));
    CHECK(rule->remote_prefix == 120);
    const unsigned char expected[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 203, 0, 113, 0};
    CHECK(std::equal(expected, expected + 16, rule->remote));
    CHECK(rule->remote_port == 443);
    CHECK(rule->mark == 1);
    CHECK(rule->mark_mask == 0xff);
    CHECK(rule->slot == 0);
}

TEST_CASE("selectors that make no sense are usage errors that name the part") {
    for (const char *text : {"",
                             "remote",
                             "remote=",
                             "remote=*",
                             "remote=nonsense",
                             "remote=1.2.3",
                             "remote=1.2.3.4/33",
                             "remote=1.2.3.4/",
                             "remote=1.2.3.4/-1",
                             "remote=1.2.3.4:",
                             "remote=1.2.3.4:0",
                             "remote=1.2.3.4:65536",
                             "remote=[2001:db8::1",
                             "remote=[2001:db8::1]x",
                             "remote=[2001:db8::1]:",
                             "remote=2001:db8::/129",
                             "remote=[2001:db8::/32]/32:1",
                             "rport=x",
                             "rport=1,rport=2",
                             "remote=*:1,rport=1",
                             "remote=1.1.1.1,remote=2.2.2.2",
                             "mark=",
                             "mark=x",
                             "mark=1/",
                             "mark=0x100000000",
                             "mark=3/1",
                             "dev=no-such-interface-here",
                             "dev=nosuch",
                             "cgroup=/no/such/group",
                             "colour=red",
                             "user=",
                             "user=no-such-user-here",
                             "user=4294967295",
                             "command=",
                             "command=/usr/bin/curl",
                             "command=sixteen--letters",
                             "command= curl",
                             "unit=",
                             "unit=a/b.service",
                             "unit=multi-user.target",
                             "host=",
                             "host=192.0.2.1",
                             "host=2001:db8::1",
                             "host=a..b",
                             "host=a,host=b",
                             "rport=1,,lport=2",
                             "rport=1,"}) {
        INFO(text);
        const auto rule = parse_selector(text);
        REQUIRE_FALSE(rule);
        CHECK((rule.error().code == ErrorCode::usage || std::string(text).starts_with("cgroup=")));
        CHECK_FALSE(rule.error().hint.empty());
    }
    CHECK(parse_selector("lport=1,rport=x").error().what.find("'rport=x'") != std::string::npos);
}

TEST_CASE("a unit has its own name, and its cgroup may have another one") {
    const auto rule = parse_selector("unit=memory");
    REQUIRE(rule);
    CHECK(std::string(rule->unit_name) == "memory.service");
    char group[MPS_RULE_NAME_LEN] = "_memory.service";
    CHECK(rule->unit == name_digest(group));
    CHECK(unit_cgroup("memoryhog.service") == "memoryhog.service");
    CHECK(unit_cgroup("_a.service") == "__a.service");
}

TEST_CASE("names differ by their digests, also in their last octet") {
    char a[MPS_RULE_NAME_LEN] = "1234567x";
    char b[MPS_RULE_NAME_LEN] = "1234567y";
    char c[MPS_RULE_NAME_LEN] = "1234567x2";
    CHECK(name_digest(a) != name_digest(b));
    CHECK(name_digest(a) != name_digest(c));
    for (const std::size_t at : {std::size_t{7}, std::size_t{63}, std::size_t{MPS_RULE_NAME_LEN - 2}}) {
        char one[MPS_RULE_NAME_LEN] = "same";
        char other[MPS_RULE_NAME_LEN] = "same";
        one[at] = 'p';
        other[at] = 'q';
        CHECK(name_digest(one) >> 32 != name_digest(other) >> 32);
    }
}

TEST_CASE("rules differ by what they select, not by their slot") {
    auto a = *parse_selector("rport=443");
    auto b = a;
    b.slot = 7;
    CHECK(same_selector(a, b));
    CHECK_FALSE(same_selector(a, *parse_selector("lport=443")));
    CHECK_FALSE(same_selector(a, *parse_selector("rport=443,mark=0/1")));
}
