// SPDX-License-Identifier: MIT

#include <algorithm>
#include <map>
#include <set>
#include <sstream>
#include <string>

#include <fmt/format.h>
#include <mps/datapath_abi.h>

#include "catch.hpp"
#include "metrics/catalogue.hpp"
#include "metrics/exposition.hpp"
#include "watch/flows.hpp"
#include "web/view.hpp"

using namespace mps;
using namespace mps::metrics;

namespace {

// Two interfaces, and one that nobody knows; some of each verdict, policy and reason.
Sample sample_of(unsigned connections, std::uint64_t bytes_each) {
    Sample sample{.monotonic_ns = 1'000'000'000 + bytes_each,
                  .installed = true,
                  .policy = "auto",
                  .rx_policy = "default"};
    for (const char *name : {"dsl", "lte"})
        sample.paths.push_back({.name = name, .ifindex = 3, .attached = true, .wanted = true});
    sample.paths[1].attributes.quota_bytes = 1000;
    sample.paths[1].quota_used_bytes = 1200;
    for (unsigned i = 0; i < connections; i++) {
        ConnectionStatus connection{.token = i, .policy = i % 2 ? "auto" : "weighted", .tracked = true};
        connection.plain = i % 10 == 9;
        for (unsigned j = 0; j < 2; j++) {
            SubflowStatus one{.id = j, .ifname = j ? "dsl" : "lte", .allowed = j == 0, .steerable = true};
            one.srtt_us = 10'000;
            one.bytes_acked = bytes_each;
            one.reason = SubflowReason{.code = i % 3 ? 10U : MPS_REASON_OWN + i};
            connection.subflows.push_back(one);
        }
        sample.connections.push_back(connection);
    }
    sample.counters.push_back({.name = "decided", .text = "", .value = 7});
    sample.programs.push_back({.name = "mps_tc", .id = 1, .runs = 5, .time_ns = 1'500'000});
    return sample;
}

Look look_of(unsigned connections) {
    watch::PathTotals totals;
    const Sample first = sample_of(connections, 0);
    Look look{.sample = sample_of(connections, 1'000'000'000)};
    totals.take({}, first, watch::flows_between({}, first.connections));
    totals.take(first, look.sample, watch::flows_between(first.connections, look.sample.connections));
    look.paths = totals.paths();
    look.links = {{.name = "dsl",
                   .ifindex = 3,
                   .type = "wifi",
                   .carrier = true,
                   .bit_s = 54'000'000,
                   .wireless = Wireless{.mode = "station", .signal_dbm = -61}}};
    return look;
}

std::map<std::string, std::string> series_of(const std::string &text) {
    std::map<std::string, std::string> all;
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);)
        if (!line.starts_with('#'))
            all[line.substr(0, line.rfind(' '))] = line.substr(line.rfind(' ') + 1);
    return all;
}

std::set<std::string> names_of(const std::map<std::string, std::string> &series) {
    std::set<std::string> names;
    for (const auto &[name, value] : series)
        names.insert(name);
    return names;
}

} // namespace

