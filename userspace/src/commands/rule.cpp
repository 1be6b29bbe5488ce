// SPDX-License-Identifier: MIT

#include <memory>

#include <fmt/format.h>

#include "base/numbers.hpp"
#include "base/try.hpp"
#include "commands/commands.hpp"
#include "commands/render.hpp"
#include "output/text.hpp"

namespace mps::cli {

namespace {

using output::Align;
using output::Paint;

Result<std::uint32_t> parse_place(const std::string &text) {
    const auto place = parse_number<std::uint32_t>(text);
    if (!place || *place < 1)
        return usage_error(fmt::format("'{}' is no number of a rule", text::printable(text)),
                           "'mpsched rule list' shows them; 1 is tried first");
    return *place;
}

// ----------------------------------------------------------------------------------------------------- add, del

struct AddOptions {
    std::string interface, direction, option, action;
    std::vector<std::string> matches;
    std::optional<std::string> position;
};

Result<Reply> run_add(const Context &context, const AddOptions &options) {
    const auto matches = parse_settings(options.matches, "behind the action stand matches like rport=443; "
                                                         "'mpsched help rule add' lists them");
    MPS_TRY(matches);
    const auto rule =
        make_option_rule(options.interface, options.direction, options.option, options.action, *matches);
    MPS_TRY(rule);
    std::optional<std::uint32_t> position;
    if (options.position) {
        const auto place = parse_place(*options.position);
        MPS_TRY(place);
        position = *place;
    }
    auto instance = context.open();
    MPS_TRY(instance);
    const auto result = instance->add_option_rule(*rule, position);
    MPS_TRY(result);
    return option_rules_changed(*result);
}

struct DelOptions {
    std::vector<std::string> places;
    bool all = false;
};

Result<Reply> run_del(const Context &context, const DelOptions &options) {
    if (options.all == !options.places.empty())
        return usage_error("'rule del' needs numbers of rules, or --all", "'mpsched rule list' shows them");
    std::vector<std::uint32_t> places;
    for (const std::string &one : options.places) {
        const auto place = parse_place(one);
        MPS_TRY(place);
        places.push_back(*place);
    }
    auto instance = context.open();
    MPS_TRY(instance);
    const auto result = options.all ? instance->set_option_rules({}) : instance->remove_option_rules(places);
    MPS_TRY(result);
    return option_rules_changed(*result);
}

// ----------------------------------------------------------------------------------------------------- list, counters

Result<std::vector<OptionRuleStatus>> read_rules(const Context &context) {
    const auto instance = context.open();
    MPS_TRY(instance);
    return instance->option_rules();
}

constexpr std::string_view none = "there are no option rules; 'mpsched rule add' makes one\n";

Result<Reply> run_list(const Context &context) {
    const auto all = read_rules(context);
    MPS_TRY(all);
    Reply reply{.json = Json::array(), .text = {}};
    output::Table table({{"rule", Align::right},
                         {"interface"},
                         {"", Align::left},
                         {"option"},
                         {"action"},
                         {"only", Align::left, true},
                         {"", Align::left, true}});
    std::vector<OptionRule> rules;
    for (const OptionRuleStatus &one : *all) {
        rules.push_back(one.rule);
        reply.json.push_back(option_rule_json(one, rules.size()));
        const std::string head = fmt::format("{} {} {} {}", one.rule.interface, one.rule.direction,
                                             one.rule.option, one.rule.action);
        const std::string text = option_rule_text(one.rule);
        table.add({fmt::to_string(rules.size()),
                   one.rule.interface,
                   one.rule.direction,
                   one.rule.option,
                   one.rule.action,
                   text.size() > head.size() ? text.substr(head.size() + 1) : "",
                   {one.problem, Paint::warn}});
    }
    reply.text = rules.empty() ? std::string(none) : table.render(context.style);
    for (const OptionRuleOverlap &overlap : option_rule_overlaps(rules))
        reply.text += overlap_text(overlap) + "\n";
    return reply;
}

Result<Reply> run_counters(const Context &context) {
    const auto all = read_rules(context);
    MPS_TRY(all);
    Reply reply{.json = Json::array(), .text = {}};
    output::Table table({{"rule", Align::right},
                         {"matched", Align::right},
                         {"changed", Align::right},
                         {"not possible", Align::right},
                         {"", Align::left}});
    for (std::size_t i = 0; i < all->size(); i++) {
        const OptionRuleStatus &one = (*all)[i];
        reply.json.push_back(option_rule_json(one, i + 1));
        table.add({fmt::to_string(i + 1), text::grouped(one.matched), text::grouped(one.changed),
                   text::grouped(one.failed), option_rule_text(one.rule)});
    }
    reply.text = all->empty() ? std::string(none) : table.render(context.style);
    return reply;
}

} // namespace

void setup_rule_add(Binder &binder) {
    auto options = std::make_shared<AddOptions>();
    binder.argument("IFACE", options->interface);
    binder.argument("DIRECTION", options->direction);
    binder.argument("OPTION", options->option);
    binder.argument("ACTION", options->action);
    binder.argument("key=value", options->matches);
    binder.option("--position", options->position);
    binder.run([options](const Context &context) { return run_add(context, *options); });
}

void setup_rule_del(Binder &binder) {
    auto options = std::make_shared<DelOptions>();
    binder.argument("NUMBER", options->places);
    binder.flag("--all", options->all);
    binder.run([options](const Context &context) { return run_del(context, *options); });
}

void setup_rule_list(Binder &binder) {
    binder.run([](const Context &context) { return run_list(context); });
}

void setup_rule_counters(Binder &binder) {
    binder.run([](const Context &context) { return run_counters(context); });
}

} // namespace mps::cli
