// SPDX-License-Identifier: MIT
//
// What scenarios can ask for beyond rates and delays, each proven by what the kernel did: families, jitter, ramps,
// connections for each request, downloads, faults.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <vector>

#include <mpsched/lab/run.hpp>
#include <mpsched/lab/scenario.hpp>

#include <fmt/format.h>

#include "catch.hpp"
#include "must.hpp"

using namespace mps::lab;
using mps::lab::test::must;

namespace {

void need_netem() {
    if (!must(netem_available())) {
        mps::test::skip("this kernel has no netem");
    }
}

// Rates are low, since in a VM bytes take time.
std::string path(std::string_view name, double mbit, double delay_ms, std::string_view more = "") {
    return fmt::format("[[path]]\nname = \"{}\"\nrate_mbit = {}\ndelay_ms = {}\n{}\n", name, mbit, delay_ms,
                       more);
}

Scenario read(const std::string &text) {
    return must(parse_scenarios("id = \"F\"\ntitle = \"a feature\"\n" + text, "feature.toml")).front();
}

Json run(const std::string &text) {
    auto document = must(run_scenario(read(text), {}));
    CHECK(document.at("status") == "ok");
    std::fputs(fmt::format("    {:.2f} s; {}\n", document.at("duration_s").get<double>(),
                           document.at("paths").dump())
                   .c_str(),
               stdout);
    return document;
}

std::vector<double> times_ms(const Json &document) {
    return document.at("requests").at(0).at("times_ms").get<std::vector<double>>();
}

double deviation(const std::vector<double> &values) {
    const auto n = static_cast<double>(values.size());
    const double mean = std::accumulate(values.begin(), values.end(), 0.0) / n;
    double squares = 0;
    for (const double value : values) {
        squares += (value - mean) * (value - mean);
    }
    return std::sqrt(squares / n);
}

// Mean rate of the first path's device between two moments.
double rate_between(const Json &document, double from_s, double to_s) {
    const auto &series = document.at("series");
    const auto at = series.at("at_s").get<std::vector<double>>();
    const auto rates = series.at("paths").at(0).at("tx_mbit").get<std::vector<double>>();
    double sum = 0;
    int count = 0;
    for (std::size_t i = 0; i < at.size(); ++i) {
        if (at[i] >= from_s && at[i] < to_s) {
            sum += rates[i];
            ++count;
        }
    }
    REQUIRE(count > 0);
    return sum / count;
}

} // namespace

TEST_CASE("an IPv6 scenario has IPv6 subflows on every path, and a bulk upload fills both",
          "[lab][feature]") {
    need_netem();
    // The start, its first losses and what waits for a gap at the end cost about half a second on 6.1, .845 of 4 s.
    const auto document = run("[network]\nfamily = \"ipv6\"\nfirst = \"two\"\n" + path("one", 5, 5) +
                              path("two", 5, 10) + "[workload]\nkind = \"bulk\"\nduration_s = 8\n");
    CHECK(document.at("first_path") == "two");
    for (const auto &one : document.at("paths")) {
        CHECK(one.at("subflows") == Json({{"ipv4", 0}, {"ipv6", 1}}));
        CHECK(one.at("share").get<double>() > 0.35);
    }
    CHECK(document.at("ratios").at("goodput_mbit").get<double>() > 0.85);
    CHECK(document.at("ratios").at("goodput_mbit").get<double>() <= 1.0);
}

TEST_CASE("a download comes down at its own rate", "[lab][feature]") {
    need_netem();
    const auto document =
        run(path("one", 1, 5, "down_rate_mbit = 6") + path("two", 1, 10, "down_rate_mbit = 4") +
            "[workload]\nkind = \"bulk\"\ndirection = \"download\"\nduration_s = 4\n");
    for (const auto &one : document.at("paths")) {
        CHECK(one.at("subflows") == Json({{"ipv4", 1}, {"ipv6", 0}}));
        CHECK(one.at("rx_bytes").get<double>() > 5 * one.at("tx_bytes").get<double>());
    }
    CHECK(document.at("paths").at(0).at("share").get<double>() == Approx(0.6).margin(0.08));
    CHECK(document.at("ratios").at("goodput_mbit").get<double>() > 0.85);
    CHECK(document.at("ratios").at("goodput_mbit").get<double>() <= 1.0);
}

TEST_CASE("jitter spreads round trips as evenly as it says, and without it there is none", "[lab][feature]") {
    need_netem();
    const auto times = [](std::string_view jitter) {
        return times_ms(run(path("one", 10, 20, jitter) + "[workload]\nkind = \"requests\"\n"
                                                          "sizes_bytes = [100]\ncount = 80\ngap_ms = 30\n"));
    };
    const auto steady = times("");
    const auto spread = times("jitter_ms = 8");
    for (const auto *all : {&steady, &spread}) {
        const auto [least, most] = std::ranges::minmax(*all);
        std::fputs(
            fmt::format("    {:.1f} to {:.1f} ms, deviation {:.2f}\n", least, most, deviation(*all)).c_str(),
            stdout);
    }
    REQUIRE(steady.size() == 80);
    REQUIRE(spread.size() == 80);
    CHECK(deviation(steady) < 0.5);
    CHECK(std::ranges::min(steady) >= 40);
    // The sum of two delays, each even over 20 ± 8 ms, deviates by 8 sqrt(2/3) = 6.5 ms.
    CHECK(deviation(spread) == Approx(6.5).margin(1.5));
    CHECK(std::ranges::min(spread) >= 24);
    CHECK(std::ranges::max(spread) <= 56 + 5);
    CHECK(std::ranges::max(spread) - std::ranges::min(spread) > 20);
}

