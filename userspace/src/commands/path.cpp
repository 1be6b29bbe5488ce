// SPDX-License-Identifier: MIT

#include <memory>
#include <optional>

#include <fmt/format.h>

#include "commands/commands.hpp"
#include "commands/render.hpp"
#include "output/text.hpp"

namespace mps::cli {

namespace {

struct PathOptions {
    std::optional<std::string> interface;
    std::vector<std::string> settings;
};

std::string path_table(const std::vector<PathStatus> &paths, const output::Style &style) {
    using output::Align;
    output::Table table({{"interface"},
                         {"weight", Align::right},
                         {"priority", Align::right},
                         {"cost", Align::right},
                         {"energy"},
                         {"", Align::left, true}});
    for (const PathStatus &path : paths)
        table.add({path.name.empty() ? fmt::format("#{} (gone)", path.ifindex) : path.name,
                   fmt::to_string(path.attributes.weight),
                   fmt::to_string(path.attributes.priority),
                   fmt::to_string(path.attributes.cost),
                   path.attributes.energy,
                   {path.attached ? "" : "not attached", output::Paint::dim}});
    return table.render(style);
}

Result<Reply> run_path(const Context &context, const PathOptions &options) {
    const auto settings = parse_settings(options.settings);
    if (!settings)
        return std::unexpected(settings.error());
    // "path weight=3": the interface was forgotten.
    if (options.interface && options.interface->contains('='))
        return usage_error(
            fmt::format("'path' needs an interface before {}", text::quoted(*options.interface)),
            "usage: mpsched path IFACE key=value…");
    auto instance = context.open();
    if (!instance)
        return std::unexpected(instance.error());

    if (options.interface) {
        const auto path = instance->path(*options.interface, *settings);
        if (!path)
            return std::unexpected(path.error());
        return Reply{.json = path_json(*path), .text = path_table({*path}, context.style)};
    }
    const auto status = instance->status();
    if (!status)
        return std::unexpected(status.error());
    Reply reply{.json = Json::array(), .text = {}};
    for (const PathStatus &path : status->paths)
        reply.json.push_back(path_json(path));
    reply.text = status->paths.empty()
                     ? "no interface has attributes yet; 'mpsched path IFACE key=value…' sets them\n"
                     : path_table(status->paths, context.style);
    return reply;
}

} // namespace

void setup_path(Binder &binder) {
    auto options = std::make_shared<PathOptions>();
    binder.argument("IFACE", options->interface);
    binder.argument("key=value", options->settings);
    binder.run([options](const Context &context) { return run_path(context, *options); });
}

} // namespace mps::cli
