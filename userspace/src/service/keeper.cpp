// SPDX-License-Identifier: MIT

#include "service/keeper.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace mps::service {

namespace {

using namespace std::chrono_literals;
using config::Action;

// How many entries of interfaces that are away are kept, and how long.
constexpr std::size_t most_absent = 8;
constexpr auto absent_for = 60s;

constexpr std::string_view looking = "looking at what there is";

bool takes_away(const Action &action) {
    return action.kind == Action::Kind::unrule || action.kind == Action::Kind::detach ||
           action.kind == Action::Kind::forget || action.kind == Action::Kind::no_application ||
           action.kind == Action::Kind::no_congestion || action.kind == Action::Kind::no_spread;
}

// A rule for a cgroup that is gone is for nobody, and one of the same name has another.
bool is_for_nobody(const Action &action) {
    return action.kind == Action::Kind::unrule && action.name.find("cgroup=#") != std::string::npos;
}

} // namespace

std::chrono::seconds back_off(unsigned tries) { return std::min(1s * (1U << std::min(tries, 6U)), 60s); }

void Keeper::note(const config::Outcome &outcome) {
    for (const std::string &warning : outcome.warnings)
        news_.push_back(fmt::format("{}: {}", outcome.action.object, warning));
    if (!outcome.error) {
        news_.push_back(outcome.action.text);
        failures_.erase(outcome.action.object);
        return;
    }
    Failure &failure = failures_[outcome.action.object];
    // The same again is no news.
    if (failure.error.what != outcome.error->what)
        news_.push_back(fmt::format("{}: {}", outcome.action.object, outcome.error->what));
    failure.error = *outcome.error;
    failure.again = Clock::now() + back_off(failure.tries++);
}

void Keeper::run(const config::Consider &consider) {
    const auto reconciled = config::reconcile(instance_, desired_, consider);
    if (!reconciled) {
        note({.action = {.object = std::string(looking)}, .error = reconciled.error()});
        return;
    }
    failures_.erase(std::string(looking));
    // An object with several actions has failed if one of them has.
    std::set<std::string> failed;
    std::set<std::string> done;
    for (const config::Outcome &outcome : reconciled->outcomes) {
        if (failed.contains(outcome.action.object))
            continue;
        note(outcome);
        (outcome.error ? failed : done).insert(outcome.action.object);
    }
    settle(reconciled->facts, done);
}

// What was done, or needs nothing done, was in force once. What has come since it was looked at is neither.
void Keeper::settle(const config::Facts &facts, const std::set<std::string> &done) {
    const config::Plan plan = config::make_plan(desired_, facts);
    std::set<std::string> due;
    for (const Action &action : plan.actions)
        due.insert(action.object);
    for (const std::string &object : plan.objects)
        if (!failures_.contains(object) && (done.contains(object) || !due.contains(object)))
            settled_.insert(object);
    // An interface that went and comes back is as the file has it.
    for (const config::Waiting &waiting : plan.waiting)
        settled_.erase(waiting.object);
    let_go(facts);
}

// A modem that is numbered anew each time leaves an entry for each of its names. What only a pattern names is as the file has
// it when it comes again, so nothing is lost with an entry that is not needed any more.
void Keeper::let_go(const config::Facts &facts) {
    std::set<std::string> plain;
    for (const config::InterfaceWish &wish : desired_.interfaces)
        for (const std::string &name : wish.plain_names())
            plain.insert(name);
    const auto now = Clock::now();
    std::map<std::string, Clock::time_point> absent;
    for (const PathStatus &path : facts.status.paths)
        if (path.ifindex == 0 && !plain.contains(path.name) &&
            std::ranges::any_of(desired_.interfaces,
                                [&](const auto &wish) { return wish.names_it(path.name); }))
            absent[path.name] = absent_.contains(path.name) ? absent_[path.name] : now;
    absent_ = std::move(absent);
    while (!absent_.empty()) {
        const auto oldest = std::ranges::min_element(absent_, {}, [](const auto &one) { return one.second; });
        if (absent_.size() <= most_absent && now - oldest->second < absent_for)
            return;
        if (const auto done = instance_.forget_path(oldest->first); !done)
            return;
        settled_.erase("interface " + oldest->first);
        absent_.erase(oldest);
    }
}

void Keeper::enforce(config::Desired desired, const config::Consider &before) {
    adopt(std::move(desired));
    settled_.clear();
    failures_.clear();
    run(before);
}

void Keeper::adopt(config::Desired desired) {
    desired.metered = std::move(desired_.metered);
    desired_ = std::move(desired);
}

void Keeper::know_metered(std::set<std::string> names) {
    std::vector<std::string> others;
    std::ranges::set_symmetric_difference(desired_.metered, names, std::back_inserter(others));
    for (const std::string &name : others)
        if (std::ranges::any_of(desired_.interfaces,
                                [&](const auto &wish) { return wish.metered && wish.names_it(name); }))
            reopen(name);
    desired_.metered = std::move(names);
}

void Keeper::reopen_cgroups(const std::vector<std::string> &paths) {
    for (const std::string &path : paths) {
        settled_.erase("applications of " + path);
        // One object for all its rules.
        settled_.erase("congestion control");
        std::erase_if(settled_, [&](const std::string &object) {
            return object.starts_with("rule ") &&
                   (object + ",").find("cgroup=" + path + ",") != std::string::npos;
        });
    }
}

void Keeper::keep_up(bool interfaces_changed, const config::Consider &before) {
    // Somebody has taken everything away: what comes next begins anew, but no interface that is there already does.
    if (!instance_.installed())
        std::erase_if(settled_, [](const std::string &object) { return !object.starts_with("interface "); });
    const auto now = Clock::now();
    run([&](Action &action) {
        const auto failure = failures_.find(action.object);
        const bool due = failure == failures_.end() || interfaces_changed || failure->second.again <= now;
        return due && (!takes_away(action) || is_for_nobody(action)) && !settled_.contains(action.object) &&
               (!before || before(action));
    });
}

std::optional<Clock::time_point> Keeper::next_try() const {
    std::optional<Clock::time_point> next;
    for (const auto &[object, failure] : failures_)
        if (!next || failure.again < *next)
            next = failure.again;
    return next;
}

Json Keeper::objects() {
    Json all = Json::array();
    const auto facts = config::look(instance_, desired_);
    const config::Plan plan = facts ? config::make_plan(desired_, *facts) : config::Plan{};
    const auto add = [&](const std::string &object, std::string_view state,
                         const std::string &why = {}) -> Json & {
        Json one{{"object", object}, {"state", state}};
        if (!why.empty())
            one["why"] = why;
        return all.emplace_back(std::move(one));
    };
    std::set<std::string> told;
    for (const auto &[object, failure] : failures_) {
        told.insert(object);
        const auto left = std::chrono::ceil<std::chrono::seconds>(failure.again - Clock::now()).count();
        add(object, "failed", failure.error.what)["retry_in_s"] = std::max<std::int64_t>(left, 0);
    }
    for (const Action &action : plan.actions)
        if (told.insert(action.object).second)
            add(action.object, settled_.contains(action.object) || takes_away(action) ? "by hand" : "due",
                "a reload would: " + action.text);
    for (const config::Waiting &waiting : plan.waiting)
        if (told.insert(waiting.object).second)
            add(waiting.object, "waits", waiting.why);
    for (const std::string &object : plan.objects)
        if (told.insert(object).second)
            add(object, "in force");
    return all;
}

} // namespace mps::service
