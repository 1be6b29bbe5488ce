// SPDX-License-Identifier: MIT

#include "config/plan.hpp"

#include <algorithm>
#include <filesystem>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/try.hpp"
#include "config/kernel_wishes.hpp"
#include "mpsched/policy_names.hpp"

namespace mps::config {

namespace {

using Kind = Action::Kind;

template <class T>
void note(std::vector<std::string> &texts, std::string_view name, const T &before, const T &now) {
    texts.push_back(fmt::format("{} {} → {}", name, before, now));
}

// What makes `live` into `wanted`; nullopt if they are the same.
std::optional<Action> change_of(const PathWish &wanted, const PathAttributes &live) {
    Action action{.kind = Kind::attributes, .object = "interface " + wanted.name, .name = wanted.name};
    const PathAttributes &wish = wanted.attributes;
    std::vector<std::string> texts;
    const auto compare = [&](std::string_view name, const auto &before, const auto &now, auto &target) {
        if (before == now)
            return;
        target = now;
        note(texts, name, before, now);
    };
    compare("weight", live.weight, wish.weight, action.change.weight);
    compare("priority", live.priority, wish.priority, action.change.priority);
    compare("cost", live.cost, wish.cost, action.change.cost);
    compare("energy", live.energy, wish.energy, action.change.energy);
    compare("use", live.use, wish.use, action.change.use);
    compare("quota", live.quota_bytes.value_or(0), wish.quota_bytes.value_or(0), action.change.quota_bytes);
    // Without a quota these mean nothing.
    if (wish.quota_bytes) {
        compare("quota_then", live.quota_then_bit_s / 8 * 8, wish.quota_then_bit_s / 8 * 8,
                action.change.quota_then_bit_s);
        compare("quota_period", live.quota_period_s, wish.quota_period_s, action.change.quota_period_s);
    }
    if (texts.empty())
        return std::nullopt;
    action.text = fmt::format("{}: {}", wanted.name, fmt::join(texts, ", "));
    return action;
}

bool is_default(const PathAttributes &a) {
    const PathAttributes none;
    return a.weight == none.weight && a.priority == none.priority && a.cost == none.cost &&
           a.energy == none.energy && a.use == none.use && !a.quota_bytes;
}

std::string params_text(const std::vector<Setting> &settings) {
    std::string all;
    for (const Setting &one : settings)
        all += fmt::format(" {}={}", one.key, one.value);
    return all;
}

std::vector<Setting> all_values(const std::vector<Param> &params) {
    std::vector<Setting> settings;
    for (const Param &param : params)
        settings.emplace_back(param.name, param.value);
    return settings;
}

bool same_values(const std::vector<Param> &live, const std::vector<Param> &wanted) {
    return std::ranges::all_of(wanted, [&](const Param &param) {
        const auto it = std::ranges::find(live, param.name, &Param::name);
        return it != live.end() && it->value == param.value;
    });
}

// What decides now about one direction; no policy: it is left open.
struct Held {
    std::uint32_t slot = 0;
    std::string policy{};
};

class Planner {
  public:
    Planner(const Desired &desired, const Facts &facts)
        : desired_(desired), status_(facts.status), facts_(facts) {}

    Plan run() {
        plan_paths();
        if (status_.installed || is_attaching_) {
            plan_fallback();
            plan_engine();
            plan_rules();
            plan_applications();
        } else {
            wait("default policy", "no interface is there yet that is to be attached");
            for (const RuleWish &rule : desired_.rules)
                wait("rule " + rule.selector, "no interface is there yet that is to be attached");
            for (const ApplicationWish &wish : desired_.applications)
                wait("applications of " + wish.grant.cgroup,
                     "no interface is there yet that is to be attached");
        }
        plan_option_rules();
        plan_congestion(desired_, facts_, plan_);
        plan_spread(desired_, facts_, plan_);
        plan_rest();
        return std::move(plan_);
    }

