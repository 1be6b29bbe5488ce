// SPDX-License-Identifier: MIT

#include <memory>

#include <fmt/format.h>

#include "commands/commands.hpp"

namespace mps::cli {

namespace {

struct AttachOptions {
    std::vector<std::string> interfaces;
    std::string mode;
    bool force = false;
};

Result<Reply> run_attach(const Context &context, const AttachOptions &options) {
    const auto mode = parse_mode(options.mode);
    if (!mode)
        return std::unexpected(mode.error());
    auto instance = context.open();
    if (!instance)
        return std::unexpected(instance.error());
    auto result = instance->attach({.interfaces = options.interfaces, .mode = *mode, .force = options.force});
    if (!result)
        return std::unexpected(result.error());

    Reply reply{.json = {{"interfaces", Json::array()}}, .text = {}, .warnings = result->warnings};
    output::Table table({{""}, {""}, {""}, {""}});
    for (const AttachedInterface &one : result->interfaces) {
        reply.json["interfaces"].push_back({{"name", one.name},
                                            {"ifindex", one.ifindex},
                                            {"mode", to_string(one.mode)},
                                            {"why", one.why},
                                            {"changed", one.changed}});
        table.add({one.changed ? "attached" : "was attached",
                   {one.name, output::Paint::bold},
                   to_string(one.mode),
                   {one.why, output::Paint::dim}});
    }
    reply.text = table.render(context.style);
    return reply;
}

} // namespace

void setup_attach(Binder &binder) {
    auto options = std::make_shared<AttachOptions>();
    binder.argument("IFACE", options->interfaces);
    binder.option("--mode", options->mode);
    binder.flag("--force", options->force);
    binder.run([options](const Context &context) { return run_attach(context, *options); });
}

} // namespace mps::cli
