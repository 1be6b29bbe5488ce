// SPDX-License-Identifier: MIT

#include <algorithm>

#include <fmt/format.h>

#include "base/try.hpp"
#include "commands/cc.hpp"
#include "commands/commands.hpp"
#include "commands/links.hpp"
#include "commands/render.hpp"
#include "output/text.hpp"
#include "service/client.hpp"
#include "json/documents.hpp"

namespace mps::cli {

namespace {

using output::Align;
using output::Paint;

std::string interface_text(const Status &status, const LinkWords &links, const output::Style &style) {
    if (status.interfaces.empty())
        return "  none; 'mpsched attach IFACE…' attaches them\n";
    output::Table table({{"name"},
                         {"mode"},
                         {"role"},
                         {"tc hook"},
                         {"weight", Align::right},
                         {"priority", Align::right},
                         {"cost", Align::right},
                         {"energy"},
                         {"use"},
                         {"link", Align::left, true},
                         {"", Align::left, true}});
    for (const InterfaceStatus &one : status.interfaces)
        table.add({{one.name.empty() ? fmt::format("#{}", one.ifindex) : one.name, Paint::bold},
                   one.state == InterfaceState::attached ? to_string(one.mode) : to_string(one.state),
                   to_string(one.role),
                   one.tc_hook,
                   fmt::to_string(one.attributes.weight),
                   fmt::to_string(one.attributes.priority),
                   fmt::to_string(one.attributes.cost),
                   one.attributes.energy,
                   one.attributes.use,
                   links.text(one.ifindex),
                   {one.problem, Paint::bad}});
    return table.render(style, 2);
}

std::string policy_text(const Status &status, const output::Style &style) {
    std::string all;
    for (const PolicyInfo &policy : status.policies) {
        const std::string uses = policy_use(policy);
        const std::string_view preset = preset_of(policy);
        all += fmt::format("  {}{}  slot {}{}\n", style(Paint::bold, text::printable(policy.name)),
                           preset.empty() ? "" : fmt::format(" (preset {})", preset),
                           policy.slot ? fmt::to_string(*policy.slot) : "-",
                           uses.empty() ? ", not used" : ": " + uses);
        if (!policy.params.empty())
            all += param_lines(policy.params, style, 4);
    }
    return all;
}

std::string rule_notes(const RuleStatus &rule) {
    std::string all = rule.policy.empty() ? "" : fmt::format("slot {}", rule.slot);
    if (rule.rx_policy == rule.policy && rule.rx_slot == rule.slot)
        return all;
    all += fmt::format("{}what the peer sends: {}", all.empty() ? "" : ", ",
                       rule.rx_policy.empty() ? "left open" : rule.rx_policy);
    if (rule.rx_policy == rule.policy)
        all += fmt::format(" (slot {})", rule.rx_slot);
    constexpr std::size_t most_shown = 4;
    for (std::size_t i = 0; i < std::min(rule.addresses.size(), most_shown); i++)
        all += (i ? " " : all.empty() ? "" : "; ") + rule.addresses[i];
    if (rule.addresses.size() > most_shown)
        all += fmt::format(" and {} more", rule.addresses.size() - most_shown);
    return all;
}

std::string status_text(const Status &status, const LinkWords &links, const output::Style &style) {
    std::string all = heading(style, "interfaces") + interface_text(status, links, style);
    if (status.installed) {
        all += fmt::format("\n{}  {}\n", style(Paint::bold, "default policy"),
                           status.default_slot == 0 && status.default_policy == "default"
                               ? "default (the kernel's own scheduling)"
                               : text::printable(status.default_policy));
        if (status.rx_default_policy != status.default_policy)
            all += fmt::format("  for what peers send: {}\n", text::printable(status.rx_default_policy));
        if (status.new_only)
            all += "  for new connections: the last switch was --new-only, older ones keep what they had\n";
        if (!status.rules.empty()) {
            all += "\n" + heading(style, "rules, the first that matches decides");
            output::Table rules({{"", Align::right}, {""}, {""}, {""}});
            std::size_t position = 0;
            for (const RuleStatus &rule : status.rules)
                rules.add({fmt::to_string(++position),
                           rule.selector,
                           {rule.policy.empty() ? "-" : rule.policy, Paint::bold},
                           {rule_notes(rule), Paint::dim}});
            all += rules.render(style, 2);
        }
        if (!status.policies.empty())
            all += "\n" + heading(style, "loaded policies") + policy_text(status, style);
        if (!status.engine.empty())
            all += "\n" + heading(style, "engine") + param_lines(status.engine, style, 2);
    }
    all += fmt::format("\n{}  {}{}\n", style(Paint::bold, "connections"), status.connections,
                       status.max_connections ? fmt::format(" (room for {})", status.max_connections) : "");

    std::vector<std::string> problems = status.problems;
    for (const InterfaceStatus &one : status.interfaces)
        if (!one.problem.empty() &&
            std::ranges::none_of(problems, [&](const auto &text) { return text.contains(one.problem); }))
            problems.push_back(fmt::format("{}: {}", one.name, one.problem));
    if (!problems.empty()) {
        all += "\n" + style(Paint::bad, "problems") + "\n";
        for (const std::string &problem : problems)
            all += text::wrap(text::printable(problem), 100, 2) + "\n";
        all += "  'mpsched doctor' explains them\n";
    }
    if (!status.notes.empty()) {
        all += "\n" + heading(style, "notes");
        for (const std::string &note : status.notes)
            all += text::wrap(text::printable(note), 100, 2) + "\n";
    }
    return all;
}

Result<Reply> run_status(const Context &context) {
    const auto instance = context.open();
    MPS_TRY(instance);
    const auto status = instance->status();
    MPS_TRY(status);
    Reply reply{.json = status_json(*status), .text = {}};
    const auto service = service::ask(status->netns_cookie, {{"do", "status"}});
    if (!service)
        reply.warnings.push_back(service.error().what);
    const Json said = service && *service ? **service : Json();
    const LinkWords links = LinkWords::look(*instance, said, reply.warnings);
    reply.text = status_text(*status, links, context.style);
    for (std::size_t i = 0; i < status->paths.size(); i++)
        reply.json["paths"][i]["link"] = links.json(status->paths[i].ifindex);
    if (const auto rules = congestion_rules(*instance); !rules) {
        reply.warnings.push_back(rules.error().what);
    } else {
        reply.json["congestion_rules"] = congestion_rules_json(*rules);
        if (!rules->empty())
            reply.text += "\n" + heading(context.style, "congestion control") +
                          congestion_rule_lines(*rules, context.style);
    }
    if (!said.is_null()) {
        reply.json["service"] = said;
        reply.text += "\n" + service_text(said, context.style);
    }
    return reply;
}

} // namespace

void setup_status(Binder &binder) { binder.run(run_status); }

} // namespace mps::cli