  private:
    void wait(std::string object, std::string why) {
        plan_.waiting.push_back({std::move(object), std::move(why)});
    }
    [[nodiscard]] const PathStatus *live_path(const std::string &name) const {
        const auto it = std::ranges::find(status_.paths, name, &PathStatus::name);
        return it == status_.paths.end() ? nullptr : &*it;
    }
    [[nodiscard]] const PolicyInfo *in_slot(std::uint32_t slot) const {
        const auto it =
            std::ranges::find_if(status_.policies, [&](const PolicyInfo &p) { return p.slot == slot; });
        return it == status_.policies.end() ? nullptr : &*it;
    }
    void plan_paths();
    void plan_attach(const PathWish &wish, const PathStatus *live);
    void plan_fallback();
    void plan_engine();
    void plan_rules();
    void plan_option_rules();
    void plan_applications();
    void remove_rule(const std::string &selector);
    [[nodiscard]] std::vector<RuleStatus> plan_removals();
    [[nodiscard]] static std::vector<Action> placed(const UseWish &wish, std::vector<Action> changes,
                                                    std::size_t place);
    void plan_rest();
    // What makes the policy in a slot the wished one; nullopt if it is that.
    [[nodiscard]] std::optional<Action> policy_change(const PolicyWish &wish, const Held &held) const;
    // The same for both directions, this host's first.
    [[nodiscard]] std::vector<Action> use_changes(const UseWish &wish, const Held &tx, const Held &rx) const;
    // Whether what peers send is decided by what decides about `tx`.
    [[nodiscard]] static bool follows(const PolicyWish &wish, const Held &tx, const Held &rx) {
        return wish.checked.rx ? rx.slot == tx.slot : rx.policy == pass_through;
    }

