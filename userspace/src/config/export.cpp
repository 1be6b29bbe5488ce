// SPDX-License-Identifier: MIT
//
// What runs now, as a file.

#include <algorithm>

#include <fmt/format.h>

#include "config/kernel_wishes.hpp"
#include "config/plan.hpp"
#include "mpsched/policy_names.hpp"

namespace mps::config {

namespace {

constexpr std::uint32_t usual_connections = 16'384;

void put_policy(Section &section, const std::string &prefix, const std::string &name,
                const PolicyInfo *policy) {
    section.put(prefix + "policy", policy && !policy->file.empty() ? policy->file : name);
    if (!policy)
        return;
    std::vector<Setting> settings;
    for (const Param &param : policy->params)
        if (param.value != param.default_value)
            settings.emplace_back(param.name, param.value);
    section.put(prefix + "set", settings);
}

const PolicyInfo *in_slot(const Status &status, std::uint32_t slot) {
    const auto it =
        std::ranges::find_if(status.policies, [&](const PolicyInfo &p) { return p.slot == slot; });
    return it == status.policies.end() ? nullptr : &*it;
}

// Of [default] or a rule; an empty name: that direction is left open.
void put_use(Section &section, const Status &status, const RuleStatus &use) {
    const PolicyInfo *tx = in_slot(status, use.slot);
    if (!use.policy.empty())
        put_policy(section, "", use.policy, tx);
    const bool follows = tx && tx->rx ? use.rx_slot == use.slot : use.rx_policy == pass_through;
    if (!use.policy.empty() && follows)
        return;
    if (use.rx_policy.empty())
        section.put("rx_policy", std::string(left_open));
    else
        put_policy(section, "rx_", use.rx_policy, in_slot(status, use.rx_slot));
}

Section interface_section(const Status &status, const PathStatus &path) {
    Section section{.part = Part::interface};
    section.put("name", path.name);
    if (!path.wanted)
        section.put("attach", "false");
    const auto interface = std::ranges::find(status.interfaces, path.name, &InterfaceStatus::name);
    const bool gateway = interface != status.interfaces.end() && interface->role == Role::gateway;
    if (path.wanted && gateway)
        section.put("role", std::string(to_string(Role::gateway)));
    else if (path.wanted && interface != status.interfaces.end() && interface->mode != Mode::automatic)
        section.put("mode", std::string(to_string(interface->mode)));
    const PathAttributes none;
    const PathAttributes &a = path.attributes;
    const auto put = [&](const char *key, const auto &value, const auto &usual) {
        if (value != usual)
            section.put(key, fmt::format("{}", value));
    };
    put("weight", a.weight, none.weight);
    put("priority", a.priority, none.priority);
    put("cost", a.cost, none.cost);
    put("energy", a.energy, none.energy);
    put("use", a.use, none.use);
    if (a.quota_bytes) {
        section.put("quota", fmt::to_string(*a.quota_bytes));
        put("quota_period", a.quota_period_s, none.quota_period_s);
        put("quota_then", a.quota_then_bit_s, none.quota_then_bit_s);
    }
    return section;
}

Section option_rule_section(const OptionRule &rule) {
    Section section{.part = Part::option_rule};
    const auto put = [&](const char *key, const std::string &value) {
        if (!value.empty())
            section.put(key, value);
    };
    const auto port = [](std::uint16_t number) { return number ? fmt::to_string(number) : std::string(); };
    put("interface", rule.interface);
    put("direction", rule.direction);
    put("option", rule.option);
    put("action", rule.action);
    put("state", rule.state);
    put("local", rule.local);
    put("lport", port(rule.local_port));
    put("remote", rule.remote);
    put("rport", port(rule.remote_port));
    put("address", rule.address);
    put("above", rule.above ? fmt::to_string(*rule.above) : std::string());
    return section;
}

} // namespace

std::vector<Section> exported(const Status &status, const std::vector<OptionRule> &option_rules,
                              const std::vector<ApplicationGrant> &applications,
                              const std::vector<CongestionRule> &congestion, const SpreadStatus &spread) {
    std::vector<Section> sections(1);
    sections.front().put("version", fmt::to_string(format_version));
    if (!status.installed)
        return sections;
    if (status.max_connections != usual_connections)
        sections.front().put("max_connections", fmt::to_string(status.max_connections));
    Section fallback{.part = Part::fallback};
    put_use(fallback, status,
            {.policy = status.default_policy,
             .slot = status.default_slot,
             .rx_policy = status.rx_default_policy,
             .rx_slot = status.rx_default_slot});
    sections.push_back(std::move(fallback));
    Section engine{.part = Part::engine};
    for (const Param &param : status.engine)
        if (param.value != param.default_value)
            engine.put(param.name, fmt::to_string(param.value));
    if (!engine.entries.empty())
        sections.push_back(std::move(engine));
    for (const PathStatus &path : status.paths)
        sections.push_back(interface_section(status, path));
    for (const RuleStatus &rule : status.rules) {
        Section section{.part = Part::rule};
        section.put("for", rule.selector);
        put_use(section, status, rule);
        sections.push_back(std::move(section));
    }
    for (const OptionRule &rule : option_rules)
        sections.push_back(option_rule_section(rule));
    export_congestion(congestion, sections);
    export_spread(spread, sections);
    for (const ApplicationGrant &grant : applications) {
        Section section{.part = Part::application};
        section.put("cgroup", grant.cgroup);
        if (!grant.policies.empty())
            section.entries.push_back({.key = "policies", .texts = grant.policies, .is_list = true});
        if (grant.max_cost)
            section.put("max_cost", fmt::to_string(*grant.max_cost));
        sections.push_back(std::move(section));
    }
    return sections;
}

} // namespace mps::config
