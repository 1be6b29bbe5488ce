// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cmath>
#include <set>
#include <string>
#include <vector>

#include <mpsched/lab/scenario.hpp>

#include "must.hpp"

using namespace mps::lab;
using mps::lab::test::must;

namespace {

const std::string good = R"(id = "T"
title = "a test"
[[path]]
name = "wifi"
rate_mbit = 20
delay_ms = 5
[[path]]
name = "lte"
rate_mbit = 5
delay_ms = 50.5
[workload]
kind = "bulk"
bytes = 1000
)";

Scenario one(const std::string &toml, std::uint64_t seed = 1) {
    auto all = must(parse_scenarios(toml, "t.toml", seed));
    REQUIRE(all.size() == 1);
    return std::move(all.front());
}

std::string replaced(std::string text, const std::string &what, const std::string &by) {
    const auto at = text.find(what);
    REQUIRE(at != std::string::npos);
    return text.replace(at, what.size(), by);
}

} // namespace

TEST_CASE("paths, workload and defaults are read") {
    const auto scenario = one(good);
    CHECK(scenario.name() == "T");
    REQUIRE(scenario.paths.size() == 2);
    CHECK(scenario.paths[0].start.down_rate_mbit == 20);
    CHECK(scenario.paths[1].start.delay_ms == 50.5);
    CHECK(scenario.first_path == 0);
    CHECK(scenario.workload.bytes == 1000);
    CHECK(scenario.steer == std::vector<std::string>{"client"});
    CHECK(scenario.network().paths[0].netem->limit_packets > 50);
}

TEST_CASE("who sends is who is steered, unless the scenario says otherwise") {
    CHECK(one(good + "direction = \"download\"\n").steer == std::vector<std::string>{"server"});
    CHECK(one(good + "[steering]\nhosts = [\"client\", \"server\"]\n").steer.size() == 2);
}

TEST_CASE("every mistake names file, line and what is allowed") {
    struct Case {
        std::string toml;
        std::string where;
        std::string what;
        std::string hint;
    };
    const std::vector<Case> cases{
        {"id = ", "t.toml:1:", "", "TOML"},
        {replaced(good, "rate_mbit = 20", "rat_mbit = 20"), "t.toml:3:1:", "needs \"rate_mbit\"", "rate"},
        {replaced(good, "delay_ms = 5\n", "delay = 5\n"), "t.toml:6:1:", "does not know \"delay\"",
         "delay_ms"},
        {replaced(good, "rate_mbit = 20", "rate_mbit = -1"), "t.toml:5:13:", "rate_mbit", "from 0.01 to"},
        {replaced(good, "rate_mbit = 20", "rate_mbit = nan"), "t.toml:5:13:", "rate_mbit", "from 0.01 to"},
        {replaced(good, "rate_mbit = 20", "rate_mbit = \"20\""), "t.toml:5:13:", "rate_mbit", "a number"},
        {replaced(good, "\"lte\"", "\"wifi\""), "t.toml:8:8:", "two paths are named \"wifi\"", "once"},
        {replaced(good, "\"lte\"", "\"a b\""), "t.toml:8:8:", "cannot be the name", "15 characters"},
        {replaced(good, "\"bulk\"", "\"bluk\""), "t.toml:12:8:", "kind", "\"requests\", \"stream\""},
        {replaced(good, "bytes = 1000", "bytes = 0.5"), "t.toml:13:9:", "bytes", "whole number"},
        {replaced(good, "bytes = 1000\n", ""), "t.toml:12:8:", "needs one of \"bytes\"", "how long"},
        {good + "duration_s = 1\n", "t.toml:13:9:", "needs one of \"bytes\"", "how long"},
        {good + "loss = 1\n", "t.toml:14:1:", "does not know \"loss\"", "duration_s"},
        {good + "[netwrok]\n", "t.toml:14:2:", "does not know \"netwrok\"", "network"},
        {good + "[network]\nfirst = \"dsl\"\n", "t.toml:15:9:", "first", "\"wifi\", \"lte\""},
        {good + "[network]\nfamily = 4\n", "t.toml:15:10:", "family", "\"ipv4\", \"ipv6\", \"dual\""},
        {good + "[[change]]\nat_s = 1\npath = \"dsl\"\nblackhole = true\n", "t.toml:16:8:", "no path \"dsl\"",
         "wifi, lte"},
        {good + "[[change]]\nat_s = 1\npath = \"lte\"\n", "t.toml:15:8:", "changes nothing", "blackhole"},
        {good + "[[change]]\nat_s = 1\npath = \"lte\"\nlink = \"off\"\n", "t.toml:17:8:", "link",
         "\"down\", \"up\""},
        {good + "[[change]]\nat_s = 1\npath = \"lte\"\nlink = \"up\"\nover_s = 2\n",
         "t.toml:18:10:", "gradually", "over_s"},
        {good + "[[change]]\nat_s = 1\npath = \"lte\"\nrate_mbit = 1\nevery_s = 2\n",
         "t.toml:18:11:", "until_s", ""},
        {replaced(good, "kind = \"bulk\"\nbytes = 1000\n",
                  "kind = \"requests\"\nsizes_bytes = [1]\ncount = 1\nrange_bytes = 1\n"),
         "t.toml:15:15:", "range_bytes", "the server sends"},
        {good + "[steering]\nhosts = [\"peer\"]\n", "t.toml:15:10:", "hosts", "\"client\""},
        {good + "[[variant]]\nname = \"a\"\nset = { \"path.dsl.rate_mbit\" = 1 }\n",
         "t.toml:16:9:", "no \"path.dsl.rate_mbit\"", "path.wifi"},
        {good + "[[variant]]\nname = \"a\"\nset = { \"path.wifi.rate_mbit\" = 0 }\n", "t.toml:14",
         "rate_mbit", "from 0.01"},
    };
    for (const auto &[toml, where, what, hint] : cases) {
        INFO(toml);
        const auto parsed = parse_scenarios(toml, "t.toml");
        REQUIRE_FALSE(parsed.has_value());
        const auto &error = parsed.error();
        INFO(error.what << "\n" << error.hint);
        CHECK(error.what.starts_with(where));
        CHECK(error.what.find(what) != std::string::npos);
        CHECK(error.hint.find(hint) != std::string::npos);
        CHECK(error.err == EINVAL);
    }
}

