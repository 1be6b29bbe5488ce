// SPDX-License-Identifier: MIT

#include <memory>
#include <optional>

#include <fmt/format.h>

#include "commands/commands.hpp"
#include "commands/render.hpp"
#include "output/text.hpp"

namespace mps::cli {

namespace {

struct UseOptions {
    std::string policy;
    std::vector<std::string> settings;
    std::optional<std::string> selector;
    bool new_only = false;
};

Result<Reply> run_use(const Context &context, const UseOptions &options) {
    auto settings = parse_settings(options.settings);
    if (!settings)
        return std::unexpected(settings.error());
    auto instance = context.open();
    if (!instance)
        return std::unexpected(instance.error());
    const auto result = instance->use({.policy = options.policy,
                                       .params = std::move(*settings),
                                       .selector = options.selector,
                                       .new_only = options.new_only});
    if (!result)
        return std::unexpected(result.error());

    Reply reply{.json = {{"policy", result->policy},
                         {"slot", result->slot},
                         {"previous", result->previous.empty() ? Json(nullptr) : Json(result->previous)},
                         {"for", options.selector ? Json(*options.selector) : Json(nullptr)},
                         {"new_only", options.new_only},
                         {"params", param_values(result->params)}},
                .text = {},
                .warnings = result->warnings};
    // Possible after `path`, which needs no attached interface; easily taken for working.
    if (const auto status = instance->status(); status && status->interfaces.empty())
        reply.warnings.emplace_back(
            "no interface is attached, so nothing is steered: 'mpsched attach IFACE…'");
    const char *who = options.new_only ? "new connections" : "connections";
    const std::string whose = options.selector
                                  ? fmt::format("{} with {}", who, text::printable(*options.selector))
                                  : fmt::format("{}{}", options.new_only ? "" : "all ", who);
    reply.text = fmt::format(
        "{} now use {}{}\n", whose, context.style(output::Paint::bold, text::printable(result->policy)),
        result->previous.empty() ? "" : fmt::format(" (before: {})", text::printable(result->previous)));
    if (!result->params.empty())
        reply.text += param_lines(result->params, context.style, 2);
    return reply;
}

struct UnuseOptions {
    std::string selector;
};

Result<Reply> run_unuse(const Context &context, const UnuseOptions &options) {
    auto instance = context.open();
    if (!instance)
        return std::unexpected(instance.error());
    const auto removed = instance->remove_rule(options.selector);
    if (!removed)
        return std::unexpected(removed.error());
    if (!*removed) {
        std::vector<std::string> rules;
        if (const auto status = instance->status())
            for (const RuleStatus &rule : status->rules)
                rules.push_back(rule.selector);
        return usage_error(fmt::format("there is no rule for {}", text::quoted(options.selector)),
                           rules.empty() ? "there are no rules"
                                         : "rules are for: " + text::join(rules, "  "));
    }
    return Reply{.json = {{"removed", options.selector}},
                 .text = fmt::format("removed the rule for {}\n", text::printable(options.selector))};
}

} // namespace

void setup_use(Binder &binder) {
    auto options = std::make_shared<UseOptions>();
    binder.argument("POLICY", options->policy);
    binder.option("--set", options->settings);
    binder.option("--for", options->selector);
    binder.flag("--new-only", options->new_only);
    binder.run([options](const Context &context) { return run_use(context, *options); });
}

void setup_unuse(Binder &binder) {
    auto options = std::make_shared<UnuseOptions>();
    binder.argument("SELECTOR", options->selector);
    binder.run([options](const Context &context) { return run_unuse(context, *options); });
}

} // namespace mps::cli
