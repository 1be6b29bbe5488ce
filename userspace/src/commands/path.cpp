// SPDX-License-Identifier: MIT

#include <memory>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "base/try.hpp"
#include "commands/commands.hpp"
#include "commands/links.hpp"
#include "commands/persist.hpp"
#include "commands/render.hpp"
#include "output/text.hpp"
#include "service/client.hpp"

namespace mps::cli {

namespace {

struct PathOptions {
    std::optional<std::string> interface;
    std::vector<std::string> settings;
    bool forget = false;
    bool persist = false;
};

// "10.0 MB", "5.0 GB in 30 d".
std::string quota_text(const PathAttributes &attributes) {
    if (!attributes.quota_bytes)
        return "";
    std::string all = text::bytes(*attributes.quota_bytes);
    if (attributes.quota_then_bit_s)
        all += fmt::format(", then {} kbit/s,", static_cast<double>(attributes.quota_then_bit_s) / 1000);
    const std::uint32_t seconds = attributes.quota_period_s;
    if (seconds == 0)
        return all;
    const auto [count, unit] = seconds % 86'400 == 0  ? std::pair(seconds / 86'400, "d")
                               : seconds % 3'600 == 0 ? std::pair(seconds / 3'600, "h")
                               : seconds % 60 == 0    ? std::pair(seconds / 60, "min")
                                                      : std::pair(seconds, "s");
    return fmt::format("{} in {} {}", all, count, unit);
}

std::string state_text(const PathStatus &path) {
    if (path.ifindex == 0)
        return "absent";
    return path.attached ? "" : "not attached";
}

std::string path_table(const std::vector<PathStatus> &paths, const LinkWords &links,
                       const output::Style &style) {
    using output::Align;
    output::Table table({{"interface"},
                         {"weight", Align::right},
                         {"priority", Align::right},
                         {"cost", Align::right},
                         {"energy"},
                         {"use"},
                         {"quota", Align::right, true},
                         {"used", Align::right, true},
                         {"link", Align::left, true},
                         {"", Align::left, true}});
    for (const PathStatus &path : paths)
        table.add({path.name,
                   fmt::to_string(path.attributes.weight),
                   fmt::to_string(path.attributes.priority),
                   fmt::to_string(path.attributes.cost),
                   path.attributes.energy,
                   path.attributes.use,
                   quota_text(path.attributes),
                   path.attributes.quota_bytes ? text::bytes(path.quota_used_bytes) : "",
                   links.text(path.ifindex),
                   {state_text(path), output::Paint::dim}});
    return table.render(style);
}

// With what mpschedd knows of them, where one runs.
LinkWords links_of(const Instance &instance, std::vector<std::string> &warnings) {
    const auto status = instance.status();
    const auto service =
        status ? service::ask(status->netns_cookie, {{"do", "status"}}) : Result<std::optional<Json>>();
    return LinkWords::look(instance, service && *service ? **service : Json(), warnings);
}

Json linked_json(const PathStatus &path, const LinkWords &links) {
    Json one = path_json(path);
    one["link"] = links.json(path.ifindex);
    return one;
}

Result<Reply> run_forget(const Context &context, const PathOptions &options) {
    if (!options.interface || !options.settings.empty())
        return usage_error("'path --forget' takes one IFACE and nothing else",
                           "usage: mpsched path IFACE --forget");
    auto instance = context.open();
    MPS_TRY(instance);
    const auto known = instance->forget_path(*options.interface);
    MPS_TRY(known);
    const std::string name = text::printable(*options.interface);
    PathStatus left{.name = *options.interface};
    if (auto now = instance->path(*options.interface))
        left = std::move(*now);
    Reply reply{.text = *known ? fmt::format("{} has default attributes again\n", name)
                               : fmt::format("nothing was known of {}\n", name)};
    reply.json = linked_json(left, links_of(*instance, reply.warnings));
    return reply;
}

Result<Reply> run_path(const Context &context, const PathOptions &options) {
    if (options.forget)
        return run_forget(context, options);
    const auto settings =
        parse_settings(options.settings, "'path' takes one interface at a time, and then settings "
                                         "like weight=3; 'mpsched help path' lists them");
    MPS_TRY(settings);
    // "path weight=3": the interface was forgotten.
    if (options.interface && options.interface->contains('='))
        return usage_error(
            fmt::format("'path' needs an interface before {}", text::quoted(*options.interface)),
            "usage: mpsched path IFACE key=value…");
    auto instance = context.open();
    MPS_TRY(instance);

    if (options.interface) {
        const auto path = instance->path(*options.interface, *settings);
        MPS_TRY(path);
        Reply reply;
        const LinkWords links = links_of(*instance, reply.warnings);
        reply.json = linked_json(*path, links);
        reply.text = path_table({*path}, links, context.style);
        if (path->ifindex == 0 && !settings->empty())
            reply.warnings.push_back(
                fmt::format("there is no interface {} now: it gets them when it comes", path->name));
        return reply;
    }
    const auto status = instance->status();
    MPS_TRY(status);
    Reply reply{.json = Json::array(), .text = {}};
    const LinkWords links = links_of(*instance, reply.warnings);
    for (const PathStatus &path : status->paths)
        reply.json.push_back(linked_json(path, links));
    reply.text = status->paths.empty()
                     ? "no interface has attributes yet; 'mpsched path IFACE key=value…' sets them\n"
                     : path_table(status->paths, links, context.style);
    return reply;
}

} // namespace

void setup_path(Binder &binder) {
    auto options = std::make_shared<PathOptions>();
    binder.argument("IFACE", options->interface);
    binder.argument("key=value", options->settings);
    binder.flag("--forget", options->forget);
    binder.flag("--persist", options->persist);
    binder.run([options](const Context &context) {
        if (!options->interface || (options->settings.empty() && !options->forget))
            return options->persist ? Result<Reply>(usage_error("'path --persist' has nothing to keep",
                                                                "give settings, or --forget"))
                                    : run_path(context, *options);
        const Kept kept{.what = options->forget ? Kept::What::forget : Kept::What::path,
                        .names = {*options->interface},
                        .settings = options->settings};
        return lasting(context, options->persist, kept, [&] { return run_path(context, *options); });
    });
}

} // namespace mps::cli
