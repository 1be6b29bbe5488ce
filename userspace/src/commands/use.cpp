// SPDX-License-Identifier: MIT

#include <memory>
#include <optional>

#include <fmt/format.h>

#include "base/numbers.hpp"
#include "base/try.hpp"
#include "commands/commands.hpp"
#include "commands/persist.hpp"
#include "commands/render.hpp"
#include "output/progress.hpp"
#include "output/text.hpp"

namespace mps::cli {

namespace {

struct UseOptions {
    std::string policy;
    std::vector<std::string> settings;
    std::optional<std::string> selector;
    std::optional<std::string> before;
    std::optional<std::string> position;
    std::string direction;
    bool new_only = false;
    bool persist = false;
};

Result<std::optional<std::uint32_t>> parse_position(const std::optional<std::string> &text) {
    if (!text)
        return std::nullopt;
    const auto number = parse_number<std::uint32_t>(*text);
    if (!number)
        return usage_error(fmt::format("option '--position' cannot be {}", text::quoted(*text)),
                           "a number from 1, which is tried first");
    return number;
}

// The table allows no other words.
Direction direction_of(std::string_view word) {
    return word == "tx" ? Direction::tx : word == "rx" ? Direction::rx : Direction::both;
}

Reply use_reply(const UseOptions &options, const UseResult &result, const output::Style &style) {
    Reply reply{.json = use_json(result, options.selector, options.new_only),
                .text = {},
                .warnings = result.warnings};
    const char *who = options.new_only ? "new connections" : "connections";
    const std::string whose = options.selector
                                  ? fmt::format("{} with {}", who, text::printable(*options.selector))
                                  : fmt::format("{}{}", options.new_only ? "" : "all ", who);
    reply.text = fmt::format(
        "{} now use {}{}\n", whose, style(output::Paint::bold, text::printable(result.policy)),
        result.previous.empty() ? "" : fmt::format(" (before: {})", text::printable(result.previous)));
    if (result.rx_policy != result.policy)
        reply.text += fmt::format("  what their peers send: {}\n", result.rx_policy.empty()
                                                                       ? "as other rules or the default say"
                                                                       : text::printable(result.rx_policy));
    if (!result.params.empty())
        reply.text += param_lines(result.params, style, 2);
    if (!result.engine.empty())
        reply.text += "engine, for all connections:\n" + param_lines(result.engine, style, 2);
    reply.text += also_text(result.also);
    return reply;
}

Result<Reply> run_use(const Context &context, const UseOptions &options) {
    auto settings = parse_settings(options.settings);
    MPS_TRY(settings);
    const auto position = parse_position(options.position);
    MPS_TRY(position);
    auto instance = context.open();
    MPS_TRY(instance);
    const auto result = [&] {
        const output::Progress progress(context.globals.json,
                                        fmt::format("the kernel verifies the policy '{}'", options.policy));
        return instance->use({.policy = options.policy,
                              .params = std::move(*settings),
                              .selector = options.selector,
                              .new_only = options.new_only,
                              .before = options.before,
                              .position = *position,
                              .direction = direction_of(options.direction)});
    }();
    MPS_TRY(result);
    Reply reply = use_reply(options, *result, context.style);
    // Possible after `path`, which needs no attached interface; easily taken for working.
    if (const auto status = instance->status(); status && status->interfaces.empty())
        reply.warnings.emplace_back(
            "no interface is attached, so nothing is steered: 'mpsched attach IFACE…'");
    return reply;
}

struct UnuseOptions {
    std::optional<std::string> selector;
    bool all = false;
    bool persist = false;
};

Result<Reply> unuse_all(Instance &instance) {
    const auto removed = instance.remove_all_rules();
    MPS_TRY(removed);
    return Reply{.json = {{"removed", *removed}},
                 .text = removed->empty()
                             ? "there were no rules\n"
                             : fmt::format("removed {}: {}\n", text::count(removed->size(), "rule"),
                                           text::printable(text::join(*removed, "  ")))};
}

Result<Reply> run_unuse(const Context &context, const UnuseOptions &options) {
    if (options.all && options.selector)
        return usage_error("'unuse' takes a selector or --all, not both", "leave one of them out");
    if (!options.all && !options.selector)
        return usage_error("'unuse' needs SELECTOR or --all", "'mpsched status' shows the rules");
    auto instance = context.open();
    MPS_TRY(instance);
    if (options.all)
        return unuse_all(*instance);
    const std::string &selector = *options.selector;
    const auto removed = instance->remove_rule(selector);
    MPS_TRY(removed);
    if (!*removed) {
        std::vector<std::string> rules;
        if (const auto status = instance->status())
            for (const RuleStatus &rule : status->rules)
                rules.push_back(rule.selector);
        return usage_error(fmt::format("there is no rule for {}", text::quoted(selector)),
                           rules.empty() ? "there are no rules"
                                         : "rules are for: " + text::join(rules, "  "));
    }
    return Reply{.json = {{"removed", {selector}}},
                 .text = fmt::format("removed the rule for {}\n", text::printable(selector))};
}

} // namespace

void setup_use(Binder &binder) {
    auto options = std::make_shared<UseOptions>();
    binder.argument("POLICY", options->policy);
    binder.option("--set", options->settings);
    binder.option("--for", options->selector);
    binder.option("--before", options->before);
    binder.option("--position", options->position);
    binder.option("--direction", options->direction);
    binder.flag("--new-only", options->new_only);
    binder.flag("--persist", options->persist);
    binder.run([options](const Context &context) {
        const Kept kept{.what = Kept::What::use,
                        .policy = options->policy,
                        .settings = options->settings,
                        .selector = options->selector,
                        .direction = direction_of(options->direction)};
        return lasting(context, options->persist, kept, [&] { return run_use(context, *options); });
    });
}

void setup_unuse(Binder &binder) {
    auto options = std::make_shared<UnuseOptions>();
    binder.argument("SELECTOR", options->selector);
    binder.flag("--all", options->all);
    binder.flag("--persist", options->persist);
    binder.run([options](const Context &context) {
        const Kept kept{.what = Kept::What::unuse, .selector = options->selector};
        return lasting(context, options->persist, kept, [&] { return run_unuse(context, *options); });
    });
}

} // namespace mps::cli
