// SPDX-License-Identifier: MIT

#include <algorithm>
#include <memory>
#include <optional>

#include <fmt/format.h>

#include "base/numbers.hpp"
#include "base/try.hpp"
#include "commands/commands.hpp"
#include "commands/persist.hpp"
#include "commands/render.hpp"
#include "output/text.hpp"

namespace mps::cli {

namespace {

struct SetOptions {
    std::vector<std::string> settings;
    std::string policy;
    std::optional<std::string> selector;
    std::optional<std::string> slot;
    bool persist = false;
};

Result<SetTarget> target_of(const SetOptions &options) {
    SetTarget target{.policy = options.policy, .selector = options.selector};
    if (options.slot) {
        const auto number = parse_number<std::uint32_t>(*options.slot);
        if (!number)
            return usage_error(fmt::format("option '--slot' cannot be {}", text::quoted(*options.slot)),
                               "a number, as 'mpsched status' shows it");
        target.slot = *number;
    }
    return target;
}

Result<Reply> run_set(const Context &context, const SetOptions &options) {
    const auto settings = parse_settings(
        options.settings, "settings are written key=value; --policy, --for or --slot tells whose they are");
    MPS_TRY(settings);
    const auto target = target_of(options);
    MPS_TRY(target);
    auto instance = context.open();
    MPS_TRY(instance);
    const auto result = instance->set(*settings, *target);
    MPS_TRY(result);

    Reply reply{.json = set_json(*result, *settings), .text = {}};
    std::vector<Param> changed;
    for (const Param &param : result->params) {
        if (std::ranges::find(*settings, param.name, &Setting::key) == settings->end())
            continue;
        changed.push_back(param);
    }
    reply.text = param_lines(changed, context.style, 0);
    if (!result->also.empty())
        reply.warnings.push_back(fmt::format("this holds for {} as well, which shares slot {}",
                                             text::join(result->also, ", "), result->slot));
    return reply;
}

} // namespace

void setup_set(Binder &binder) {
    auto options = std::make_shared<SetOptions>();
    binder.argument("key=value", options->settings);
    binder.option("--policy", options->policy);
    binder.option("--for", options->selector);
    binder.option("--slot", options->slot);
    binder.flag("--persist", options->persist);
    binder.run([options](const Context &context) {
        if (options->persist && (options->slot || !options->policy.empty()))
            return Result<Reply>(usage_error("--persist keeps parameters of the default policy or of a rule",
                                             "name the rule with --for, or nothing"));
        const Kept kept{
            .what = Kept::What::set, .settings = options->settings, .selector = options->selector};
        return lasting(context, options->persist, kept, [&] { return run_set(context, *options); });
    });
}

} // namespace mps::cli
