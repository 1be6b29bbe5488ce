// SPDX-License-Identifier: MIT
//
// What a rule about MPTCP options may say, and which of two rules decides.
#include "catch.hpp"

#include "mpsched/option_rules.hpp"
#include "option_rule_line.hpp"
#include "options/option_table.hpp"

using namespace mps;

namespace {

Result<OptionRule> made(const std::string &line) { return test::option_rule_of(line); }

OptionRule rule(const std::string &line) {
    auto one = made(line);
    if (!one)
        FAIL(line << ": " << one.error().what);
    return *one;
}

} // namespace

TEST_CASE("a rule says the same after its way through the kernel's form", "[option-rules]") {
    const char *const lines[] = {
        "wan0 in mp_capable refuse",
        "wan0 out mp_capable refuse state=syn",
        "wan0 in mp_join neutralise local=192.0.2.0/24 remote=203.0.113.7",
        "wan0 in mp_join allow state=syn,established",
        "wan0 in mp_join set-backup lport=443 rport=1",
        "wan0 out add_addr neutralise address=10.0.0.0/8",
        "wan0 out add_addr neutralise remote=2001:db8::/32 address=0.0.0.0/0",
        "a-name-of-15-oc in mp_prio clear-backup remote=::/0",
        "wan0 in dss allow",
        "wan0 in mp_tcprst neutralise",
        "wan0 in mp_join neutralise above=0",
        "wan0 out mp_join allow rport=443 above=16",
    };
    std::vector<PlacedRule> placed;
    for (const char *line : lines) {
        CHECK(option_rule_text(rule(line)) == line);
        placed.push_back({rule(line), static_cast<std::uint32_t>(placed.size() + 3)});
    }
    const auto table = table_of(placed, {{"wan0", 7}});
    REQUIRE(table);
    const auto back = rules_of(*table);
    REQUIRE(back.size() == placed.size());
    for (std::size_t i = 0; i < back.size(); i++) {
        INFO(lines[i]);
        CHECK(back[i].rule == placed[i].rule);
        CHECK(back[i].hits == placed[i].hits);
        CHECK(table->rule[i].ifindex == (placed[i].rule.interface == "wan0" ? 7 : 0));
    }
}

TEST_CASE("host bits and the order of states are made plain", "[option-rules]") {
    CHECK(option_rule_text(rule("wan0 in mp_join allow state=established,syn remote=192.0.2.77/24")) ==
          "wan0 in mp_join allow state=syn,established remote=192.0.2.0/24");
    CHECK(rule("wan0 in mp_join allow state=syn,synack,established").state.empty());
    CHECK(rule("wan0 in mp_join allow remote=2001:db8::0001/128").remote == "2001:db8::1");
}

TEST_CASE("what no rule can say is refused, with what is allowed", "[option-rules]") {
    const struct {
        const char *line;
        const char *what; // or in the hint
    } cases[] = {
        {"/ in mp_join allow", "no interface"},
        {"wan0 inn mp_join allow", "did you mean 'in'"},
        {"wan0 in mp_joi allow", "did you mean 'mp_join'"},
        {"wan0 in mp_join deny", "there are: allow, neutralise"},
        {"wan0 in mp_join neutralise port=443", "'port' is no match"},
        {"wan0 in mp_join neutralise rport=0", "1 to 65535"},
        {"wan0 in mp_join neutralise rport=443 rport=444", "given twice"},
        {"wan0 in mp_join neutralise remote=example.org", "no IP address"},
        {"wan0 in mp_join neutralise remote=192.0.2.0/33", "0 to 32"},
        {"wan0 in mp_join neutralise state=closed", "is no state"},
        {"wan0 in mp_join neutralise state=", "is no state"},
        {"wan0 in mp_join neutralise address=10.0.0.0/8", "address= is for add_addr"},
        {"wan0 in mp_join neutralise local=192.0.2.1 remote=2001:db8::1", "no packet has"},
        {"wan0 in mp_join neutralise state=established", "possible: state=syn,synack"},
        {"wan0 in add_addr neutralise state=syn", "possible: state=established"},
        {"wan0 in dss allow state=synack", "no dss is in a packet"},
        {"wan0 in dss neutralise", "falls back or resets"},
        {"wan0 in mp_capable neutralise", "for mp_capable there is: allow, refuse"},
        {"wan0 in mp_fastclose neutralise", "for mp_fastclose there is: allow"},
        {"wan0 in mp_join neutralise above=17", "0 to 16"},
        {"wan0 in mp_join neutralise above=", "is no number of joins"},
        {"wan0 in mp_join neutralise above=2 state=synack", "counted by their SYNs"},
        {"wan0 in mp_join allow above=2 state=syn,established", "counted by their SYNs"},
        {"wan0 in mp_capable refuse above=2", "adds no subflow"},
        {"wan0 in add_addr set-backup", "for add_addr there is"},
    };
    for (const auto &one : cases) {
        INFO(one.line);
        const auto result = made(one.line);
        REQUIRE_FALSE(result);
        CHECK(result.error().code == ErrorCode::usage);
        INFO(result.error().what << " / " << result.error().hint);
        CHECK((result.error().what + " " + result.error().hint).find(one.what) != std::string::npos);
    }
}