TEST_CASE("10,000 connections have the series that ten have", "[metrics]") {
    const auto few = series_of(exposition(look_of(10), {}));
    const auto many = series_of(exposition(look_of(10'000), {}));
    CHECK(names_of(few) == names_of(many));
    CHECK(many.at("mpsched_connections{policy=\"weighted\"}") == "5000");
    CHECK(many.at("mpsched_connections{policy=\"auto\"}") == "4000");
    CHECK(many.at("mpsched_plain_connections") == "1000");
    CHECK(many.at("mpsched_path_bytes_total{interface=\"dsl\",direction=\"sent\"}") == "10000000000000");
    CHECK(many.at("mpsched_path_bytes_per_second{interface=\"dsl\",direction=\"sent\"}") == "10000000000000");
    CHECK(many.at("mpsched_path_subflows{interface=\"dsl\",verdict=\"parked\"}") == "10000");
    CHECK(many.at("mpsched_path_subflows{interface=\"lte\",verdict=\"allowed\"}") == "10000");
    CHECK(many.at("mpsched_path_parked_seconds_total{interface=\"dsl\"}") == "10000");
    CHECK(many.at("mpsched_path_rtt_seconds{interface=\"dsl\"}") == "0.01");
    CHECK(many.at("mpsched_subflows{verdict=\"parked\",reason=\"ahead-of-share\"}") == "6000");
    CHECK(many.at("mpsched_subflows{verdict=\"parked\",reason=\"own\"}") == "3000");
    CHECK(many.at("mpsched_path_quota_left_bytes{interface=\"lte\"}") == "0");
    CHECK_FALSE(many.contains("mpsched_path_quota_left_bytes{interface=\"dsl\"}"));
    CHECK(many.at("mpsched_datapath_decided_total") == "7");
    CHECK(many.at("mpsched_program_seconds_total{program=\"mps_tc\"}") == "0.0015");
}

TEST_CASE("links say what they know, and what is metered where somebody says so", "[metrics]") {
    const auto series = series_of(exposition(look_of(10), {.metered = {{"lte", true}}}));
    CHECK(series.at("mpsched_path_link_info{interface=\"dsl\",type=\"wifi\"}") == "1");
    CHECK(series.at("mpsched_path_carrier{interface=\"dsl\"}") == "1");
    CHECK(series.at("mpsched_path_link_bytes_per_second{interface=\"dsl\"}") == "6750000");
    CHECK(series.at("mpsched_path_signal_dbm{interface=\"dsl\"}") == "-61");
    CHECK(series.at("mpsched_path_metered{interface=\"lte\"}") == "1");
    CHECK_FALSE(series.contains("mpsched_path_metered{interface=\"dsl\"}"));
}

TEST_CASE("each metric is written once with its type, and every one of them is in the catalogue",
          "[metrics]") {
    const std::string text =
        exposition(look_of(10), {.version = "1", .revision = "abc", .metered = {{"lte", true}}});
    std::istringstream lines(text);
    std::set<std::string> seen;
    std::string present;
    for (std::string line; std::getline(lines, line);) {
        if (line.starts_with("# TYPE ")) {
            present = line.substr(7, line.find(' ', 7) - 7);
            CHECK(seen.insert(present).second);
            CHECK(line.ends_with(present.ends_with("_total") ? " counter" : " gauge"));
        } else if (!line.starts_with('#')) {
            CHECK(line.substr(0, line.find_first_of("{ ")) == present);
        }
    }
    // All but the counters of the data path that the sample has not.
    for (const Metric &metric : catalogue()) {
        INFO(metric.name);
        CHECK((metric.name.starts_with("mpsched_datapath_") || seen.contains(metric.name)));
        CHECK_FALSE(metric.text.contains('\n'));
        CHECK_FALSE(metric.text.contains('\\'));
    }
    CHECK(std::ranges::count_if(catalogue(), [](const Metric &one) {
              return one.name.starts_with("mpsched_datapath_");
          }) == MPS_C_MAX);
}

TEST_CASE("without an installation only the service's own metrics are there", "[metrics]") {
    const auto series = series_of(exposition({}, {.revision = "abc", .refused = true, .failed_objects = 2}));
    CHECK(series.at("mpsched_installed") == "0");
    CHECK(series.at("mpsched_config_info{revision=\"abc\"}") == "1");
    CHECK(series.at("mpsched_config_refused") == "1");
    CHECK(series.at("mpsched_objects_failed") == "2");
    CHECK_FALSE(series.contains("mpsched_plain_connections"));
}

TEST_CASE("a name with quotes or octets that are no text leaves the rest readable", "[metrics]") {
    Look look;
    look.sample.installed = true;
    look.sample.paths.push_back({.name = "a\"b\\c\xff"});
    const std::string text = exposition(look, {});
    CHECK(text.contains("mpsched_path_down{interface=\"a\\\"b\\\\c\\\\xff\"} 0\n"));
}

TEST_CASE("what was carried while nothing was attached is not counted, and names that are gone are forgotten",
          "[metrics]") {
    watch::PathTotals totals;
    Sample before = sample_of(1, 1'000'000'000);
    totals.take({}, before, {});
    Sample gone{.monotonic_ns = 3'000'000'000};
    totals.take(before, gone, {});
    CHECK(totals.paths().empty());
    Sample again = sample_of(1, 4'000'000'000);
    totals.take(gone, again, watch::flows_between(gone.connections, again.connections));
    CHECK(totals.paths().at("dsl").sent_bytes == 0);
}

TEST_CASE("the page shows the connections that carry most, and what is no text as something that is",
          "[web]") {
    Look look = look_of(10'000);
    for (unsigned i = 0; i < 20'000; i++)
        look.rates.push_back({.sent = i / 2 == 7777 ? 5000U : i / 2 == 42 ? 4000U : 1U, .received = 0});
    look.sample.paths[0].name = "a<b>\xff";
    const Json all = web::view(look, {.revision = "abc"});
    CHECK(all["connections"] == 10'000);
    REQUIRE(all["busiest"].size() == web::most_connections);
    CHECK(all["busiest"][0]["token"] == "00001e61");
    CHECK(all["busiest"][1]["token"] == "0000002a");
    CHECK(all["busiest"][2]["token"] == "00000000");
    CHECK(all["busiest"][0]["subflows"][1]["sent_bytes_s"] == 5000);
    CHECK(all["paths"][1]["quota_used_bytes"] == 1200);
    CHECK(Json::parse(json_text(all), nullptr, false).is_object());
    // Without an earlier look there are no rates.
    look.rates.clear();
    CHECK(web::view(look, {})["busiest"][0]["subflows"][0]["sent_bytes_s"] == 0);
    CHECK(web::view({}, {})["busiest"].empty());
}
