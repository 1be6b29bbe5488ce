// SPDX-License-Identifier: MIT
#include "policy/rules.hpp"

#include <algorithm>
#include <cstring>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "attach/levers.hpp"
#include "attach/peers.hpp"
#include "base/try.hpp"
#include "policy/hosts.hpp"
#include "policy/makers.hpp"
#include "policy/selector.hpp"

namespace mps {

namespace {

void bump_rule_epoch(mps_config &config) { config.choice += std::uint64_t{1} << 32; }

// After rules have gone: connections choose anew, and what nobody refers to any more goes.
Result<void> let_choose_anew(Session &session, const RuleTable &table) {
    if (auto done = session.config.update([&](mps_config &c) {
            bump_rule_epoch(c);
            note_rx(c, table.rules());
            c.flags &= ~static_cast<std::uint32_t>(MPS_CONFIG_NEW_ONLY);
        });
        !done)
        return done;
    forget_other_hosts(session.pins, table.rules());
    MPS_TRY(settle_makers(session));
    MPS_TRY(settle_peers(session));
    MPS_TRY(session.slots().collect());
    return settle_levers(session);
}

} // namespace

void note_rx(mps_config &config, const std::vector<mps_rule> &rules) {
    const auto decides = [](std::uint32_t slot) { return slot != MPS_SLOT_NONE && slot != MPS_SLOT_OPEN; };
    const bool any = decides(config.rx_slot) || std::ranges::any_of(rules, [&](const mps_rule &r) {
                         return r.fields && decides(r.rx_slot);
                     });
    config.flags &= ~static_cast<std::uint32_t>(MPS_CONFIG_RX);
    if (any)
        config.flags |= MPS_CONFIG_RX;
}

Result<RuleTable> RuleTable::open(Session &session) {
    auto rules = session.slots().rules();
    MPS_TRY(rules);
    return RuleTable(session, std::move(*rules));
}

std::optional<std::uint32_t> RuleTable::find(const mps_rule &selector) const {
    const auto it =
        std::ranges::find_if(rules_, [&](const mps_rule &one) { return same_selector(one, selector); });
    if (it == rules_.end())
        return std::nullopt;
    return static_cast<std::uint32_t>(it - rules_.begin());
}

Result<void> RuleTable::write(std::uint32_t index, const mps_rule &rule) {
    const int map = session_->pins.map(MPS_MAP_RULES);
    MPS_TRY(write_value(map, index, rule, MPS_MAP_RULES));
    const auto now = read_value<mps_rule>(map, index);
    if (!now || !*now || std::memcmp(&**now, &rule, sizeof rule) != 0) {
        return fail(ErrorCode::failed, "the rule does not read back as written",
                    "something else writes to our maps: try again");
    }
    return {};
}

Result<void> RuleTable::set_count(std::uint32_t count) {
    return session_->config.update([&](mps_config &c) { c.nr_rules = count; });
}

Result<void> RuleTable::insert(std::uint32_t index, const mps_rule &rule) {
    const auto count = static_cast<std::uint32_t>(rules_.size());
    // The last one twice, then each over the one behind it, and at the end the new one over its double.
    if (index < count) {
        MPS_TRY(write(count, rules_.back()));
        MPS_TRY(set_count(count + 1));
        for (std::uint32_t i = count - 1; i > index; i--) {
            MPS_TRY(write(i, rules_[i - 1]));
        }
    }
    MPS_TRY(write(index, rule));
    rules_.insert(rules_.begin() + index, rule);
    return {};
}

Result<void> RuleTable::erase(std::uint32_t index) {
    rules_.erase(rules_.begin() + index);
    const auto count = static_cast<std::uint32_t>(rules_.size());
    for (std::uint32_t i = index; i < count; i++) {
        MPS_TRY(write(i, rules_[i]));
    }
    MPS_TRY(set_count(count));
    return write(count, mps_rule{});
}

Result<void> RuleTable::clear() {
    const auto count = static_cast<std::uint32_t>(rules_.size());
    rules_.clear();
    MPS_TRY(set_count(0));
    for (std::uint32_t i = 0; i < count; i++) {
        if (auto done = write(i, mps_rule{}); !done)
            return done;
    }
    return {};
}

Result<void> RuleTable::set_slots(std::uint32_t index, std::uint32_t slot, std::uint32_t rx_slot) {
    rules_[index].slot = slot;
    rules_[index].rx_slot = rx_slot;
    return write(index, rules_[index]);
}

Result<void> RuleTable::place(const mps_rule &rule, std::optional<std::uint32_t> index) {
    const auto present = find(rule);
    if (present && index)
        index = std::min(*index, static_cast<std::uint32_t>(rules_.size() - 1));
    if (present && (!index || *index == *present)) {
        rules_[*present] = rule;
        return write(*present, rule);
    }
    const auto count = static_cast<std::uint32_t>(rules_.size());
    if (!present) {
        if (count >= MPS_MAX_RULES) {
            return fail(ErrorKind::full, fmt::format("all {} rules are in use", MPS_MAX_RULES),
                        "'mpsched unuse SELECTOR' drops one, 'mpsched unuse --all' all");
        }
        return insert(std::min(index.value_or(count), count), rule);
    }
    // It moves. Where the table is full it has to be taken out first; a connection that is first seen in those microseconds
    // does without the rule until the next change.
    if (count >= MPS_MAX_RULES) {
        MPS_TRY(erase(*present));
        return insert(*index, rule);
    }
    // The place that it will have when the old one is gone.
    const std::uint32_t at = *index > *present ? *index + 1 : *index;
    MPS_TRY(insert(at, rule));
    MPS_TRY(set_count(count + 1));
    return erase(at <= *present ? *present + 1 : *present);
}

std::unexpected<Error> no_such_rule(const std::string &selector, const std::vector<mps_rule> &rules) {
    std::vector<std::string> texts;
    for (const mps_rule &rule : rules)
        texts.push_back(format_selector(rule));
    return fail(ErrorKind::no_such_rule, fmt::format("there is no rule for '{}'", selector),
                texts.empty() ? "there are no rules"
                              : fmt::format("rules are for: {}", fmt::join(texts, "  ")));
}

Result<std::optional<std::uint32_t>> wanted_place(const UseRequest &request, const RuleTable &table) {
    const auto count = static_cast<std::uint32_t>(table.rules().size());
    if ((request.before || request.position) && !request.selector)
        return fail(ErrorCode::usage, "only a rule has a place", "give --for SELECTOR, too");
    if (request.before && request.position)
        return fail(ErrorCode::usage, "--before and --position both tell the place", "give one of them");
    if (request.position) {
        if (*request.position < 1 || *request.position > MPS_MAX_RULES)
            return fail(ErrorCode::usage, fmt::format("there is no position {}", *request.position),
                        fmt::format("the range is 1..{}; 1 is tried first", MPS_MAX_RULES));
        // Behind the last is the last.
        return std::min(*request.position - 1, count);
    }
    if (!request.before)
        return std::nullopt;
    const auto before = parse_selector(*request.before);
    MPS_TRY(before);
    const auto index = table.find(*before);
    if (!index)
        return no_such_rule(*request.before, table.rules());
    const auto own = parse_selector(*request.selector);
    const auto present = own ? table.find(*own) : std::nullopt;
    // Counted without the rule itself, which leaves its old place.
    return present && *present < *index ? *index - 1 : *index;
}

Result<bool> Instance::remove_rule(const std::string &selector) {
    const auto call = impl_->enter();
    MPS_TRY(call);
    const auto wanted = parse_selector(selector);
    MPS_TRY(wanted);
    auto session = impl_->open_for_changing();
    MPS_TRY(session);
    auto table = RuleTable::open(*session);
    MPS_TRY(table);
    const auto index = table->find(*wanted);
    if (!index)
        return false;
    MPS_TRY(table->erase(*index));
    MPS_TRY(let_choose_anew(*session, *table));
    return true;
}

Result<std::vector<std::string>> Instance::remove_all_rules() {
    const auto call = impl_->enter();
    MPS_TRY(call);
    auto session = impl_->open_for_changing();
    MPS_TRY(session);
    auto table = RuleTable::open(*session);
    MPS_TRY(table);
    std::vector<std::string> removed;
    for (const mps_rule &rule : table->rules())
        removed.push_back(format_selector(rule));
    if (removed.empty())
        return removed;
    MPS_TRY(table->clear());
    MPS_TRY(let_choose_anew(*session, *table));
    return removed;
}

} // namespace mps