TEST_CASE("of rules that overlap the earlier one decides, and one that is hidden is told", "[option-rules]") {
    const auto overlaps = [](std::initializer_list<const char *> lines) {
        std::vector<OptionRule> rules;
        for (const char *line : lines)
            rules.push_back(rule(line));
        return option_rule_overlaps(rules);
    };
    CHECK(overlaps({"wan0 in mp_join neutralise", "wan0 out mp_join neutralise"}).empty());
    CHECK(overlaps({"wan0 in mp_join neutralise", "lte0 in mp_join neutralise"}).empty());
    CHECK(overlaps({"wan0 in mp_join neutralise rport=1", "wan0 in mp_join neutralise rport=2"}).empty());
    CHECK(overlaps({"wan0 in mp_join neutralise remote=192.0.2.0/25",
                    "wan0 in mp_join neutralise remote=192.0.2.128/25"})
              .empty());
    CHECK(overlaps({"wan0 in mp_join allow state=syn", "wan0 in mp_join allow state=synack"}).empty());
    CHECK(overlaps({"wan0 in mp_join allow remote=192.0.2.0/24", "wan0 in mp_join allow local=2001:db8::/32"})
              .empty());
    CHECK(overlaps({"wan0 in mp_join neutralise above=2", "wan0 in mp_join allow state=synack"}).empty());
    CHECK_FALSE(overlaps({"wan0 in mp_join neutralise above=2", "wan0 in mp_join allow above=1"})[0].hidden);
    CHECK(overlaps({"wan0 in mp_join neutralise above=2", "wan0 in mp_join allow above=3"})[0].hidden);
    const auto hidden = overlaps({"wan0 in mp_join allow remote=192.0.2.0/24", "wan0 in mp_join neutralise",
                                  "wan0 in mp_join set-backup remote=192.0.2.9"});
    REQUIRE(hidden.size() == 3);
    CHECK_FALSE(hidden[0].hidden); // 1 before 2
    CHECK(hidden[1].hidden);       // 1 before 3
    CHECK(hidden[2].hidden);
    CHECK(overlap_text(hidden[1]) == "rule 3 never matches: rule 1 comes first and matches all that it does");
    const auto crossed =
        overlaps({"wan0 in mp_join allow rport=443", "wan0 in mp_join allow remote=192.0.2.9"});
    REQUIRE(crossed.size() == 1);
    CHECK_FALSE(crossed[0].hidden);
    CHECK(overlap_text(crossed[0]) == "rules 1 and 2 overlap: what both match, rule 1 decides");
    // No state= is all of them, but only those that the action is for.
    CHECK(overlaps({"wan0 in mp_join neutralise", "wan0 in mp_join allow state=established"}).empty());
}

TEST_CASE("a rule that stays keeps its counters, a new one gets unused ones", "[option-rules]") {
    const OptionRule a = rule("wan0 in mp_join allow"), b = rule("wan0 in dss allow"),
                     c = rule("wan0 out dss allow");
    std::vector<std::uint32_t> fresh;
    const auto placed = place_rules({c, b, a}, {{a, 0}, {b, 1}}, fresh);
    CHECK(placed[0].hits == 2);
    CHECK(placed[1].hits == 1);
    CHECK(placed[2].hits == 0);
    CHECK(fresh == std::vector<std::uint32_t>{2});
    const std::vector<PlacedRule> many(MPS_MAX_OPTION_RULES + 1, {a, 0});
    CHECK_FALSE(table_of(many, {}));
}
