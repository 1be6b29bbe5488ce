// SPDX-License-Identifier: MIT
//
// [[congestion]] and [spread]: what stands in the kernel beside the data path.
#include <algorithm>
#include <filesystem>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/numbers.hpp"
#include "config/kernel_wishes.hpp"

namespace mps::config {

namespace {

using Kind = Action::Kind;

void complain(std::vector<Problem> &problems, const Position &at, const Error &error) {
    problems.push_back({at, error.what, error.hint});
}

// "mps_lia", also for lia.
bool same_control(const std::string &wanted, const std::string &live) {
    return wanted == live || "mps_" + wanted == live;
}

// The map that the keys `map` and `routes` say together; nullopt after a mistake.
std::optional<SpreadMap> map_of(const Section &section, const std::string &folder,
                                std::vector<Problem> &problems) {
    const Entry *file = section.find("map");
    const Entry *routes = section.find("routes");
    if (file && routes) {
        problems.push_back({routes->at, "'map' and 'routes' exclude each other", "leave one of them out"});
        return std::nullopt;
    }
    Result<SpreadMap> map = SpreadMap{};
    if (file)
        map = read_spread_map((std::filesystem::path(folder) / file->texts.front()).lexically_normal());
    else if (routes)
        map = parse_spread_map(fmt::format("{}\n", fmt::join(routes->texts, "\n")), "routes");
    if (map)
        return std::move(*map);
    complain(problems, file ? file->at : routes->at, map.error());
    return std::nullopt;
}

std::string rule_text(const CongestionUse &use) {
    return fmt::format("{}{}{}", use.name, use.selector.empty() ? "" : " for " + use.selector,
                       use.plain_tcp ? " (plain TCP as well)" : "");
}

} // namespace

void read_kernel(const Section &section, std::vector<KernelSetting> &settings,
                 std::vector<Problem> &problems) {
    // Of several files the later one decides.
    const auto set = [&](const char *name, std::string value) {
        std::erase_if(settings, [&](const KernelSetting &one) { return one.name == name; });
        settings.push_back({name, std::move(value)});
    };
    if (const Entry *entry = section.find("stale_loss_cnt")) {
        const std::string &text = entry->texts.front();
        const auto number = parse_number<std::uint32_t>(text);
        if (number && *number <= 1000)
            set("net.mptcp.stale_loss_cnt", fmt::to_string(*number));
        else
            problems.push_back({entry->at, fmt::format("'stale_loss_cnt' cannot be '{}'", text),
                                "a number from 0 to 1000; 0: no subflow becomes stale"});
    }
    if (section.find("slow_start_after_idle"))
        set("net.ipv4.tcp_slow_start_after_idle",
            section.text("slow_start_after_idle") == "true" ? "1" : "0");
}

void read_congestion(const Section &section, std::vector<CongestionWish> &wishes,
                     std::vector<Problem> &problems) {
    CongestionWish wish{.at = section.at,
                        .use = {.name = section.text("control"),
                                .selector = section.text("for"),
                                .plain_tcp = section.text("plain_tcp") == "true"}};
    if (wish.use.name.empty())
        return; // has been told
    const Entry *selector = section.find("for");
    if (selector && wish.use.selector.empty()) {
        problems.push_back({selector->at, "the selector is empty",
                            "without 'for', all connections that no other [[congestion]] names are meant"});
        return;
    }
    if (selector)
        if (const auto good = check_selector(wish.use.selector); !good)
            return complain(problems, selector->at, good.error());
    if (wish.use.selector.contains("host="))
        return complain(problems, selector->at,
                        {.what = "a congestion control cannot be chosen by host=",
                         .hint = "remote=ADDRESS[/PREFIX] does it for addresses"});
    const auto same = std::ranges::find_if(
        wishes, [&](const CongestionWish &one) { return one.use.selector == wish.use.selector; });
    if (same != wishes.end() && same->at.file == wish.at.file)
        problems.push_back({section.at, "there is a [[congestion]] for these connections already",
                            fmt::format("it stands in line {}; the first would decide", same->at.line)});
    else if (same != wishes.end())
        *same = std::move(wish);
    else
        wishes.push_back(std::move(wish));
}

void read_spread(const Section &section, const std::string &folder, std::optional<SpreadWish> &wish,
                 std::vector<Problem> &problems) {
    SpreadWish fresh{.at = section.at, .moves = section.text("move") != "false"};
    if (const Entry *interfaces = section.find("interfaces"))
        fresh.interfaces = interfaces->texts;
    if (auto map = map_of(section, folder, problems))
        fresh.map = std::move(*map);
    wish = std::move(fresh);
}

void plan_congestion(const Desired &desired, const Facts &facts, Plan &plan) {
    std::vector<CongestionUse> wanted;
    for (std::size_t i = 0; i < desired.congestion.size(); i++) {
        wanted.push_back(desired.congestion[i].use);
        if (i < facts.congestion_selectors.size())
            wanted.back().selector = facts.congestion_selectors[i];
    }
    // The rule without a selector comes last, wherever it stands.
    std::ranges::stable_partition(wanted, [](const CongestionUse &one) { return !one.selector.empty(); });
    if (!wanted.empty())
        plan.objects.emplace_back("congestion control");
    const bool same = std::ranges::equal(
        wanted, facts.congestion, [](const CongestionUse &wish, const CongestionRule &live) {
            return same_control(wish.name, live.name) && wish.selector == live.selector &&
                   wish.plain_tcp == live.plain_tcp && live.problem.empty();
        });
    if (same)
        return;
    std::vector<std::string> texts;
    for (const CongestionUse &one : wanted)
        texts.push_back(rule_text(one));
    plan.actions.push_back({.kind = wanted.empty() ? Kind::no_congestion : Kind::congestion,
                            .object = "congestion control",
                            .text = wanted.empty()
                                        ? "remove the rules about congestion control"
                                        : fmt::format("congestion control: {}", fmt::join(texts, "; ")),
                            .congestion = std::move(wanted)});
}

void plan_spread(const Desired &desired, const Facts &facts, Plan &plan) {
    std::set<std::string> stay;
    std::string living; // one that is to stay
    bool is_missing = false;
    const auto act = [&](Kind kind, const std::string &name, std::string text) {
        plan.actions.push_back(
            {.kind = kind, .object = "spread on " + name, .text = std::move(text), .name = name});
    };
    for (const std::string &name : desired.spread ? desired.spread->interfaces : std::vector<std::string>{}) {
        stay.insert(name);
        if (std::ranges::find(facts.interfaces, name, &NetworkInterface::name) == facts.interfaces.end()) {
            plan.waiting.push_back({"spread on " + name, "no such interface is there"});
            continue;
        }
        plan.objects.push_back("spread on " + name);
        const auto live = std::ranges::find(facts.spread.interfaces, name, &SpreadInterface::name);
        if (live != facts.spread.interfaces.end() && live->problem.empty()) {
            living = name;
            continue;
        }
        is_missing = true; // what is said of all of them comes with it
        act(Kind::spread, name, fmt::format("place subflows on {}", name));
    }
    if (!living.empty() && !is_missing) {
        if (facts.spread.moves != desired.spread->moves)
            act(Kind::spread, living,
                desired.spread->moves ? "spread: slow subflows get another label"
                                      : "spread: labels stay for life");
        else if (facts.spread.map != desired.spread->map)
            act(Kind::spread, living, "spread: another map of paths");
    }
    for (const SpreadInterface &live : facts.spread.interfaces)
        if (!stay.contains(live.name))
            act(Kind::no_spread, live.name, fmt::format("place no subflows on {} any more", live.name));
}

void export_congestion(const std::vector<CongestionRule> &rules, std::vector<Section> &sections) {
    for (const CongestionRule &rule : rules) {
        Section section{.part = Part::congestion};
        section.put("control", rule.name);
        if (!rule.selector.empty())
            section.put("for", rule.selector);
        if (rule.plain_tcp)
            section.put("plain_tcp", "true");
        sections.push_back(std::move(section));
    }
}

void export_spread(const SpreadStatus &status, std::vector<Section> &sections) {
    if (status.interfaces.empty())
        return;
    Section section{.part = Part::spread};
    std::vector<std::string> names;
    for (const SpreadInterface &one : status.interfaces)
        names.push_back(one.name);
    section.entries.push_back({.key = "interfaces", .texts = std::move(names), .is_list = true});
    if (!status.moves)
        section.put("move", "false");
    std::vector<std::string> routes;
    for (const SpreadRoute &route : status.map.routes) {
        routes.push_back(format_spread_map({.routes = {route}}));
        routes.back().pop_back(); // the end of the line
    }
    if (!routes.empty())
        section.entries.push_back({.key = "routes", .texts = std::move(routes), .is_list = true});
    sections.push_back(std::move(section));
}

} // namespace mps::config
