// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include <mpsched/lab/scenario.hpp>

#include "must.hpp"
#include "scenario/trace.hpp"

using namespace mps::lab;
using mps::lab::test::must;

namespace {

Scenario with_trace(const std::string &keys) {
    const auto text = "id = \"T\"\ntitle = \"t\"\n[[path]]\nname = \"a\"\ndelay_ms = 7\n" + keys +
                      "\n[workload]\nkind = \"bulk\"\nduration_s = 60\n";
    return must(parse_scenarios(text, "t.toml")).front();
}

std::string mistake(const std::string &text) {
    const auto trace = parse_trace(text);
    REQUIRE(!trace);
    CHECK(!trace.error().hint.empty());
    return trace.error().what;
}

} // namespace

TEST_CASE("a trace of rates holds each until the next, and its last as long as the one before") {
    const auto trace = must(parse_trace("# of nowhere\nseconds, bytes/s\n10,1250000\r\n\n10.5,0\n12,250000"));
    REQUIRE(trace.steps.size() == 3);
    CHECK(trace.steps[0].at_s == 0); // it begins with its first row
    CHECK(trace.steps[0].mbit == 10);
    CHECK(trace.steps[1].at_s == 0.5);
    CHECK(trace.steps[1].mbit == 0);
    CHECK(!trace.steps[1].delay_ms);
    CHECK(trace.length_s == 3.5);
    const auto delays = must(parse_trace("0,1000,20\n1,1000,30\n"));
    CHECK(delays.steps[1].delay_ms == 30.0);
}

TEST_CASE("a Mahimahi trace becomes rates of as much time as is wanted") {
    // Ten packets in the first 100 ms, none in the second, two in the third; its end is its last line.
    std::string text;
    for (int ms = 5; ms <= 95; ms += 10) {
        text += std::to_string(ms) + "\n";
    }
    text += "250\n300\n";
    const auto trace = must(parse_trace(text, 0.1));
    REQUIRE(trace.steps.size() == 3);
    CHECK(std::abs(trace.steps[0].mbit - 1.2) < 1e-9);
    CHECK(trace.steps[1].mbit == 0);
    CHECK(std::abs(trace.steps[2].mbit - 0.24) < 1e-9);
    CHECK(std::abs(trace.length_s - 0.3) < 1e-9);
    CHECK(must(parse_trace(text, 0.3)).steps.size() == 1);
}

TEST_CASE("two directions become one path, and the shorter trace begins anew") {
    const Trace up{.steps = {{0, 8, {}}, {1, 4, {}}}, .length_s = 2};
    const Trace down{.steps = {{0, 2, 50.0}, {0.5, 0, 60.0}}, .length_s = 3};
    const auto both = join(up, down);
    CHECK(both.length_s == 3);
    REQUIRE(both.steps.size() == 4); // 0, 0.5, 1, 2
    CHECK(both.steps[0].down_rate_mbit == 2);
    CHECK(!both.steps[0].delay_ms);
    CHECK(both.steps[1].dead);
    CHECK(both.steps[3].at_s == 2);
    CHECK(both.steps[3].rate_mbit == 8);
    // However often something is added up, a trace that begins anew begins with its first step.
    const auto many = join({.steps = {{0, 1, {}}, {0.1, 2, {}}, {0.2, 3, {}}}, .length_s = 0.3},
                           {.steps = {{0, 1, {}}}, .length_s = 30});
    CHECK(many.steps.size() == 300);
    CHECK(many.steps[297].rate_mbit == 1);
}

TEST_CASE("a path follows its trace from the beginning to any end, and what has no rate is lost") {
    const auto scenario = with_trace("trace = \"satellite.csv\"");
    const auto &path = scenario.paths[0];
    CHECK(path.trace.length_s == 60);
    CHECK(path.start.rate_mbit == path.trace.steps[0].rate_mbit);
    CHECK(path.start.delay_ms == path.trace.steps[0].delay_ms);
    CHECK(scenario.changes.back().at_s > 600);
    const auto lost = std::ranges::count_if(scenario.changes,
                                            [](const Change &c) { return c.at_s < 60 && c.to.loss == 1; });
    CHECK(lost == 3); // hand-overs at 15, 30 and 45 s
    for (const auto &change : scenario.changes) {
        REQUIRE(change.to.rate_mbit == change.to.down_rate_mbit);
        REQUIRE(change.kind.empty()); // 240 lines in a report say nothing
    }
    const auto other =
        with_trace("trace = \"wifi.csv\"\ndown_trace = \"walking.mahimahi\"\ntrace_step_ms = 500");
    CHECK(other.paths[0].start.delay_ms == 7);
    CHECK(other.paths[0].start.rate_mbit != other.paths[0].start.down_rate_mbit);
}

TEST_CASE("every trace in the tree can be read") {
    REQUIRE(builtin_traces().size() >= 3);
    for (const auto &file : builtin_traces()) {
        INFO(file.file);
        CHECK(must(parse_trace(file.text)).steps.size() > 50);
    }
}

TEST_CASE("what is wrong with a trace is told with its line") {
    CHECK(mistake("") == "line 1: there is nothing in it");
    CHECK(mistake("# only words\n") == "line 1: there is nothing in it");
    CHECK(mistake("a,b\nc,d\n").starts_with("line 2: \"c,d\" is not"));
    CHECK(mistake("0,1\n1,x\n").starts_with("line 2:"));
    CHECK(mistake("0,1\n1\n") == "line 2: 1 numbers, where line 1 has 2");
    CHECK(mistake("0,1,2,3\n").starts_with("line 1:"));
    CHECK(mistake("1,1\n1,2\n") == "line 2: the time 1 is not after 1");
    CHECK(mistake("5\n4\n") == "line 2: the time 4 is not after 5");
    CHECK(mistake("0,-1\n") == "line 1: a number is negative");
    CHECK(mistake("0,inf\n").starts_with("line 1:"));
    CHECK(mistake("0,1e30\n").starts_with("line 1: more than"));
    CHECK(mistake("0\n").starts_with("line 1: a trace ends between"));
}

TEST_CASE("a scenario says which traces there are, and refuses what a trace says already") {
    const auto wrong = [](const std::string &keys) {
        const auto text = "id = \"T\"\ntitle = \"t\"\n[[path]]\nname = \"a\"\n" + keys +
                          "\n[workload]\nkind = \"bulk\"\nbytes = 1\n";
        const auto parsed = parse_scenarios(text, "t.toml");
        REQUIRE(!parsed);
        return parsed.error();
    };
    CHECK(wrong("trace = \"nowhere.csv\"").what == "t.toml:5:9: there is no trace \"nowhere.csv\"");
    CHECK(wrong("trace = \"nowhere.csv\"").hint.contains("vehicle.csv"));
    CHECK(wrong("trace = \"wifi.csv\"\nrate_mbit = 3").what ==
          "t.toml:6:13: \"rate_mbit\" and \"trace\" say the same");
    CHECK(wrong("down_trace = \"wifi.csv\"\nrate_mbit = 3").what ==
          "t.toml:5:14: \"down_trace\" needs \"trace\"");
}
