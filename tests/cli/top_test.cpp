// SPDX-License-Identifier: MIT
//
// What `top` shows and what keys do to it, without a terminal; and what paths have carried.
#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "catch.hpp"
#include "output/text.hpp"
#include "watch/path_totals.hpp"
#include "watch/top_view.hpp"

using namespace mps;
using namespace mps::watch;

namespace {

SubflowStatus subflow(std::uint32_t id, const std::string &ifname, bool allowed, std::uint64_t acked) {
    return {.id = id,
            .ifindex = id + 1,
            .ifname = ifname,
            .local = fmt::format("192.0.2.{}:1000", id),
            .remote = "198.51.100.1:443",
            .tcp_state = "established",
            .allowed = allowed,
            .usable = true,
            .steerable = true,
            .srtt_us = 10'000 * id,
            .cwnd = 10,
            .bytes_acked = acked,
            .bytes_received = acked / 10};
}

// At second `n`: connection 1 has sent 1 MB/s on dsl, connection 2 half of that.
Sample look(std::uint64_t n, std::uint32_t connections = 2) {
    Sample sample{.monotonic_ns = (n + 1) * 1'000'000'000, .installed = true, .followed = true};
    sample.policy = sample.rx_policy = "auto";
    sample.paths = {{.name = "dsl", .ifindex = 2, .attached = true},
                    {.name = "lte", .ifindex = 3, .attached = true}};
    sample.paths[1].attributes.quota_bytes = 1'000'000'000;
    for (std::uint32_t token = 1; token <= connections; token++)
        sample.connections.push_back(
            {.token = token,
             .policy = token % 2 ? "auto" : "weighted",
             .tracked = true,
             .subflows = {subflow(1, "dsl", true, n * 1'000'000 / token), subflow(2, "lte", false, 0)}});
    sample.counters = {{.name = "decided", .text = "", .value = n * 500}};
    sample.programs = {{.name = "mps_tc_eth", .id = 7, .runs = n * 1000, .time_ns = n * 5'000'000}};
    return sample;
}

TopModel model_of(std::uint32_t connections = 2) {
    TopModel model;
    model.take(look(1, connections));
    model.take(look(2, connections));
    return model;
}

std::vector<std::string> texts(const std::vector<Line> &lines) {
    std::vector<std::string> all;
    for (const Line &line : lines)
        all.push_back(plain(line));
    return all;
}

bool has(const std::vector<std::string> &lines, std::string_view part) {
    return std::ranges::any_of(lines, [&](const std::string &line) { return line.contains(part); });
}

std::vector<std::uint32_t> tokens(const TopModel &model, View view, Order order, std::string_view filter) {
    std::vector<std::uint32_t> all;
    for (const Row &row : model.rows(view, order, filter))
        all.push_back(row.connection->token);
    return all;
}

void type(TopView &view, std::string_view word) {
    for (const char letter : word)
        REQUIRE(view.press(Key::character, static_cast<char32_t>(letter)));
}

} // namespace

TEST_CASE("rates are what has grown between two looks, and nothing at the first", "[top]") {
    TopModel model;
    model.take(look(1));
    for (const Row &row : model.rows(View::connections, {}, ""))
        CHECK(row.sent_bytes_s == 0);
    CHECK(model.per_second("decided") == 0);
    model.take(look(2));
    const auto rows = model.rows(View::connections, {0, false}, "");
    REQUIRE(rows.size() == 2);
    CHECK(rows[0].sent_bytes_s == 1'000'000);
    CHECK(rows[1].sent_bytes_s == 500'000);
    CHECK(rows[0].received_bytes_s == 100'000);
    CHECK(rows[0].rtt_us == 10'000);
    CHECK(rows[0].parked == 1);
    CHECK(model.per_second("decided") == 500);
    CHECK(model.per_second("nosuch") == 0);
    const auto programs = model.rows(View::programs, {0, false}, "");
    REQUIRE(programs.size() == 1);
    CHECK(programs[0].runs_s == 1000);
    CHECK(programs[0].run_ns == 5000);
    CHECK(model.program_share() == Approx(0.005));
    const auto paths = model.rows(View::paths, {0, false}, "");
    REQUIRE(paths.size() == 2);
    CHECK(paths[0].sent_bytes_s == 1'500'000);
    CHECK(paths[1].parked == 2);
}

TEST_CASE("rows are sorted by numbers or texts, either way, and filtered by what people look for", "[top]") {
    const TopModel model = model_of(4);
    CHECK(tokens(model, View::connections, {2, true}, "") == std::vector<std::uint32_t>{1, 2, 3, 4});
    CHECK(tokens(model, View::connections, {2, false}, "") == std::vector<std::uint32_t>{4, 3, 2, 1});
    // By the policy's name; those of one name stay in order.
    CHECK(tokens(model, View::connections, {1, false}, "") == std::vector<std::uint32_t>{1, 3, 2, 4});
    CHECK(tokens(model, View::connections, {0, false}, "WEIGHTED") == std::vector<std::uint32_t>{2, 4});
    CHECK(tokens(model, View::connections, {0, false}, "00000003") == std::vector<std::uint32_t>{3});
    CHECK(tokens(model, View::subflows, {0, false}, "lte").size() == 4);
    CHECK(tokens(model, View::subflows, {0, false}, "parked").size() == 4);
    CHECK(tokens(model, View::subflows, {0, false}, "192.0.2.1:").size() == 4);
    CHECK(tokens(model, View::subflows, {0, false}, "nosuch").empty());
    CHECK(model.rows(View::paths, {0, false}, "dsl").size() == 1);
}

TEST_CASE("what paths carried goes on when connections end, and verdicts and losses are counted", "[top]") {
    PathTotals totals;
    Sample before{}, now = look(1);
    const auto take = [&](Sample next) {
        before = std::move(now);
        now = std::move(next);
        totals.take(before, now, flows_between(before.connections, now.connections));
    };
    totals.take(before, now, flows_between({}, now.connections));
    // What was carried before anybody looked is not counted.
    CHECK(totals.paths().at("dsl").sent_bytes == 0);
    take(look(2));
    CHECK(totals.paths().at("dsl").sent_bytes == 1'500'000);
    CHECK(totals.paths().at("lte").parked_s == Approx(2));
    CHECK(totals.paths().at("lte").parked == 2);
    CHECK(totals.paths().at("dsl").srtt_us == 10'000);
    Sample ended = look(3);
    ended.connections.pop_back();
    take(std::move(ended));
    CHECK(totals.paths().at("dsl").sent_bytes == 2'500'000);
    CHECK(totals.paths().at("dsl").sent_bytes_s == 1'000'000);
    // The other one begins again with another socket: all of it counts. dsl is lost, lte carries on.
    Sample lost = look(4);
    for (ConnectionStatus &connection : lost.connections) {
        connection.subflows[0].silent = true;
        connection.subflows[0].allowed = false;
        connection.subflows[1].allowed = true;
    }
    take(std::move(lost));
    CHECK(totals.paths().at("dsl").sent_bytes == 2'500'000 + 1'000'000 + 2'000'000);
    CHECK(totals.paths().at("dsl").failovers == 1);
    CHECK(totals.paths().at("lte").failovers == 0);
    CHECK(totals.paths().at("dsl").flips == 1);
    CHECK(totals.paths().at("lte").flips == 1);
    // As many as there are paths, however many connections there are.
    take(look(5, 500));
    CHECK(totals.paths().size() == 2);
}

TEST_CASE("a screen of 80 by 24 has the paths, as many rows as fit, and the keys", "[top]") {
    const TopModel model = model_of(100);
    TopView view;
    auto lines = view.draw(model, "12:00:00", 80, 24);
    auto seen = texts(lines);
    INFO(fmt::format("{}", fmt::join(seen, "\n")));
    REQUIRE(lines.size() == 24);
    for (const std::string &line : seen)
        CHECK(text::width(line) <= 80);
    CHECK(seen[0].contains("auto"));
    CHECK(seen[0].contains("100 connections"));
    CHECK(seen[1].starts_with("decisions 500/s"));
    CHECK(has(seen, "dsl"));
    CHECK(has(seen, "0/100 parked"));
    CHECK(has(texts(view.draw(model, "12:00:00", 120, 24)), "quota 0 B of 1.0 GB"));
    CHECK(has(seen, "token    policy"));
    CHECK(seen.back().ends_with("q quit"));
    CHECK(seen[2].contains("rows 1-"));
    CHECK(seen[2].contains(" of 100"));
    // The first is who sends most.
    const auto first =
        std::ranges::find_if(seen, [](const std::string &l) { return l.starts_with("token"); });
    CHECK((first + 1)->starts_with("00000001 auto"));
    CHECK((first + 1)->contains("8.00M"));
    // Every size, also none worth the name.
    for (const std::size_t width : {1U, 20U, 79U, 200U})
        for (const std::size_t rows : {1U, 2U, 5U, 10U, 60U})
            for (const Line &line : view.draw(model, "12:00:00", width, rows))
                CHECK(text::width(plain(line)) <= width);
    // Without rows all are there, and no keys.
    seen = texts(view.draw(model, "12:00:00", 80, 0));
    CHECK(seen.size() == 3 + 2 + 1 + 100);
    CHECK_FALSE(has(seen, "quit"));
}

TEST_CASE("keys choose the view, the order and the filter, scroll, stop and end", "[top]") {
    const TopModel model = model_of(100);
    TopView view;
    const auto seen = [&] { return texts(view.draw(model, "12:00:00", 80, 24)); };
    type(view, "4");
    CHECK(has(seen(), "mps_tc_eth"));
    type(view, "3");
    CHECK(has(seen(), "interface verdict"));
    type(view, "1");
    CHECK(has(seen(), "path         state"));
    type(view, "2");
    CHECK_FALSE(has(seen(), "00000064"));
    type(view, "r");
    CHECK(has(seen(), "00000064"));
    type(view, "r");
    REQUIRE(view.press(Key::end));
    CHECK(has(seen(), "00000064"));
    REQUIRE(view.press(Key::page_up));
    CHECK_FALSE(has(seen(), "00000064"));
    REQUIRE(view.press(Key::home));
    CHECK(has(seen(), "00000001"));
    REQUIRE(view.press(Key::down));
    CHECK_FALSE(has(seen(), "00000001"));
    // While a filter is typed, letters are letters.
    type(view, "/weiqhted");
    for (int i = 0; i < 5; i++)
        REQUIRE(view.press(Key::backspace));
    CHECK(has(seen(), "filter: wei_"));
    type(view, "ghted");
    REQUIRE(view.press(Key::enter));
    CHECK_FALSE(has(seen(), "00000001 auto"));
    CHECK(has(seen(), "filter: weighted"));
    REQUIRE(view.press(Key::escape));
    CHECK_FALSE(has(seen(), "filter: weighted"));
    type(view, "h");
    CHECK(has(seen(), "sort by another column"));
    type(view, "h");
    CHECK_FALSE(has(seen(), "sort by another column"));
    CHECK_FALSE(view.paused());
    type(view, "p");
    CHECK(view.paused());
    CHECK(has(seen(), "paused"));
    type(view, " ");
    CHECK_FALSE(view.paused());
    // Every column in turn, and back to where it began.
    for (std::size_t i = 0; i < columns_of(View::connections).size(); i++) {
        type(view, "s");
        (void)seen();
    }
    CHECK(has(seen(), "00000001"));
    CHECK_FALSE(view.press(Key::character, 'q'));
    CHECK(view.choose("subflows"));
    CHECK(view.sort_by("rtt"));
    CHECK_FALSE(view.choose("nosuch"));
    CHECK_FALSE(view.sort_by("nosuch"));
}

TEST_CASE("what is not attached is said, and names from outside cannot harm the screen", "[top]") {
    TopModel model;
    model.take(Sample{.monotonic_ns = 1});
    TopView view;
    CHECK(has(texts(view.draw(model, "12:00:00", 80, 24)), "nothing is attached here"));
    Sample evil = look(1);
    evil.paths[0].name = "\x1b[2Jdsl";
    evil.connections[0].policy = "we\nighted";
    model.take(evil);
    for (const std::string &line : texts(view.draw(model, "12:00:00", 80, 24)))
        CHECK_FALSE((line.contains('\x1b') || line.contains('\n')));
}