TEST_CASE("requests have one count for all sizes, or one for each") {
    const auto workload = [](const std::string &keys) {
        return replaced(good, "kind = \"bulk\"\nbytes = 1000\n",
                        "kind = \"requests\"\nsizes_bytes = [1, 20, 300]\n" + keys);
    };
    CHECK(one(workload("count = 4\n")).workload.counts == std::vector<unsigned>{4, 4, 4});
    CHECK(one(workload("count = [5, 4, 3]\n")).workload.counts == std::vector<unsigned>{5, 4, 3});
    for (const auto *keys : {"count = [5, 4]\n", "count = [5, 4, 0]\n", "count = [5, 4, 0.5]\n",
                             "count = []\n", "count = 0\n", "count = \"5\"\n"}) {
        INFO(keys);
        const auto parsed = parse_scenarios(workload(keys), "t.toml");
        REQUIRE_FALSE(parsed.has_value());
        CHECK(parsed.error().what.find("\"count\"") != std::string::npos);
    }
    CHECK(one(good).workload.look_ms == 10);
    CHECK(one(good + "look_ms = 100\n").workload.look_ms == 100);
    CHECK_FALSE(parse_scenarios(good + "look_ms = 0\n", "t.toml").has_value());
}

TEST_CASE("1 to 8 paths are possible") {
    std::string nine = "id = \"T\"\ntitle = \"t\"\n";
    for (int i = 0; i < 9; ++i) {
        nine += "[[path]]\nname = \"p" + std::to_string(i) + "\"\nrate_mbit = 1\n";
    }
    const auto parsed = parse_scenarios(nine, "t.toml");
    REQUIRE_FALSE(parsed.has_value());
    CHECK(parsed.error().what.find("9 paths") != std::string::npos);
    CHECK_FALSE(parse_scenarios("id = \"T\"\ntitle = \"t\"\n", "t.toml").has_value());
}

TEST_CASE("changes come in order of time, ramps in steps from what the path had, repeats until their end") {
    const auto scenario = one(good + R"([[change]]
at_s = 3
path = "wifi"
rate_mbit = 10
over_s = 1
[[change]]
at_s = 1
path = "lte"
blackhole = true
every_s = 4
until_s = 9
[[change]]
at_s = 2
path = "lte"
blackhole = false
every_s = 4
until_s = 10
)");
    CHECK(std::ranges::is_sorted(scenario.changes, {}, &Change::at_s));
    const auto faults = std::ranges::count_if(scenario.changes, &Change::fault);
    CHECK(faults == 3);
    std::vector<double> ramp;
    for (const auto &change : scenario.changes) {
        if (change.path == 0) {
            ramp.push_back(change.to.rate_mbit);
            CHECK(change.to.down_rate_mbit == change.to.rate_mbit);
        }
    }
    REQUIRE(ramp.size() == 10);
    CHECK(std::abs(ramp.front() - 19) < 1e-9);
    CHECK(std::abs(ramp.back() - 10) < 1e-9);
    CHECK(std::ranges::count_if(scenario.changes,
                                [](const Change &c) { return c.path == 0 && !c.kind.empty(); }) == 1);
}

TEST_CASE("the fluid of a scenario knows its changes") {
    const auto scenario =
        one(good + "[[change]]\nat_s = 2\npath = \"wifi\"\nblackhole = true\n"
                   "[[change]]\nat_s = 4\npath = \"wifi\"\nblackhole = false\nloss_percent = 50\n");
    const auto fluid = scenario.fluid(Side::a);
    REQUIRE(fluid.size() == 2);
    REQUIRE(fluid[0].size() == 3);
    CHECK(fluid[0][1].mbit == 0);
    CHECK(std::abs(fluid[0][2].mbit - fluid[0][0].mbit / 2) < 1e-9);
    CHECK(fluid[0][0].delay_s == 0.005);
    CHECK(fluid[1].size() == 1);
}

