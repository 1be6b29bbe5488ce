// SPDX-License-Identifier: MIT

#include <algorithm>
#include <memory>

#include <fmt/format.h>

#include "commands/commands.hpp"
#include "commands/render.hpp"

namespace mps::cli {

namespace {

struct SetOptions {
    std::vector<std::string> settings;
    std::string policy;
};

Result<Reply> run_set(const Context &context, const SetOptions &options) {
    const auto settings = parse_settings(options.settings);
    if (!settings)
        return std::unexpected(settings.error());
    auto instance = context.open();
    if (!instance)
        return std::unexpected(instance.error());
    const auto params = instance->set(*settings, options.policy);
    if (!params)
        return std::unexpected(params.error());

    Reply reply{.json = {{"changed", Json::object()}, {"params", param_values(*params)}}, .text = {}};
    std::vector<Param> changed;
    for (const Param &param : *params) {
        if (std::ranges::find(*settings, param.name, &Setting::key) == settings->end())
            continue;
        reply.json["changed"][param.name] = param.value;
        changed.push_back(param);
    }
    reply.text = param_lines(changed, context.style, 0);
    return reply;
}

} // namespace

void setup_set(Binder &binder) {
    auto options = std::make_shared<SetOptions>();
    binder.argument("key=value", options->settings);
    binder.option("--policy", options->policy);
    binder.run([options](const Context &context) { return run_set(context, *options); });
}

} // namespace mps::cli
