// SPDX-License-Identifier: MIT
#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "attach/levers.hpp"
#include "base/try.hpp"
#include "instance_impl.hpp"
#include "policy/policy_switch.hpp"
#include "policy/selector.hpp"

namespace mps {

namespace {

// What a command is about, found: the slot (MPS_SLOT_NONE: none is filled) and who it was named by.
struct Target {
    std::uint32_t slot = MPS_SLOT_NONE;
    Referrer own{};
};

Result<Target> target_of_rule(Session &session, const std::string &selector) {
    const auto wanted = parse_selector(selector);
    MPS_TRY(wanted);
    const auto table = RuleTable::open(session);
    MPS_TRY(table);
    const auto index = table->find(*wanted);
    if (!index)
        return no_such_rule(selector, table->rules());
    return Target{table->rules()[*index].slot, {.is_default = false, .rule = *index}};
}

// How each of several copies can be named: "--for rport=443", or by its slot.
Result<std::vector<std::string>> choices(Session &session, const std::vector<std::uint32_t> &slots) {
    const auto uses = session.slots().uses();
    MPS_TRY(uses);
    const auto rules = session.slots().rules();
    MPS_TRY(rules);
    std::vector<std::string> result;
    for (const std::uint32_t slot : slots) {
        const SlotUse &use = uses->at(slot);
        std::string text = fmt::format("--slot {}", slot);
        if (use.is_default)
            text += " (the default policy)";
        if (!use.rules.empty())
            text += fmt::format(" or --for {}", format_selector((*rules)[use.rules.front()]));
        result.push_back(std::move(text));
    }
    return result;
}

Result<Target> target_of_name(Session &session, const std::vector<Slot> &slots, const std::string &wanted) {
    const std::string policy(resolve_policy_name(wanted));
    std::vector<std::uint32_t> found;
    for (const Slot &slot : slots) {
        if (slot.policy && slot.policy->header.name == policy)
            found.push_back(slot.number);
    }
    if (found.size() == 1)
        return Target{found.front(), {}};
    if (found.size() > 1) {
        const auto texts = choices(session, found);
        MPS_TRY(texts);
        return fail(ErrorCode::usage, fmt::format("policy '{}' is loaded {} times", policy, found.size()),
                    fmt::format("say which one: {}", fmt::join(*texts, ", ")));
    }
    if (policy == pass_through)
        return Target{};
    if (find_builtin(policy)) {
        return fail(ErrorKind::no_such_policy, fmt::format("policy '{}' is not loaded", policy),
                    fmt::format("'mpsched use {0}' or 'mpsched policy load {0}' comes first", policy));
    }
    return unknown_policy(wanted, names_in(slots));
}

Result<Target> find_target(Session &session, const std::vector<Slot> &slots, const SetTarget &wanted) {
    const int said = !wanted.policy.empty() + wanted.selector.has_value() + wanted.slot.has_value();
    if (said > 1)
        return fail(ErrorCode::usage, "--policy, --for and --slot each tell whose parameters are meant",
                    "give one of them");
    if (wanted.selector)
        return target_of_rule(session, *wanted.selector);
    if (!wanted.policy.empty())
        return target_of_name(session, slots, wanted.policy);
    if (wanted.slot) {
        if (std::ranges::find(slots, *wanted.slot, &Slot::number) == slots.end())
            return fail(ErrorCode::usage, fmt::format("there is no policy in slot {}", *wanted.slot),
                        "'mpsched status' shows the slots");
        return Target{*wanted.slot, {}};
    }
    const auto config = session.config.read();
    MPS_TRY(config);
    return Target{default_slot(*config), {.is_default = true}};
}

// The parameters of a target that is not there are those of the kernel's own scheduling: none.
Result<void> set_policy(std::vector<Slot> &slots, std::uint32_t number, const std::vector<Setting> &settings,
                        SetResult &result) {
    const auto slot = std::ranges::find(slots, number, &Slot::number);
    if (slot == slots.end() || !slot->policy) {
        result.policy = pass_through;
        const auto none = check_settings(std::string(pass_through), {}, settings);
        return none ? Result<void>{} : std::unexpected(none.error());
    }
    result.policy = slot->policy->header.name;
    const auto checked = check_settings(result.policy, slot->policy->params, settings);
    MPS_TRY(checked);
    MPS_TRY(set_live(*slot->policy, *checked));
    result.params = values_of(slot->policy->params);
    return {};
}

std::string_view said_with(const SetTarget &target) {
    return target.selector ? "--for" : target.slot ? "--slot" : "--policy";
}

} // namespace

Result<SetResult> Instance::set(const std::vector<Setting> &settings, const SetTarget &wanted) {
    const auto call = impl_->enter();
    MPS_TRY(call);
    const auto parts = split(settings);
    MPS_TRY(parts);
    if (wanted.selector || wanted.slot || !wanted.policy.empty()) {
        if (auto refused = refuse_engine(*parts, said_with(wanted)))
            return std::unexpected(*refused);
    }
    auto session = impl_->open_for_changing();
    MPS_TRY(session);
    auto slots = session->slots().read();
    MPS_TRY(slots);
    const auto target = find_target(*session, *slots, wanted);
    MPS_TRY(target);
    SetResult result{.slot = target->slot};
    MPS_TRY(set_policy(*slots, target->slot, parts->policy, result));
    // Who names a policy or a slot means all that use it.
    const bool of_one = target->own.is_default || target->own.rule;
    if (of_one && !parts->policy.empty() && target->slot != MPS_SLOT_NONE) {
        auto also = referrers(*session, target->slot, target->own);
        MPS_TRY(also);
        result.also = std::move(*also);
    }
    if (parts->dwell_us) {
        if (auto done = session->config.update([&](mps_config &c) { c.dwell_us = *parts->dwell_us; });
            !done) {
            return std::unexpected(done.error());
        }
    }
    const auto slot = std::ranges::find(*slots, target->slot, &Slot::number);
    if (slot != slots->end() && slot->policy && slot->policy->header.levers) {
        MPS_TRY(settle_levers(*session));
    }
    const auto now = session->config.read();
    MPS_TRY(now);
    Param dwell = engine_params().front();
    dwell.value = now->dwell_us;
    result.params.push_back(std::move(dwell));
    return result;
}

} // namespace mps
