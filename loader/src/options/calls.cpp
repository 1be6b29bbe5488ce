// SPDX-License-Identifier: MIT
#include <algorithm>

#include <fmt/format.h>

#include "attach/hooks.hpp"
#include "base/try.hpp"
#include "kernel/netlink.hpp"
#include "options/option_hooks.hpp"
#include "options/option_rules.hpp"
#include "pins/last_rule.hpp"
#include "policy/slots.hpp"

namespace mps {

namespace {

std::vector<OptionRule> without_places(const std::vector<PlacedRule> &placed) {
    std::vector<OptionRule> rules;
    for (const PlacedRule &one : placed)
        rules.push_back(one.rule);
    return rules;
}

// XDP comes before TC, so the data path has seen an MP_PRIO by the time that a rule could take it away, and would act on it.
bool comes_too_late(const InstallationPaths &paths, const Pins &pins, const OptionRule &rule) {
    if (rule.option != "mp_prio" || rule.direction != "in" || rule.action == "allow")
        return false;
    const auto device = net_device(rule.interface);
    const auto hooks = device ? read_hooks(paths, pins, device->ifindex) : std::unexpected(Error{});
    return hooks && hooks->has_xdp();
}

Result<void> require_in_time(const Session &session, const std::vector<OptionRule> &rules) {
    for (const OptionRule &rule : rules)
        if (comes_too_late(session.paths, session.pins, rule))
            return fail(
                ErrorCode::unsupported,
                fmt::format("{}: the data path there sees MP_PRIO in XDP, before any rule can change it",
                            rule.interface),
                fmt::format("'mpsched attach {} --mode tc' comes first", rule.interface));
    return {};
}

// What the new ones have to do with the others, and what has no effect now.
std::vector<std::string> warnings_of(const std::vector<OptionRule> &rules,
                                     const std::vector<OptionRule> &added) {
    const auto is_new = [&](std::size_t place) {
        return std::ranges::find(added, rules[place]) != added.end();
    };
    std::vector<std::string> warnings;
    for (const OptionRuleOverlap &overlap : option_rule_overlaps(rules))
        if (is_new(overlap.earlier) || is_new(overlap.later))
            warnings.push_back(overlap_text(overlap));
    for (const OptionRule &rule : added)
        if (!net_device(rule.interface))
            warnings.push_back(
                fmt::format("there is no interface {} now: the rule waits for it", rule.interface));
    return warnings;
}

Result<OptionRulesResult> change(Session &session, const std::vector<OptionRule> &before,
                                 const std::vector<OptionRule> &rules, bool tcx) {
    OptionRulesResult result{.rules = rules};
    std::ranges::copy_if(rules, std::back_inserter(result.added), [&](const OptionRule &one) {
        return std::ranges::find(before, one) == before.end();
    });
    std::ranges::copy_if(before, std::back_inserter(result.removed),
                         [&](const OptionRule &one) { return std::ranges::find(rules, one) == rules.end(); });
    MPS_TRY(require_in_time(session, result.added));
    if (before != rules)
        MPS_TRY(replace_option_rules(session.paths, rules, tcx));
    result.warnings = warnings_of(rules, result.added);
    return result;
}

Result<void> check_unique(const std::vector<OptionRule> &rules) {
    for (std::size_t later = 0; later < rules.size(); later++)
        for (std::size_t earlier = 0; earlier < later; earlier++)
            if (rules[earlier] == rules[later])
                return fail(ErrorCode::usage,
                            fmt::format("rule {} says the same as rule {}: {}", later + 1, earlier + 1,
                                        option_rule_text(rules[later])),
                            "each once");
    return {};
}

std::string problem_of(const InstallationPaths &paths, const Pins &pins, const OptionRule &rule) {
    const auto device = net_device(rule.interface);
    if (!device)
        return "there is no interface of this name now";
    const auto program = rule_program_at(paths, {device->ifindex, rule.direction == "out"});
    if (!program || !*program)
        return "its program is not on the interface; 'mpsched repair' puts it there";
    if (comes_too_late(paths, pins, rule))
        return "the data path sees MP_PRIO before it; 'attach --mode tc' mends that";
    return {};
}

} // namespace

Result<std::vector<OptionRuleStatus>> Instance::option_rules() const {
    const auto call = impl_->enter();
    MPS_TRY(call);
    const auto pins = impl_->open_for_reading();
    if (!pins && pins.error().kind == ErrorKind::not_installed)
        return std::vector<OptionRuleStatus>{};
    MPS_TRY(pins);
    const InstallationPaths paths = *impl_->paths();
    const auto placed = placed_rules(paths);
    MPS_TRY(placed);
    const auto opened = open_option_pins(paths);
    MPS_TRY(opened);
    std::vector<OptionRuleStatus> all;
    if (!*opened) // none, or a command has removed them meanwhile
        return all;
    for (const PlacedRule &one : *placed) {
        const auto hits = read_option_hits(**opened, one.hits);
        MPS_TRY(hits);
        all.push_back({.rule = one.rule,
                       .matched = hits->matched,
                       .changed = hits->changed,
                       .failed = hits->failed,
                       .problem = problem_of(paths, *pins, one.rule)});
    }
    return all;
}

Result<OptionRulesResult> Instance::add_option_rule(const OptionRule &rule,
                                                    std::optional<std::uint32_t> position) {
    const auto call = impl_->enter();
    MPS_TRY(call);
    bool created = false;
    auto session = impl_->open_or_create(created);
    MPS_TRY(session);
    const auto done = [&]() -> Result<OptionRulesResult> {
        const auto placed = placed_rules(session->paths);
        MPS_TRY(placed);
        const auto before = without_places(*placed);
        if (position && (*position < 1 || *position > before.size() + 1))
            return fail(ErrorCode::usage, fmt::format("there is no place {} among the rules", *position),
                        fmt::format("1 to {}", before.size() + 1));
        auto rules = before;
        rules.insert(rules.begin() + (position ? *position - 1 : before.size()), rule);
        MPS_TRY(check_unique(rules));
        return change(*session, before, rules, impl_->has_tcx());
    }();
    if (!done && created)
        (void)remove_if_empty(*impl_, *session);
    return done;
}

Result<OptionRulesResult> Instance::remove_option_rules(const std::vector<std::uint32_t> &places) {
    const auto call = impl_->enter();
    MPS_TRY(call);
    auto session = impl_->open_for_changing();
    MPS_TRY(session);
    const auto placed = placed_rules(session->paths);
    MPS_TRY(placed);
    const auto before = without_places(*placed);
    for (const std::uint32_t place : places)
        if (place < 1 || place > before.size())
            return fail(ErrorKind::no_such_rule, fmt::format("there is no rule {}", place),
                        "'mpsched rule list' shows them");
    std::vector<OptionRule> left;
    for (std::size_t i = 0; i < before.size(); i++)
        if (std::ranges::find(places, i + 1) == places.end())
            left.push_back(before[i]);
    auto done = change(*session, before, left, impl_->has_tcx());
    MPS_TRY(done);
    MPS_TRY(remove_if_empty(*impl_, *session));
    return done;
}

Result<OptionRulesResult> Instance::set_option_rules(const std::vector<OptionRule> &rules) {
    const auto call = impl_->enter();
    MPS_TRY(call);
    MPS_TRY(check_unique(rules));
    bool created = false;
    auto session = rules.empty() ? impl_->open_for_changing() : impl_->open_or_create(created);
    if (!session && rules.empty() && session.error().kind == ErrorKind::not_installed)
        return OptionRulesResult{};
    MPS_TRY(session);
    const auto placed = placed_rules(session->paths);
    MPS_TRY(placed);
    auto done = change(*session, without_places(*placed), rules, impl_->has_tcx());
    if (!done && !created)
        return done;
    MPS_TRY(remove_if_empty(*impl_, *session));
    return done;
}

} // namespace mps
