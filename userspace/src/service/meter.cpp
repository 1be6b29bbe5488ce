// SPDX-License-Identifier: MIT

#include "service/meter.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "base/try.hpp"
#include "service/period.hpp"

namespace mps::service {

Result<void> Meter::need_ledger() {
    if (ledger_ && ledger_->is_damaged())
        ledger_.reset();
    if (ledger_)
        return {};
    auto ledger = Ledger::open(folder_, news_);
    MPS_TRY(ledger);
    ledger_ = std::move(*ledger);
    booked_.clear();
    return {};
}

Result<std::time_t> Meter::now() {
    const std::time_t clock = std::time(nullptr);
    return clock >= earliest_time ? Result<std::time_t>(clock) : ledger_->last_seen();
}

void Meter::note(const Result<void> &done) {
    if (done) {
        if (problem_)
            news_.emplace_back("the counts of quotas are kept again");
        problem_.reset();
        return;
    }
    if (!problem_ || problem_->what != done.error().what)
        news_.push_back(done.error().what);
    problem_ = done.error();
}

void Meter::prepare(const config::Desired &desired, config::Action &action) {
    if (action.kind == config::Action::Kind::attributes && action.change.quota_bytes.value_or(0) > 0)
        note(begin(desired, action));
}

// A modem that is numbered anew: if of the interfaces that this section means exactly one is away and has a count, it is that one.
Result<void> Meter::adopt_other_name(const config::Desired &desired, const std::string &name) {
    const auto known = ledger_->interfaces();
    MPS_TRY(known);
    const auto present = instance_.interfaces(false);
    MPS_TRY(present);
    for (const config::InterfaceWish &wish : desired.interfaces) {
        if (!wish.attributes.quota_bytes || !wish.names_it(name))
            continue;
        std::vector<std::string> away;
        for (const std::string &other : *known)
            if (wish.names_it(other) &&
                std::ranges::find(*present, other, &NetworkInterface::name) == present->end())
                away.push_back(other);
        if (away.size() != 1)
            continue;
        news_.push_back(fmt::format("{} goes on with what {} has carried of its quota", name, away.front()));
        booked_.erase(away.front());
        return ledger_->rename(away.front(), name);
    }
    return {};
}

Result<void> Meter::begin(const config::Desired &desired, config::Action &action) {
    const auto live = instance_.path(action.name);
    // Another quota on a count that goes on.
    if (live && live->attributes.quota_bytes)
        return {};
    MPS_TRY(need_ledger());
    const auto time = now();
    MPS_TRY(time);
    const auto any = ledger_->used(action.name, 0);
    MPS_TRY(any);
    if (!*any)
        MPS_TRY(adopt_other_name(desired, action.name));
    const auto anchor = ledger_->anchor(action.name, *time);
    MPS_TRY(anchor);
    config::Period period{.seconds = action.change.quota_period_s.value_or(0)};
    const auto interfaces = instance_.interfaces(desired.asks_for_routes());
    MPS_TRY(interfaces);
    const auto wishes = desired.paths(*interfaces);
    if (const auto wish = std::ranges::find(wishes, action.name, &config::PathWish::name);
        wish != wishes.end())
        period = wish->period;
    const std::time_t start = period_start(period, *anchor, *time);
    const auto used = ledger_->used(action.name, start);
    MPS_TRY(used);
    action.change.quota_used_bytes = used->value_or(0);
    return ledger_->book(action.name, start, used->value_or(0));
}

Result<void> Meter::book(const PathStatus &path, const config::Period &period, std::time_t time) {
    const auto anchor = ledger_->anchor(path.name, time);
    MPS_TRY(anchor);
    const std::time_t start = period_start(period, *anchor, time);
    const auto present = ledger_->present(path.name);
    MPS_TRY(present);
    const auto booked = booked_.find(path.name);
    const std::time_t before = present->value_or(start);
    if (booked == booked_.end() || booked->second != path.quota_used_bytes || !*present) {
        MPS_TRY(ledger_->book(path.name, before, path.quota_used_bytes));
        booked_[path.name] = path.quota_used_bytes;
    }
    if (before == start)
        return {};
    // A new period, or the clock was put right.
    const auto used = ledger_->used(path.name, start);
    MPS_TRY(used);
    const std::uint64_t bytes = used->value_or(0);
    MPS_TRY(ledger_->book(path.name, start, bytes));
    // With the period it begins anew in the data path as well, which would begin the next one should nobody do it here.
    MPS_TRY(instance_.set_path(
        path.name, {.quota_period_s = path.attributes.quota_period_s, .quota_used_bytes = bytes}));
    booked_[path.name] = bytes;
    news_.push_back(
        start > before
            ? fmt::format("{}: a new period of its quota begins", path.name)
            : fmt::format("{}: the clock went back, so this is an earlier period of its quota", path.name));
    return {};
}

Result<void> Meter::book_all(const config::Desired &desired) {
    const auto interfaces = instance_.interfaces(desired.asks_for_routes());
    MPS_TRY(interfaces);
    std::vector<std::pair<PathStatus, config::Period>> counted;
    for (const config::PathWish &wish : desired.paths(*interfaces)) {
        if (!wish.attributes.quota_bytes)
            continue;
        auto path = instance_.path(wish.name);
        // Nobody counts for it now, or by a period that somebody has set by hand.
        if (path && path->attributes.quota_bytes)
            counted.emplace_back(*path, path->attributes.quota_period_s == wish.period.seconds
                                            ? wish.period
                                            : config::Period{.seconds = path->attributes.quota_period_s});
    }
    if (counted.empty())
        return {};
    MPS_TRY(need_ledger());
    const auto time = now();
    MPS_TRY(time);
    // One write to the disk for all.
    MPS_TRY(ledger_->begin());
    Result<void> done;
    for (const auto &[path, period] : counted)
        if (done)
            done = book(path, period, *time);
    if (done)
        done = ledger_->see(*time);
    const auto ended = ledger_->end(done.has_value());
    if (!done || !ended)
        booked_.clear();
    return done ? ended : done;
}

void Meter::tick(const config::Desired &desired) { note(book_all(desired)); }

void Meter::renamed(const std::string &before, const std::string &now) {
    if (ledger_)
        note(ledger_->rename(before, now));
    booked_.erase(before);
    booked_.erase(now);
}

} // namespace mps::service