TEST_CASE("random changes are the same for the same seed, and stay within their limits") {
    const auto toml =
        good +
        "[[random]]\npath = \"lte\"\nkey = \"rate_mbit\"\nfrom = 1\nto = 10\nevery_s = 1\nuntil_s = 50\n";
    const auto rates = [&](std::uint64_t seed) {
        std::vector<double> all;
        for (const auto &change : one(toml, seed).changes) {
            all.push_back(change.to.rate_mbit);
            CHECK(all.back() >= 1);
            CHECK(all.back() <= 10);
        }
        return all;
    };
    CHECK(rates(7).size() == 51);
    CHECK(rates(7) == rates(7));
    CHECK(rates(7) != rates(8));
}

TEST_CASE("variants set values, tables and elements of lists") {
    const auto all = must(parse_scenarios(good + R"([[variant]]
name = "plain"
[[variant]]
name = "set"
set = { "path.lte.rate_mbit" = 7.5, "network.first" = "lte", "workload" = { kind = "bulk", duration_s = 3 } }
)",
                                          "t.toml"));
    REQUIRE(all.size() == 2);
    CHECK(all[0].name() == "T/plain");
    CHECK(all[0].workload.bytes == 1000);
    CHECK(all[1].paths[1].start.rate_mbit == 7.5);
    CHECK(all[1].paths[1].start.down_rate_mbit == 7.5);
    CHECK(all[1].first_path == 1);
    CHECK(all[1].workload.duration_s == 3);
}

TEST_CASE("every built-in scenario is read, is named as its file, and has what a list shows") {
    std::set<std::string> names;
    for (const auto &file : builtin_scenarios()) {
        INFO(std::string(file.file));
        for (const auto &scenario : must(parse_scenarios(file.text, std::string(file.file)))) {
            CHECK(scenario.id == file.id);
            CHECK_FALSE(scenario.title.empty());
            CHECK_FALSE(scenario.shows.empty());
            CHECK(names.insert(scenario.name()).second);
            const auto up = scenario.fluid(Side::a);
            CHECK(fluid_arrival_s(up, 0, 1000).has_value());
        }
    }
    for (const auto *id : {"equal-paths",
                           "steady-stream",
                           "requests-fast-first",
                           "requests-slow-first",
                           "changing-rates",
                           "files-in-time",
                           "blocked-path",
                           "blackhole",
                           "flapping",
                           "metered-path",
                           "four-paths",
                           "lossy-and-bloated/rcvbuf-1M",
                           "video/0.3-8.6",
                           "grid/20@5+5@100-slow",
                           "blackhole-requests/backup",
                           "blackhole-return/link",
                           "small-buffers/rcvbuf-6M",
                           "given-shares/95-5",
                           "wifi-and-lte/large",
                           "upload/10@2+10@50-quick-16MB"}) {
        CHECK(names.contains(id));
    }
}

TEST_CASE("scenarios are found by name, by variant and by file, and a wrong name tells the right ones") {
    CHECK(must(find_scenarios("requests-fast-first")).size() == 1);
    CHECK(must(find_scenarios("S4")).front().name() == "requests-fast-first");
    CHECK(must(find_scenarios("S17/rcvbuf-1M")).front().name() == "small-buffers/rcvbuf-1M");
    CHECK(must(find_scenarios("video")).size() == 36);
    CHECK(must(find_scenarios("grid")).size() == 72);
    CHECK(must(find_scenarios("small-buffers/rcvbuf-1M")).front().receive_buffer == 1 << 20);
    const auto wrong = find_scenarios("S99");
    REQUIRE_FALSE(wrong.has_value());
    CHECK(wrong.error().hint.find("requests-fast-first, requests-slow-first") != std::string::npos);
    const auto variant = find_scenarios("small-buffers/none");
    REQUIRE_FALSE(variant.has_value());
    CHECK(variant.error().hint.find("rcvbuf-6M") != std::string::npos);
    CHECK_FALSE(find_scenarios("/nowhere.toml").has_value());
}

TEST_CASE("what a scenario is expected to take follows from its rates and sizes") {
    const auto bulk = expected(one(replaced(good, "bytes = 1000", "bytes = 25_000_000\nsettle_ms = 500")));
    CHECK(std::abs(bulk.megabits - 200) < 1e-6);
    CHECK(std::abs(bulk.network_s - (0.5 + 0.01 + 200.0 / 25)) < 1e-6);
    const auto requests = expected(must(find_scenarios("requests-fast-first")).front());
    CHECK(std::abs(requests.megabits - 20 * 1.421 * 8) < 1e-6);
    CHECK((requests.network_s > 25 && requests.network_s < 50));
    for (const auto &file : builtin_scenarios()) {
        for (const auto &scenario : must(parse_scenarios(file.text, std::string(file.file)))) {
            INFO(scenario.name());
            const auto found = expected(scenario);
            CHECK((found.megabits > 0 && found.network_s > 0.5 && found.network_s < 1000));
        }
    }
}