    const Desired &desired_;
    const Status &status_;
    const Facts &facts_;
    Plan plan_{};
    bool is_attaching_ = false;
    std::set<std::string> kept_{}; // names of paths that stay
};

void Planner::plan_attach(const PathWish &wish, const PathStatus *live) {
    const auto interface = std::ranges::find(status_.interfaces, wish.name, &InterfaceStatus::name);
    const bool wanted = live && live->wanted;
    const bool other_mode = wanted && wish.mode != Mode::automatic && interface != status_.interfaces.end() &&
                            interface->mode != wish.mode;
    const bool other_role = wanted && interface != status_.interfaces.end() && interface->role != wish.role;
    if (wish.attach == wanted && !(wish.attach && (other_mode || other_role)))
        return;
    Action action{.kind = wish.attach ? Kind::attach : Kind::detach,
                  .object = "interface " + wish.name,
                  .name = wish.name,
                  .mode = wish.mode,
                  .role = wish.role,
                  .other_role = other_role};
    const std::string_view as = wish.role == Role::gateway ? " as a gateway's" : "";
    action.text =
        !wish.attach ? fmt::format("detach {}", wish.name)
        : other_role
            ? fmt::format("{}: role {} → {}", wish.name, to_string(interface->role), to_string(wish.role))
        : other_mode
            ? fmt::format("{}: mode {} → {}", wish.name, to_string(interface->mode), to_string(wish.mode))
            : fmt::format("attach {}{}{}", wish.name, as, wish.ifindex ? "" : " when it comes");
    is_attaching_ |= wish.attach;
    plan_.actions.push_back(std::move(action));
}

void Planner::plan_paths() {
    for (const PathWish &wish : desired_.paths(facts_.interfaces)) {
        kept_.insert(wish.name);
        plan_.objects.push_back("interface " + wish.name);
        const PathStatus *live = live_path(wish.name);
        auto change = change_of(wish, live ? live->attributes : PathAttributes{});
        // Into an installation that is there the attributes come first, so that they count from the first packet on. Where
        // there is none, attaching makes it as it is asked for.
        if (change && status_.installed)
            plan_.actions.push_back(*change);
        plan_attach(wish, live);
        if (change && !status_.installed)
            plan_.actions.push_back(std::move(*change));
    }
    for (const InterfaceWish &wish : desired_.interfaces) {
        const bool is_there = std::ranges::any_of(
            facts_.interfaces, [&](const auto &one) { return desired_.matches(wish, one); });
        if (is_there || !wish.plain_names().empty())
            continue;
        // Another [[interface]] may be for the same ones at all times, and is in force.
        if (wish.metered)
            wait(fmt::format("interface {} while {}metered", wish.text(), *wish.metered ? "" : "not "),
                 *wish.metered ? "none of them is called metered"
                               : "none of them is there, or all are called metered");
        else
            wait("interface " + wish.text(), "no such interface is there");
    }
}

std::optional<Action> Planner::policy_change(const PolicyWish &wish, const Held &held) const {
    Action action{.policy = wish.policy, .settings = wish.settings};
    action.text = fmt::format("{} → {}{}", held.policy.empty() ? "left open" : held.policy, wish.checked.name,
                              params_text(wish.settings));
    if (held.policy.empty())
        return action;
    const PolicyInfo *live = in_slot(held.slot);
    // An empty slot passes everything through.
    if (!live)
        return wish.checked.name == pass_through ? std::nullopt : std::optional(action);
    const bool same = live->name == wish.checked.name && live->builtin == wish.checked.builtin &&
                      (live->builtin || live->sha256 == wish.checked.sha256);
    if (!same)
        return action;
    if (same_values(live->params, wish.checked.params))
        return std::nullopt;
    action.only_parameters = held.slot;
    action.settings = all_values(wish.checked.params);
    action.text = fmt::format("parameters of {}: {}", live->name,
                              params_text(wish.settings).empty() ? " defaults" : params_text(wish.settings));
    return action;
}

// Parameters of a copy of the policy that only this direction uses.
void make_own(Action &action, const PolicyWish &wish) {
    if (!action.only_parameters)
        return;
    action.only_parameters.reset();
    action.settings = wish.settings;
}

std::vector<Action> Planner::use_changes(const UseWish &wish, const Held &tx, const Held &rx) const {
    std::vector<Action> actions;
    const bool both = !wish.tx_open && !wish.rx_open && !wish.rx;
    if (!wish.tx_open) {
        auto action = policy_change(wish.tx, tx);
        // Also where parameters differ: these are then set on the way.
        if (both && (!action || action->only_parameters) && !follows(wish.tx, tx, rx))
            action = Action{
                .text = fmt::format("what peers send: {} → {}", rx.policy.empty() ? "left open" : rx.policy,
                                    wish.tx.checked.rx ? wish.tx.checked.name : std::string(pass_through)),
                .policy = wish.tx.policy,
                .settings = wish.tx.settings};
        if (action) {
            if (!both && rx.slot == tx.slot)
                make_own(*action, wish.tx);
            action->direction = both ? Direction::both : Direction::tx;
            actions.push_back(std::move(*action));
        }
    }
    if (!wish.rx)
        return actions;
    auto action = policy_change(*wish.rx, rx);
    if (action) {
        if (rx.slot == tx.slot)
            make_own(*action, *wish.rx);
        action->direction = Direction::rx;
        action->text = "what peers send: " + action->text;
        actions.push_back(std::move(*action));
    }
    return actions;
}

void Planner::plan_fallback() {
    plan_.objects.emplace_back("default policy");
    for (Action &action : use_changes(desired_.fallback, {status_.default_slot, status_.default_policy},
                                      {status_.rx_default_slot, status_.rx_default_policy})) {
        action.kind = Kind::fallback;
        action.object = "default policy";
        action.text = "default policy: " + action.text;
        plan_.actions.push_back(std::move(action));
    }
}

void Planner::plan_engine() {
    plan_.objects.emplace_back("engine");
    const std::vector<Param> live = status_.engine.empty() ? engine_params() : status_.engine;
    if (same_values(live, desired_.engine))
        return;
    const auto settings = all_values(desired_.engine);
    plan_.actions.push_back({.kind = Kind::engine,
                             .object = "engine",
                             .text = "engine:" + params_text(settings),
                             .settings = settings});
}

void Planner::remove_rule(const std::string &selector) {
    plan_.actions.push_back({.kind = Kind::unrule,
                             .object = "rule " + selector,
                             .text = fmt::format("remove the rule for {}", selector),
                             .name = selector});
}

// The rules that stay, in their order. One that decides about a direction which the file leaves open is made anew, since no
// command takes a direction out of a rule.
std::vector<RuleStatus> Planner::plan_removals() {
    std::vector<RuleStatus> rules;
    for (const RuleStatus &rule : status_.rules) {
        const auto at =
            std::ranges::find_if(facts_.selectors, [&](const auto &s) { return s && *s == rule.selector; });
        const UseWish *wish =
            at == facts_.selectors.end()
                ? nullptr
                : &desired_.rules[static_cast<std::size_t>(at - facts_.selectors.begin())].use;
        if (!wish || (wish->tx_open && !rule.policy.empty()) || (wish->rx_open && !rule.rx_policy.empty()))
            remove_rule(rule.selector);
        else
            rules.push_back(rule);
    }
    return rules;
}

// What puts a rule that is not where it belongs, or not there at all, into its place.
std::vector<Action> Planner::placed(const UseWish &wish, std::vector<Action> changes, std::size_t place) {
    if (changes.empty()) {
        const PolicyWish &policy = wish.tx_open ? *wish.rx : wish.tx;
        changes.push_back({.text = fmt::format("to place {}", place),
                           .policy = policy.policy,
                           .direction = wish.tx_open              ? Direction::rx
                                        : wish.rx || wish.rx_open ? Direction::tx
                                                                  : Direction::both});
    }
    Action &first = changes.front();
    const PolicyWish &policy = first.direction == Direction::rx ? *wish.rx : wish.tx;
    first.only_parameters.reset();
    first.settings = policy.settings;
    first.position = static_cast<std::uint32_t>(place);
    return changes;
}

// The rules as they will be while one after the other is put into its place.
void Planner::plan_rules() {
    for (std::size_t i = 0; i < desired_.rules.size(); i++)
        if (!facts_.selectors[i])
            wait("rule " + desired_.rules[i].selector, facts_.selectors[i].error().what);
    std::vector<RuleStatus> rules = plan_removals();
    std::size_t place = 0;
    for (std::size_t i = 0; i < desired_.rules.size(); i++) {
        if (!facts_.selectors[i])
            continue;
        const std::string &selector = *facts_.selectors[i];
        const UseWish &wish = desired_.rules[i].use;
        plan_.objects.push_back("rule " + selector);
        const auto live = std::ranges::find(rules, selector, &RuleStatus::selector);
        const RuleStatus now = live == rules.end() ? RuleStatus{.selector = selector} : *live;
        std::vector<Action> changes = use_changes(wish, {now.slot, now.policy}, {now.rx_slot, now.rx_policy});
        const bool moves = live == rules.end() || live != rules.begin() + static_cast<std::ptrdiff_t>(place);
        if (moves) {
            if (live != rules.end())
                rules.erase(live);
            rules.insert(rules.begin() + static_cast<std::ptrdiff_t>(place), now);
            changes = placed(wish, std::move(changes), place + 1);
        }
        place++;
        for (Action &action : changes) {
            action.kind = Kind::rule;
            action.object = "rule " + selector;
            action.name = selector;
            action.text = fmt::format("rule {}: {}", selector, action.text);
            plan_.actions.push_back(std::move(action));
        }
    }
}

// All of them at once, as the kernel has them.
void Planner::plan_option_rules() {
    const auto wanted = desired_.option_rule_list();
    if (!wanted.empty())
        plan_.objects.emplace_back("option rules");
    if (wanted == facts_.option_rules)
        return;
    std::vector<std::string> texts;
    for (const OptionRule &one : wanted)
        texts.push_back(option_rule_text(one));
    plan_.actions.push_back({.kind = Kind::option_rules,
                             .object = "option rules",
                             .text = texts.empty()
                                         ? "remove the option rules"
                                         : fmt::format("option rules: {}", fmt::join(texts, "; "))});
}

void Planner::plan_applications() {
    std::set<std::string> stay;
    for (std::size_t i = 0; i < desired_.applications.size(); i++) {
        ApplicationGrant wanted = desired_.applications[i].grant;
        if (!facts_.cgroups[i]) {
            wait("applications of " + wanted.cgroup, facts_.cgroups[i].error().what);
            continue;
        }
        wanted.cgroup = *facts_.cgroups[i];
        const std::string object = "applications of " + wanted.cgroup;
        stay.insert(wanted.cgroup);
        plan_.objects.push_back(object);
        const auto live = std::ranges::find(facts_.applications, wanted.cgroup, &ApplicationGrant::cgroup);
        const auto sorted = [](std::vector<std::string> names) {
            std::ranges::sort(names);
            return names;
        };
        if (live != facts_.applications.end() && live->problem.empty() && live->max_cost == wanted.max_cost &&
            sorted(live->policies) == sorted(wanted.policies))
            continue;
        plan_.actions.push_back(
            {.kind = Kind::application,
             .object = object,
             .text =
                 fmt::format("{} may choose: {}{}", object,
                             wanted.policies.empty() ? std::string("no policy")
                                                     : fmt::format("{}", fmt::join(wanted.policies, ", ")),
                             wanted.max_cost ? fmt::format(", cost at most {}", *wanted.max_cost) : ""),
             .grant = wanted});
    }
    for (const ApplicationGrant &live : facts_.applications)
        if (!stay.contains(live.cgroup))
            plan_.actions.push_back(
                {.kind = Kind::no_application,
                 .object = "applications of " + live.cgroup,
                 .text = fmt::format("applications of {} may choose no more", live.cgroup),
                 .name = live.cgroup});
}

// What is there and nothing asks for; last, so that there is never less than before.
void Planner::plan_rest() {
    for (const PathStatus &path : status_.paths) {
        if (kept_.contains(path.name))
            continue;
        // It may come back, and be matched then.
        if (path.ifindex == 0 &&
            std::ranges::any_of(desired_.interfaces, [&](const auto &w) { return w.names_it(path.name); }))
            continue;
        Action action{.object = "interface " + path.name, .name = path.name};
        if (path.wanted) {
            action.kind = Kind::detach;
            action.text = fmt::format("detach {}", path.name);
            plan_.actions.push_back(action);
        }
        if (!is_default(path.attributes)) {
            action.kind = Kind::forget;
            action.text = fmt::format("{}: default attributes", path.name);
            plan_.actions.push_back(action);
        }
    }
}

// Rules about options and congestion control, and placing subflows, need nothing attached.
bool needs_installation(const Action &action) {
    return action.kind != Action::Kind::option_rules && action.kind != Action::Kind::congestion &&
           action.kind != Action::Kind::spread;
}

// In this order, and what comes next is planned anew when one has changed something: the last interface to leave its role takes all of
// the installation with it, and attaching may choose the default policy.
enum class Pass { roles, interfaces, rest };

Pass pass_of(const Action &action) {
    if (action.other_role)
        return Pass::roles;
    return action.kind == Action::Kind::attach || action.kind == Action::Kind::attributes ? Pass::interfaces
                                                                                          : Pass::rest;
}

} // namespace

Result<Facts> look(const Instance &instance, const Desired &desired) {
    auto status = instance.status();
    MPS_TRY(status);
    auto interfaces = instance.interfaces(desired.asks_for_routes());
    MPS_TRY(interfaces);
    const auto option_rules = instance.option_rules();
    MPS_TRY(option_rules);
    Facts facts{.status = std::move(*status), .interfaces = std::move(*interfaces)};
    for (const OptionRuleStatus &one : *option_rules)
        facts.option_rules.push_back(one.rule);
    auto applications = application_grants(instance);
    MPS_TRY(applications);
    facts.applications = std::move(*applications);
    for (const ApplicationWish &wish : desired.applications)
        facts.cgroups.push_back(canonical_cgroup(wish.grant.cgroup));
    auto congestion = congestion_rules(instance);
    MPS_TRY(congestion);
    facts.congestion = std::move(*congestion);
    // What cannot be had now is told by the action that fails.
    for (const CongestionWish &wish : desired.congestion)
        facts.congestion_selectors.push_back(
            wish.use.selector.empty()
                ? ""
                : instance.canonical_selector(wish.use.selector).value_or(wish.use.selector));
    auto spread = spread_status(instance, false);
    MPS_TRY(spread);
    facts.spread = std::move(*spread);
    std::set<std::string> seen;
    for (const RuleWish &rule : desired.rules) {
        auto selector = instance.canonical_selector(rule.selector);
        if (selector && !seen.insert(*selector).second)
            selector = fail(ErrorCode::usage, fmt::format("an earlier rule is for {} as well", *selector));
        facts.selectors.push_back(std::move(selector));
    }
    return facts;
}

Plan make_plan(const Desired &desired, const Facts &facts) {
    if (desired.empty)
        return {};
    return Planner(desired, facts).run();
}

Result<Reconciled> reconcile(Instance &instance, const Desired &desired, const Consider &consider) {
    Reconciled result;
    const auto act = [&](Action &action) {
        if (consider && !consider(action))
            return false;
        Outcome outcome{.action = action};
        if (auto done = perform(instance, desired, action))
            outcome.warnings = std::move(*done);
        else
            outcome.error = done.error();
        result.outcomes.push_back(std::move(outcome));
        return true;
    };
    auto facts = look(instance, desired);
    for (const Pass pass : {Pass::roles, Pass::interfaces, Pass::rest}) {
        MPS_TRY(facts);
        bool acted = false;
        for (Action &action : make_plan(desired, *facts).actions)
            if (pass_of(action) == pass &&
                (pass != Pass::rest || instance.installed() || !needs_installation(action)))
                acted |= act(action);
        // Looking is what costs here: only where something was done.
        if (acted)
            facts = look(instance, desired);
    }
    MPS_TRY(facts);
    result.facts = std::move(*facts);
    return result;
}

} // namespace mps::config
