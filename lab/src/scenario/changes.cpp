// SPDX-License-Identifier: MIT
#include "changes.hpp"

#include <cmath>
#include <random>
#include <utility>

namespace mps::lab {
namespace {

constexpr double ramp_step_s = 0.1;
constexpr std::size_t max_changes = 10'000;

std::size_t read_path_name(Section &section, const Scenario &scenario) {
    std::vector<std::string> names;
    for (const auto &path : scenario.paths) {
        names.push_back(path.name);
    }
    section.require("path", fmt::format("one of {}", fmt::join(names, ", ")));
    const auto name = section.text("path");
    const auto index = scenario.path_index(name);
    if (section.has("path") && !index) {
        section.mistake("path", fmt::format("there is no path \"{}\"", name),
                        fmt::format("allowed: {}", fmt::join(names, ", ")));
    }
    return index.value_or(0);
}

} // namespace

void read_change(const toml::table &table, const Scenario &scenario, Mistakes &mistakes, Edits &edits) {
    Section section(table, "[[change]]", mistakes);
    section.require("at_s", "the time of the change, in seconds after the workload began");
    const double at = section.number("at_s", 0, 0, max_duration_s);
    const auto path = read_path_name(section, scenario);
    const double over = section.number("over_s", 0, 0, max_duration_s);
    const double every = section.number("every_s", 0, 0.01, max_duration_s);
    const double until = section.number("until_s", at, at, max_duration_s);
    if (section.has("every_s") != section.has("until_s")) {
        section.mistake(section.has("every_s") ? "every_s" : "until_s",
                        "a change that repeats needs both \"every_s\" and \"until_s\"", "");
    }
    std::vector<Edit> once;
    for (const auto &number : numbers) {
        if (section.has(number.key)) {
            const double value = number.scale * section.number(number.key, 0, number.least, number.most);
            once.push_back({.path = path, .number = &number, .value = value, .over_s = over});
        }
    }
    if (section.has("blackhole")) {
        const bool on = section.boolean("blackhole", false);
        once.push_back({.path = path, .flag = &PathState::blackhole, .value = on ? 1.0 : 0.0});
    }
    if (section.has("link")) {
        const bool down = section.choice<bool>("link", false, {{"down", true}, {"up", false}});
        once.push_back({.path = path, .flag = &PathState::link_down, .value = down ? 1.0 : 0.0});
    }
    section.finish();
    if (once.empty()) {
        section.mistake(
            "at_s", "[[change]] changes nothing",
            "give one of rate_mbit, down_rate_mbit, delay_ms, jitter_ms, loss_percent, blackhole, link");
    }
    if (over > 0 && std::ranges::any_of(once, [](const Edit &edit) { return edit.flag != nullptr; })) {
        section.mistake("over_s", "blackhole and link do not change gradually", "leave \"over_s\" out");
    }
    for (double begin = at; begin <= until && edits.size() < max_changes;
         begin += every > 0 ? every : no_limit) {
        for (const auto &edit : once) {
            edits.emplace(begin, edit);
        }
    }
}

void read_random(const toml::table &table, const Scenario &scenario, std::uint64_t seed, Mistakes &mistakes,
                 Edits &edits) {
    Section section(table, "[[random]]", mistakes);
    const auto path = read_path_name(section, scenario);
    std::vector<std::pair<std::string, const Number *>> keys;
    for (const auto &number : numbers) {
        keys.emplace_back(number.key, &number);
    }
    for (const auto *key : {"key", "from", "to", "every_s", "until_s"}) {
        section.require(key, "[[random]] has path, key, from, to, every_s and until_s");
    }
    const auto *number = section.choice<const Number *>("key", numbers.data(), keys);
    const double from = section.number("from", number->least, number->least, number->most);
    const double to = section.number("to", from, from, number->most);
    const double every = section.number("every_s", 1, 0.01, max_duration_s);
    const double until = section.number("until_s", every, 0, max_duration_s);
    section.finish();
    // Not std::uniform_real_distribution: its numbers depend on the library.
    std::mt19937_64 random(seed * 1000 + path);
    for (double at = 0; at <= until && edits.size() < max_changes; at += every) {
        const double part = static_cast<double>(random() >> 11) / 9007199254740992.0; // 2^53
        edits.emplace(
            at, Edit{.path = path, .number = number, .value = number->scale * (from + part * (to - from))});
    }
}

void add_traces(const Scenario &scenario, Edits &edits) {
    constexpr const Number *rate = &numbers[0], *down = &numbers[1], *delay = &numbers[2],
                           *loss = &numbers[4];
    const std::size_t room = max_changes / scenario.paths.size();
    for (std::size_t path = 0; path < scenario.paths.size(); ++path) {
        const auto &trace = scenario.paths[path].trace;
        std::size_t added = 0;
        for (double begin = 0; !trace.steps.empty() && begin < max_duration_s && added < room;
             begin += trace.length_s) {
            for (const auto &step : trace.steps) {
                const auto add = [&](const Number *number, double value) {
                    edits.emplace(begin + step.at_s,
                                  Edit{.path = path, .number = number, .value = value, .quiet = true});
                };
                // The way down last: it follows the way up where both began as one.
                add(rate, step.rate_mbit);
                add(down, step.down_rate_mbit);
                add(loss, step.dead ? 1 : 0);
                if (step.delay_ms) {
                    add(delay, *step.delay_ms);
                }
                ++added;
            }
        }
    }
}

std::vector<Change> in_order(const Scenario &scenario, Edits edits) {
    std::vector<PathState> now;
    for (const auto &path : scenario.paths) {
        now.push_back(path.start);
    }
    std::vector<Change> changes;
    while (!edits.empty() && changes.size() < max_changes) {
        const auto [at, edit] = *edits.begin();
        edits.erase(edits.begin());
        auto &state = now[edit.path];
        if (edit.over_s > 0) {
            const double start = state.*edit.number->member;
            const auto steps = static_cast<int>(std::ceil(edit.over_s / ramp_step_s));
            for (int i = 1; i <= steps; ++i) {
                auto step = edit;
                const double part = static_cast<double>(i) / steps;
                step.value = start + part * (edit.value - start);
                step.over_s = 0;
                step.quiet = i != steps;
                edits.emplace(at + part * edit.over_s, step);
            }
            continue;
        }
        const auto &name = scenario.paths[edit.path].name;
        Change change;
        change.at_s = at;
        change.path = edit.path;
        if (edit.flag != nullptr) {
            const bool hole = edit.flag == &PathState::blackhole;
            const bool on = edit.value > 0;
            state.*edit.flag = on;
            change.fault = on;
            change.kind = on ? (hole ? "blackhole" : "link_down") : (hole ? "restored" : "link_up");
            change.text = fmt::format("{} {}", name, on ? (hole ? "blackhole" : "down") : "back");
        } else {
            state.*edit.number->member = edit.value;
            // A path whose two rates were one keeps them one.
            if (edit.number->member == &PathState::rate_mbit &&
                scenario.paths[edit.path].start.rate_mbit == scenario.paths[edit.path].start.down_rate_mbit) {
                state.down_rate_mbit = edit.value;
            }
            change.kind = edit.quiet ? "" : edit.number->kind;
            change.text =
                fmt::format("{} {:.4g} {}", name, edit.value / edit.number->scale, edit.number->unit);
        }
        change.to = state;
        // Several keys of one [[change]] are one change.
        if (!changes.empty() && changes.back().at_s == at && changes.back().path == edit.path) {
            auto &before = changes.back();
            before.to = state;
            before.fault = before.fault || change.fault;
            before.kind = change.fault || before.kind.empty() ? change.kind : before.kind;
            before.text += ", " + change.text.substr(name.size() + 1);
        } else {
            changes.push_back(std::move(change));
        }
    }
    return changes;
}

} // namespace mps::lab