TEST_CASE("a ramp of the rate is in the series, step by step", "[lab][feature]") {
    need_netem();
    const auto document = run(path("one", 8, 5, "queue_packets = 20") +
                              "[[change]]\nat_s = 1\nover_s = 2\npath = \"one\"\nrate_mbit = 2\n"
                              "[workload]\nkind = \"bulk\"\nduration_s = 4.5\n");
    CHECK(rate_between(document, 0.4, 1.0) == Approx(8).epsilon(0.1));
    CHECK(rate_between(document, 1.8, 2.2) == Approx(5).epsilon(0.15));
    CHECK(rate_between(document, 3.3, 4.4) == Approx(2).epsilon(0.15));
    const double first = rate_between(document, 1.2, 1.6);
    const double second = rate_between(document, 1.8, 2.2);
    const double third = rate_between(document, 2.4, 2.8);
    CHECK(first > second + 0.5);
    CHECK(second > third + 0.5);
    const auto &events = document.at("events");
    CHECK(std::ranges::any_of(events, [](const Json &event) { return event.at("kind") == "rate"; }));
}

TEST_CASE("a new connection for each request costs its handshake, one for all does not", "[lab][feature]") {
    need_netem();
    const auto requests = [](std::string_view per) {
        return run(path("one", 10, 20) + fmt::format("[workload]\nkind = \"requests\"\nsizes_bytes = [1000]\n"
                                                     "count = 6\ngap_ms = 20\nconnection_per = \"{}\"\n",
                                                     per));
    };
    const auto kept = requests("run");
    const auto fresh = requests("request");
    CHECK(kept.at("paths").at(0).at("subflows").at("ipv4") == 1);
    CHECK(fresh.at("paths").at(0).at("subflows").at("ipv4") == 6);
    CHECK(std::ranges::max(times_ms(kept)) < 2 * 40);
    const auto times = times_ms(fresh);
    REQUIRE(times.size() == 6);
    // The first one's connection was there: it greets before the workload begins.
    CHECK(times.front() < 2 * 40);
    CHECK(*std::ranges::min_element(times.begin() + 1, times.end()) >= 2 * 40);
    CHECK(fresh.at("requests").at(0).at("ratio").get<double>() < 1.3);
}

TEST_CASE("of what is asked for in ranges, two are under way at a time", "[lab][feature]") {
    need_netem();
    const auto fetched = [](std::string_view ranges) {
        return run(path("one", 100, 50) +
                   fmt::format("[workload]\nkind = \"requests\"\ndirection = \"download\"\n"
                               "sizes_bytes = [405_000]\ncount = 2\n{}\n",
                               ranges));
    };
    const auto whole = fetched(""), ranges = fetched("range_bytes = 10_000");
    REQUIRE(times_ms(whole).size() == 2);
    REQUIRE(times_ms(ranges).size() == 2);
    CHECK(std::ranges::max(times_ms(whole)) < 1000);
    // 41 ranges, of which two take one round trip of 100 ms.
    CHECK(std::ranges::min(times_ms(ranges)) >= 20 * 100);
    CHECK(std::ranges::max(times_ms(ranges)) < 22 * 100);
    CHECK(ranges.at("metrics").at("contents_bytes") == whole.at("metrics").at("contents_bytes"));
}

TEST_CASE("a blackhole is proven by the data it swallows", "[lab][feature]") {
    need_netem();
    const auto document = run(path("one", 5, 10) + path("two", 5, 10) +
                              "[[change]]\nat_s = 1\npath = \"one\"\nblackhole = true\n"
                              "[workload]\nkind = \"bulk\"\nduration_s = 3\n");
    const auto &events = document.at("events");
    const auto hole =
        std::ranges::find_if(events, [](const Json &event) { return event.at("kind") == "blackhole"; });
    REQUIRE(hole != events.end());
    const auto proof = hole->at("proof").get<std::string>();
    INFO(proof);
    CHECK(std::stoi(proof) >= 3);
    CHECK(proof.find("packets dropped in") != std::string::npos);
}

TEST_CASE("a blackhole that only meets the end of a connection is no fault, and the run fails",
          "[lab][feature]") {
    need_netem();
    // The backup is idle until the connection is closed.
    const auto scenario = read(path("one", 5, 10) + path("two", 5, 10, "backup = true") +
                               "[[change]]\nat_s = 1\npath = \"two\"\nblackhole = true\n"
                               "[workload]\nkind = \"requests\"\nsizes_bytes = [1000]\n"
                               "count = 20\ngap_ms = 100\n");
    const auto result = run_scenario(scenario, {});
    REQUIRE_FALSE(result.has_value());
    CHECK(result.error().what.find("swallowed nothing") != std::string::npos);
}
