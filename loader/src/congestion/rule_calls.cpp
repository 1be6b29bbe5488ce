// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cstring>
#include <fstream>
#include <iterator>
#include <sstream>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/try.hpp"
#include "congestion/choices.hpp"
#include "congestion/struct_ops.hpp"
#include "instance_impl.hpp"
#include "pins/last_rule.hpp"
#include "policy/makers.hpp"
#include "policy/selector.hpp"

namespace mps {

namespace {

// What the kernel has now, ours among them.
std::vector<std::string> available() {
    std::ifstream file("/proc/sys/net/ipv4/tcp_available_congestion_control");
    return {std::istream_iterator<std::string>(file), {}};
}

bool is_available(const std::string &name) {
    const auto all = available();
    return std::ranges::find(all, name) != all.end();
}

// "lia" is "mps_lia"; what is not ours is the kernel's.
Result<std::string> full_name(const std::string &word) {
    const auto ours = congestion_names({word});
    if (ours && ours->size() == 1)
        return ours->front();
    if (is_available(word) && word.size() < MPS_CC_NAME_LEN)
        return word;
    return fail(ErrorCode::usage, fmt::format("there is no congestion control '{}'", word),
                fmt::format("there are: {}; and mps_lia, mps_olia, mps_balia", fmt::join(available(), ", ")));
}

Result<mps_rule> rule_of(const std::string &selector) {
    if (selector.empty())
        return mps_rule{};
    auto rule = parse_selector(selector);
    MPS_TRY(rule);
    if (rule->fields & MPS_RULE_HOST)
        return fail(ErrorCode::usage, "a congestion control cannot be chosen by host=",
                    "remote=ADDRESS[/PREFIX] does it for addresses");
    return rule;
}

// Where the rule is, or is to be: that without a selector comes last.
std::vector<CongestionChoice>::iterator find_rule(std::vector<CongestionChoice> &choices,
                                                  const mps_rule &rule) {
    return std::ranges::find_if(choices, [&](const CongestionChoice &one) {
        return one.rule.fields == rule.fields && (!rule.fields || same_selector(one.rule, rule));
    });
}

Result<std::string> put(std::vector<CongestionChoice> &choices, const mps_rule &rule,
                        const mps_cc_choice &choice) {
    const auto place = find_rule(choices, rule);
    if (place != choices.end()) {
        const std::string before = congestion_rule(*place).name;
        place->choice = choice;
        return before;
    }
    const auto named =
        std::ranges::count_if(choices, [](const CongestionChoice &one) { return one.rule.fields; });
    if (rule.fields && named >= MPS_MAX_RULES)
        return fail(ErrorKind::full, fmt::format("all {} rules are in use", MPS_MAX_RULES),
                    "'mpsched cc unuse --for SELECTOR' drops one");
    choices.insert(choices.begin() + (rule.fields ? named : std::ssize(choices)), {rule, choice});
    return std::string();
}

mps_cc_choice choice_of(const std::string &name, bool plain_tcp) {
    mps_cc_choice choice{.flags = plain_tcp ? static_cast<std::uint32_t>(MPS_CC_PLAIN_TCP) : 0};
    std::memcpy(choice.name, name.data(), name.size());
    return choice;
}

std::string problem_of(const CongestionRule &rule) {
    if (is_available(rule.name))
        return {};
    return is_builtin_congestion(rule.name)
               ? fmt::format("it is not loaded, so sockets keep what they have; 'mpsched cc load {}'",
                             rule.name)
               : "the kernel has it no more, so sockets keep what they have";
}

Result<bool> load_if_ours(const Instance &instance, const std::string &name) {
    if (is_available(name) || !is_builtin_congestion(name))
        return false;
    const auto loaded = load_congestion(instance, {name});
    MPS_TRY(loaded);
    return true;
}

Result<std::vector<CongestionChoice>> without(std::vector<CongestionChoice> choices,
                                              const std::optional<std::string> &selector) {
    if (!selector)
        return std::vector<CongestionChoice>{};
    const auto rule = rule_of(*selector);
    MPS_TRY(rule);
    const auto place = find_rule(choices, *rule);
    if (place == choices.end())
        return fail(ErrorKind::no_such_rule,
                    selector->empty() ? "there is no congestion control for all connections"
                                      : fmt::format("there is no congestion control for '{}'", *selector),
                    "'mpsched cc list' shows the rules; --all drops them all");
    choices.erase(place);
    return choices;
}

} // namespace

Result<std::vector<CongestionRule>> congestion_rules(const Instance &instance) {
    const Instance::Impl &impl = Inside::of(instance);
    const auto call = impl.enter();
    MPS_TRY(call);
    std::vector<CongestionRule> rules;
    if (!impl.installed())
        return rules;
    const auto choices = congestion_choices(*impl.paths());
    MPS_TRY(choices);
    for (const CongestionChoice &one : *choices) {
        rules.push_back(congestion_rule(one));
        rules.back().problem = problem_of(rules.back());
    }
    return rules;
}

Result<CongestionUsed> use_congestion(const Instance &instance, const CongestionUse &use) {
    const Instance::Impl &impl = Inside::of(instance);
    const auto call = impl.enter();
    MPS_TRY(call);
    const auto name = full_name(use.name);
    MPS_TRY(name);
    const auto rule = rule_of(use.selector);
    MPS_TRY(rule);
    CongestionUsed result;
    const auto loaded = load_if_ours(instance, *name);
    MPS_TRY(loaded);
    result.loaded = *loaded;
    bool created = false;
    auto session = impl.open_or_create(created);
    MPS_TRY(session);
    if (!session->sockops)
        return fail(ErrorCode::unsupported, "programs at cgroup v2 are treated as missing (MPS_WITHOUT)");
    const auto done = [&]() -> Result<void> {
        auto choices = congestion_choices(session->paths);
        MPS_TRY(choices);
        auto before = put(*choices, *rule, choice_of(*name, use.plain_tcp));
        MPS_TRY(before);
        result.before = std::move(*before);
        if (rule->fields & MPS_RULE_COMMAND)
            MPS_TRY(prepare_makers(*session));
        MPS_TRY(replace_congestion_choices(session->paths, *choices));
        // As the kernel has it, with what it did to the sockets that there are.
        auto now = congestion_choices(session->paths);
        MPS_TRY(now);
        const auto place = find_rule(*now, *rule);
        if (place == now->end())
            return fail(ErrorCode::failed, "the rule was written and is not there",
                        "'mpsched repair' puts things in order");
        result.rule = congestion_rule(*place);
        return {};
    }();
    if (!done) {
        if (created)
            (void)remove_if_empty(impl, *session);
        return std::unexpected(done.error());
    }
    return result;
}

Result<void> set_congestion_rules(const Instance &instance, const std::vector<CongestionUse> &rules) {
    const Instance::Impl &impl = Inside::of(instance);
    const auto call = impl.enter();
    MPS_TRY(call);
    std::vector<CongestionChoice> wanted;
    for (const CongestionUse &use : rules) {
        const auto name = full_name(use.name);
        MPS_TRY(name);
        const auto rule = rule_of(use.selector);
        MPS_TRY(rule);
        if (find_rule(wanted, *rule) != wanted.end())
            return fail(ErrorCode::usage, fmt::format("there are two rules for '{}'", use.selector),
                        "one decides");
        MPS_TRY(load_if_ours(instance, *name));
        MPS_TRY(put(wanted, *rule, choice_of(*name, use.plain_tcp)));
    }
    bool created = false;
    auto session = wanted.empty() ? impl.open_for_changing() : impl.open_or_create(created);
    if (!session && wanted.empty() && session.error().kind == ErrorKind::not_installed)
        return {};
    MPS_TRY(session);
    if (!session->sockops)
        return fail(ErrorCode::unsupported, "programs at cgroup v2 are treated as missing (MPS_WITHOUT)");
    auto before = congestion_choices(session->paths);
    MPS_TRY(before);
    for (CongestionChoice &one : wanted) {
        const auto same = find_rule(*before, one.rule);
        if (same == before->end() || congestion_rule(*same).name != congestion_rule(one).name)
            continue;
        one.choice.given = same->choice.given;
        one.choice.refused = same->choice.refused;
    }
    const auto done = [&]() -> Result<void> {
        if (std::ranges::any_of(wanted, [](const CongestionChoice &one) {
                return (one.rule.fields & MPS_RULE_COMMAND) != 0;
            }))
            MPS_TRY(prepare_makers(*session));
        MPS_TRY(replace_congestion_choices(session->paths, wanted));
        return settle_makers(*session);
    }();
    if (!done && !created)
        return done;
    MPS_TRY(remove_if_empty(impl, *session));
    return done;
}

Result<std::vector<CongestionRule>> unuse_congestion(const Instance &instance,
                                                     const std::optional<std::string> &selector) {
    const Instance::Impl &impl = Inside::of(instance);
    const auto call = impl.enter();
    MPS_TRY(call);
    std::vector<CongestionRule> removed;
    auto session = impl.open_for_changing();
    if (!session && session.error().kind == ErrorKind::not_installed && !selector)
        return removed;
    MPS_TRY(session);
    const auto before = congestion_choices(session->paths);
    MPS_TRY(before);
    auto left = without(*before, selector);
    MPS_TRY(left);
    MPS_TRY(replace_congestion_choices(session->paths, *left));
    MPS_TRY(settle_makers(*session));
    for (const CongestionChoice &one : *before)
        if (find_rule(*left, one.rule) == left->end())
            removed.push_back(congestion_rule(one));
    MPS_TRY(remove_if_empty(impl, *session));
    return removed;
}

} // namespace mps
