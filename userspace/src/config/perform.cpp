// SPDX-License-Identifier: MIT
//
// One action of a plan, done.

#include "config/plan.hpp"

#include "base/try.hpp"

namespace mps::config {

namespace {

std::vector<std::string> detached_warnings(const DetachResult &result) {
    std::vector<std::string> warnings = result.warnings;
    for (const std::string &one : result.unrestored)
        warnings.push_back("not restored: " + one);
    return warnings;
}

// The policy is chosen with the first interface; should it not load, the kernel schedules as always, and the action for the
// policy itself tells why.
Result<std::vector<std::string>> attach(Instance &instance, const Desired &desired, const Action &action) {
    AttachRequest request{
        .interfaces = {action.name}, .mode = action.mode, .role = action.role, .absent_too = true};
    std::vector<std::string> warnings;
    if (action.other_role) {
        const auto detached = instance.detach({.interfaces = {action.name}});
        MPS_TRY(detached);
        warnings = detached_warnings(*detached);
    }
    request.policy = desired.fallback.tx.policy;
    request.policy_only_if_first = true;
    if (!instance.installed())
        request.max_connections = desired.max_connections;
    auto done = instance.attach(request);
    MPS_TRY(done);
    warnings.insert(warnings.end(), done->warnings.begin(), done->warnings.end());
    return warnings;
}

Result<std::vector<std::string>> use(Instance &instance, const Action &action) {
    if (action.only_parameters) {
        const auto done = instance.set(action.settings, {.slot = action.only_parameters});
        MPS_TRY(done);
        return std::vector<std::string>{};
    }
    const std::optional<std::string> selector =
        action.kind == Action::Kind::rule ? std::optional(action.name) : std::nullopt;
    auto done = instance.use({.policy = action.policy,
                              .params = action.settings,
                              .selector = selector,
                              .position = action.position,
                              .hosts_later = true,
                              .direction = action.direction});
    MPS_TRY(done);
    return std::move(done->warnings);
}

template <class T>
Result<std::vector<std::string>> nothing_more(const Result<T> &done) {
    MPS_TRY(done);
    return std::vector<std::string>{};
}

Result<std::vector<std::string>> set_option_rules(Instance &instance, const Desired &desired) {
    auto done = instance.set_option_rules(desired.option_rule_list());
    MPS_TRY(done);
    return std::move(done->warnings);
}

} // namespace

Result<std::vector<std::string>> perform(Instance &instance, const Desired &desired, const Action &action) {
    switch (action.kind) {
    case Action::Kind::attach:
        return attach(instance, desired, action);
    case Action::Kind::attributes:
        return nothing_more(instance.set_path(action.name, action.change));
    case Action::Kind::fallback:
    case Action::Kind::rule:
        return use(instance, action);
    case Action::Kind::engine:
        return nothing_more(instance.set(action.settings));
    case Action::Kind::unrule:
        return nothing_more(instance.remove_rule(action.name));
    case Action::Kind::forget:
        return nothing_more(instance.forget_path(action.name));
    case Action::Kind::option_rules:
        return set_option_rules(instance, desired);
    case Action::Kind::application: {
        auto done = grant_applications(instance, action.grant);
        MPS_TRY(done);
        return std::move(done->warnings);
    }
    case Action::Kind::no_application:
        return nothing_more(revoke_applications(instance, {action.name}));
    case Action::Kind::congestion:
    case Action::Kind::no_congestion:
        return nothing_more(set_congestion_rules(instance, action.congestion));
    case Action::Kind::spread:
        return nothing_more(spread_on(
            instance,
            {.interfaces = {action.name}, .map = desired.spread->map, .moves = desired.spread->moves}));
    case Action::Kind::no_spread:
        return nothing_more(spread_off(instance, {action.name}, false));
    case Action::Kind::detach:
        break;
    }
    const auto done = instance.detach({.interfaces = {action.name}});
    MPS_TRY(done);
    return detached_warnings(*done);
}

} // namespace mps::config
