// SPDX-License-Identifier: MIT

#include <memory>
#include <optional>

#include <fmt/format.h>

#include <mpsched/policy_names.hpp>

#include "base/try.hpp"
#include "commands/commands.hpp"
#include "commands/render.hpp"
#include "output/progress.hpp"
#include "output/text.hpp"

namespace mps::cli {

namespace {

using output::Paint;

std::string slot_text(const PolicyInfo &policy) { return policy.slot ? fmt::to_string(*policy.slot) : "-"; }

// What is built in can be told to everybody, what is loaded cannot.
std::vector<std::string> unseen_warning(const std::optional<Error> &unseen) {
    if (!unseen)
        return {};
    return {fmt::format("which of them are loaded, and what else is, could not be told: {}; {}", unseen->what,
                        unseen->hint)};
}

// ------------------------------------------------------------------------------------------------------------- list

// What presets stand for.
std::string preset_table(const output::Style &style) {
    output::Table table({{"preset"}, {"stands for"}, {"what it is for"}});
    for (const Preset &preset : presets) {
        std::string what(preset.policy);
        for (const Preset::Value &one : preset.params)
            if (!one.key.empty())
                what += fmt::format(" {}={}", one.key, one.value);
        table.add({std::string(preset.name), what, std::string(preset.doc)});
    }
    return table.render(style);
}

struct ListOptions {
    bool names = false;
};

Result<Reply> run_list(const Context &context, const ListOptions &options) {
    const auto instance = context.open();
    MPS_TRY(instance);
    std::optional<Error> unseen;
    const auto policies = instance->policies(&unseen);
    MPS_TRY(policies);

    Reply reply{.json = Json::array(), .text = {}, .warnings = unseen_warning(unseen)};
    output::Table table({{"policy"},
                         {"slot", output::Align::right, true},
                         {"used as", output::Align::left, true},
                         {"what it does"}});
    std::vector<std::string> names;
    for (const PolicyInfo &policy : *policies) {
        if (policy.unsupported.empty() && (names.empty() || names.back() != policy.name)) {
            names.push_back(policy.name);
            names.insert(names.end(), policy.aliases.begin(), policy.aliases.end());
        }
        reply.json.push_back(policy_json(policy));
        table.add({{policy.name, policy.unsupported.empty() ? (policy.is_default ? Paint::bold : Paint::none)
                                                            : Paint::dim},
                   slot_text(policy),
                   policy.unsupported.empty() ? policy_use(policy) : "not here",
                   policy.aliases.empty()
                       ? policy.doc
                       : fmt::format("{}; also called {}", policy.doc, text::join(policy.aliases))});
    }
    if (options.names) {
        reply.json = names;
        for (const std::string &name : names)
            reply.text += text::printable(name) + "\n";
    } else {
        reply.text = table.render(context.style) + "\n" + preset_table(context.style);
    }
    return reply;
}

// ------------------------------------------------------------------------------------------------------------- show

struct ShowOptions {
    std::string policy;
    bool names = false;
};

std::string source_text(const PolicyInfo &policy) {
    if (policy.builtin || policy.file.empty())
        return policy.builtin ? "built in\n" : "";
    std::string all = "file     " + text::printable(policy.file);
    if (!policy.file_now.empty())
        all += fmt::format("  ({})",
                           policy.file_now == "gone" ? "gone since" : "changed since: this is how it was");
    return all + "\nsha256   " + policy.sha256 + "\n";
}

std::string describe(const PolicyInfo &policy, const output::Style &style) {
    std::string all =
        style(Paint::bold, text::printable(policy.name)) + "  " + text::printable(policy.doc) + "\n";
    if (!policy.aliases.empty())
        all += "also called " + text::printable(text::join(policy.aliases)) + "\n";
    if (!policy.unsupported.empty())
        return all + "not supported here: " + text::printable(policy.unsupported) + "\n";
    if (policy.slot) {
        const std::string uses = policy_use(policy);
        all += fmt::format("loaded in slot {}{}\n", *policy.slot, uses.empty() ? ", not used" : ": " + uses);
    } else {
        all += "not loaded; values are the defaults\n";
    }
    all += source_text(policy);
    if (policy.params.empty())
        all += "no parameters\n";
    else
        all += "\n" + param_table(policy.params, style, 2);
    return all;
}

Result<Reply> run_show(const Context &context, const ShowOptions &options) {
    const auto instance = context.open();
    MPS_TRY(instance);
    std::optional<Error> unseen;
    const auto policies = instance->policy(options.policy, &unseen);
    MPS_TRY(policies);

    Reply reply{.json = Json::array(), .text = {}, .warnings = unseen_warning(unseen)};
    if (options.names) {
        if (!policies->empty()) {
            for (const Param &param : policies->front().params) {
                reply.json.push_back(param.name);
                reply.text += text::printable(param.name) + "\n";
            }
        }
        return reply;
    }
    for (const PolicyInfo &policy : *policies) {
        Json one = policy_json(policy);
        one["parameters"] = param_descriptions(policy.params);
        reply.json.push_back(std::move(one));
        reply.text += (reply.text.empty() ? "" : "\n") + describe(policy, context.style);
    }
    return reply;
}

// ----------------------------------------------------------------------------------------------------- load, unload

struct LoadOptions {
    std::string file;
    bool replace = false;
};

Result<Reply> run_load(const Context &context, const LoadOptions &options) {
    auto instance = context.open();
    MPS_TRY(instance);
    const auto result = [&] {
        const output::Progress progress(context.globals.json,
                                        fmt::format("the kernel verifies the policy '{}'", options.file));
        return instance->load_policy(options.file, options.replace);
    }();
    MPS_TRY(result);
    const PolicyInfo &policy = result->policy;
    Reply reply{.json = policy_json(policy), .text = {}, .warnings = result->warnings};
    reply.json["was_loaded"] = result->was_loaded;
    reply.json["also"] = result->also;
    const std::string name = context.style(Paint::bold, text::printable(policy.name));
    if (result->was_loaded)
        reply.text = fmt::format("{} was loaded already, from the same object, and stays in slot {}\n", name,
                                 slot_text(policy));
    else
        reply.text = fmt::format("loaded {} into slot {}{}\n", name, slot_text(policy),
                                 result->also.empty() ? fmt::format("; 'mpsched use {}' switches to it",
                                                                    text::printable(policy.name))
                                                      : "");
    if (!result->also.empty())
        reply.text +=
            fmt::format("{} {} it in place of the old one\n", text::printable(text::join(result->also)),
                        result->also.size() == 1 ? "follows" : "follow");
    return reply;
}

struct UnloadOptions {
    std::string name;
};

Result<Reply> run_unload(const Context &context, const UnloadOptions &options) {
    auto instance = context.open();
    MPS_TRY(instance);
    MPS_TRY(instance->unload_policy(options.name));
    return Reply{.json = {{"unloaded", options.name}},
                 .text = fmt::format("unloaded {}\n", text::printable(options.name))};
}

} // namespace

void setup_policy_list(Binder &binder) {
    auto options = std::make_shared<ListOptions>();
    binder.flag("--names", options->names);
    binder.run([options](const Context &context) { return run_list(context, *options); });
}

void setup_policy_show(Binder &binder) {
    auto options = std::make_shared<ShowOptions>();
    binder.argument("POLICY", options->policy);
    binder.flag("--names", options->names);
    binder.run([options](const Context &context) { return run_show(context, *options); });
}

void setup_policy_load(Binder &binder) {
    auto options = std::make_shared<LoadOptions>();
    binder.argument("FILE", options->file);
    binder.flag("--replace", options->replace);
    binder.run([options](const Context &context) { return run_load(context, *options); });
}

void setup_policy_unload(Binder &binder) {
    auto options = std::make_shared<UnloadOptions>();
    binder.argument("NAME", options->name);
    binder.run([options](const Context &context) { return run_unload(context, *options); });
}

} // namespace mps::cli
