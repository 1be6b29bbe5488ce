// SPDX-License-Identifier: MIT
//
// Rules for connections: their order, their places, their number.
#include "catch.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "scratch.hpp"

using namespace mps;
using mps::test::Scratch;

TEST_CASE("rules keep their order, are replaced by the same selector and removed one by one") {
    Scratch scratch;
    Instance instance = scratch.instance();
    REQUIRE(instance.attach({.interfaces = {"lo"}}));
    REQUIRE(instance.use({.policy = "active-standby", .selector = "rport=1"}));
    REQUIRE(instance.use({.policy = "default", .selector = "rport=2"}));
    REQUIRE(instance.use({.policy = "smallest-delay", .selector = "remote=*:3"}));
    const auto replaced = instance.use({.policy = "smallest-delay", .selector = "rport=1"});
    REQUIRE(replaced);
    CHECK(replaced->previous == "active-standby");
    auto status = *instance.status();
    REQUIRE(status.rules.size() == 3);
    CHECK(status.rules[0].selector == "rport=1");
    CHECK(status.rules[0].policy == "smallest-delay");
    CHECK(status.rules[1].policy == "default");
    CHECK(status.default_policy == "default");
    CHECK(std::ranges::find(status.policies, "active-standby", &PolicyInfo::name) == status.policies.end());
    // Two rules share what is the same.
    CHECK(status.rules[0].slot == status.rules[2].slot);

    CHECK(*instance.remove_rule("rport=1"));
    CHECK_FALSE(*instance.remove_rule("rport=1"));
    CHECK(instance.remove_rule("nonsense").error().code == ErrorCode::usage);
    status = *instance.status();
    REQUIRE(status.rules.size() == 2);
    CHECK(status.rules[0].selector == "rport=2");
    CHECK(status.rules[1].selector == "rport=3");
}

TEST_CASE("rules are put where they are wanted, moved, and removed all at once") {
    Scratch scratch;
    Instance instance = scratch.instance();
    REQUIRE(instance.attach({.interfaces = {"lo"}}));
    const auto order = [&] {
        std::string all;
        const auto status = *instance.status();
        for (const RuleStatus &rule : status.rules)
            all += rule.selector.substr(rule.selector.find('=') + 1);
        return all;
    };
    const auto use = [&](const char *selector, std::optional<std::string> before,
                         std::optional<std::uint32_t> position) {
        const auto used =
            instance.use({.policy = "default", .selector = selector, .before = before, .position = position});
        return used ? order() : used.error().what;
    };
    CHECK(use("rport=1", {}, {}) == "1");
    CHECK(use("rport=2", {}, 1) == "21");
    CHECK(use("rport=3", "rport=1", {}) == "231");
    CHECK(use("rport=4", {}, 99) == "there is no position 99");
    CHECK(use("rport=4", {}, 32) == "2314");
    // One that is there moves, or stays.
    CHECK(use("rport=4", {}, 1) == "4231");
    CHECK(use("rport=4", {}, 4) == "2314");
    CHECK(use("rport=2", {}, {}) == "2314");
    CHECK(use("rport=2", "rport=4", {}) == "3124");
    CHECK(use("rport=4", "rport=3", {}) == "4312");
    CHECK(use("rport=4", "rport=4", {}) == "4312");
    CHECK(use("rport=5", "rport=9", {}) == "there is no rule for 'rport=9'");
    CHECK(instance.use({.policy = "default", .position = 1}).error().code == ErrorCode::usage);
    CHECK(order() == "4312");
    // Also in a table that is full.
    for (int i = 5; i <= 32; i++)
        REQUIRE(instance.use({.policy = "default", .selector = fmt::format("lport={}", i)}));
    CHECK(use("rport=2", {}, 1).starts_with("24315"));
    CHECK(use("rport=2", "rport=1", {}).starts_with("43215"));
    CHECK(instance.status()->rules.size() == 32);
    CHECK(instance.remove_all_rules()->size() == 32);
    CHECK(order().empty());
    CHECK(instance.remove_all_rules()->empty());
    CHECK(instance.status()->policies.empty());
}

TEST_CASE("the table of rules and the slots have an end") {
    Scratch scratch;
    Instance instance = scratch.instance();
    REQUIRE(instance.attach({.interfaces = {"lo"}}));
    for (int i = 0; i < 15; i++) {
        const auto used = instance.use({.policy = "active-standby",
                                        .params = {{"hold_ms", std::to_string(i)}},
                                        .selector = fmt::format("rport={}", i + 1)});
        if (!used)
            FAIL(used.error().what);
    }
    const auto full = instance.use({.policy = "smallest-delay"});
    REQUIRE_FALSE(full);
    CHECK(full.error().what.find("all 15 policy slots are in use") != std::string::npos);
    CHECK(instance.status()->default_slot == 0);
    for (int i = 15; i < 32; i++)
        REQUIRE(instance.use({.policy = "active-standby",
                              .params = {{"hold_ms", "1"}},
                              .selector = fmt::format("rport={}", i + 1)}));
    const auto one_more =
        instance.use({.policy = "active-standby", .params = {{"hold_ms", "1"}}, .selector = "rport=99"});
    REQUIRE_FALSE(one_more);
    CHECK(one_more.error().what.find("all 32 rules are in use") != std::string::npos);
}
