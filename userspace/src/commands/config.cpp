// SPDX-License-Identifier: MIT
//
// `mpsched config …` and `mpsched reload`: mpsched.toml beside what runs.

#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <optional>

#include <fmt/format.h>

#include <mpsched/policy_names.hpp>

#include "base/child.hpp"
#include "base/try.hpp"
#include "commands/commands.hpp"
#include "commands/links.hpp"
#include "commands/render.hpp"
#include "config/plan.hpp"
#include "output/text.hpp"
#include "service/client.hpp"

namespace mps::cli {

namespace {

struct ConfigOptions {
    std::optional<std::string> file;

    [[nodiscard]] std::string path() const { return file.value_or(config::default_path()); }
};

using FileCommand = Result<Reply> (*)(const Context &, const ConfigOptions &);

void bind_file(Binder &binder, FileCommand run) {
    auto options = std::make_shared<ConfigOptions>();
    binder.argument("FILE", options->file);
    binder.run([options, run](const Context &context) { return run(context, *options); });
}

Result<Reply> run_check(const Context &, const ConfigOptions &options) {
    const auto desired = config::load(options.path());
    MPS_TRY(desired);
    return Reply{.json = {{"revision", desired->revision},
                          {"files", desired->files()},
                          {"interfaces", desired->interfaces.size()},
                          {"rules", desired->rules.size()}},
                 .text =
                     fmt::format("{} {} right: revision {}\n", text::printable(text::join(desired->files())),
                                 desired->files().size() == 1 ? "is" : "are", desired->revision)};
}

std::string waiting_text(const std::vector<config::Waiting> &waiting) {
    std::string all;
    for (const config::Waiting &one : waiting)
        all += fmt::format("  waits: {} ({})\n", text::printable(one.object), text::printable(one.why));
    return all;
}

Json waiting_json(const std::vector<config::Waiting> &waiting) {
    Json all = Json::array();
    for (const config::Waiting &one : waiting)
        all.push_back({{"object", one.object}, {"why", one.why}});
    return all;
}

// What the files ask for, and where it is to be.
struct Asked {
    config::Desired desired;
    Instance instance;
};

Result<Asked> read_and_open(const Context &context, const ConfigOptions &options) {
    auto desired = config::load(options.path());
    MPS_TRY(desired);
    auto instance = context.open();
    MPS_TRY(instance);
    // Who asks NetworkManager is the service; without it nothing is known to be metered.
    if (desired->asks_for_metered())
        if (const auto status = instance->status())
            if (const auto service = service::ask(status->netns_cookie, {{"do", "status"}});
                service && *service)
                desired->metered = metered_names(**service);
    return Asked{std::move(*desired), std::move(*instance)};
}

Result<Reply> run_diff(const Context &context, const ConfigOptions &options) {
    auto asked = read_and_open(context, options);
    MPS_TRY(asked);
    auto &[desired, instance] = *asked;
    const auto facts = config::look(instance, desired);
    MPS_TRY(facts);
    const config::Plan plan = config::make_plan(desired, *facts);
    Json changes = Json::array();
    std::string lines;
    for (const config::Action &action : plan.actions) {
        changes.push_back({{"object", action.object}, {"change", action.text}});
        lines += fmt::format("  {}\n", text::printable(action.text));
    }
    const std::string head = desired.empty   ? "the files ask for nothing, so nothing is managed\n"
                             : lines.empty() ? "what runs is what the files say\n"
                                             : "'mpsched config apply' would change:\n";
    return Reply{.json = {{"revision", desired.revision},
                          {"same", plan.actions.empty()},
                          {"changes", changes},
                          {"waiting", waiting_json(plan.waiting)}},
                 .text = head + lines + waiting_text(plan.waiting)};
}

// What was done, and what was not.
Reply applied(const config::Desired &desired, const std::vector<config::Outcome> &outcomes,
              const std::vector<config::Waiting> &waiting) {
    Reply reply{.json = {{"revision", desired.revision}, {"changes", Json::array()}}, .text = {}};
    for (const config::Outcome &one : outcomes) {
        Json change{{"object", one.action.object}, {"change", one.action.text}};
        if (one.error) {
            reply.exit_code = static_cast<int>(ErrorCode::failed);
            change["error"] = error_json(*one.error);
            reply.warnings.push_back(fmt::format("{}: {}", one.action.object, one.error->what));
        }
        reply.text += fmt::format("  {}{}\n", one.error ? "failed: " : "", text::printable(one.action.text));
        reply.json["changes"].push_back(std::move(change));
        for (const std::string &warning : one.warnings)
            reply.warnings.push_back(fmt::format("{}: {}", one.action.object, warning));
    }
    reply.json["waiting"] = waiting_json(waiting);
    reply.text = (outcomes.empty() ? std::string("nothing to change\n") : "changed:\n" + reply.text) +
                 waiting_text(waiting);
    return reply;
}

Result<Reply> run_apply(const Context &context, const ConfigOptions &options) {
    auto asked = read_and_open(context, options);
    MPS_TRY(asked);
    auto &[desired, instance] = *asked;
    const auto done = config::reconcile(instance, desired);
    MPS_TRY(done);
    Reply reply = applied(desired, done->outcomes, config::make_plan(desired, done->facts).waiting);
    // Its own files: from now on they are in force there as well.
    if (!options.file)
        if (const auto status = instance.status())
            (void)service::ask(status->netns_cookie, {{"do", "adopt"}});
    return reply;
}

Result<Reply> run_export(const Context &context) {
    const auto instance = context.open();
    MPS_TRY(instance);
    const auto status = instance->status();
    MPS_TRY(status);
    const auto option_rules = instance->option_rules();
    MPS_TRY(option_rules);
    std::vector<OptionRule> list;
    for (const OptionRuleStatus &one : *option_rules)
        list.push_back(one.rule);
    const auto applications = application_grants(*instance);
    MPS_TRY(applications);
    const auto congestion = congestion_rules(*instance);
    MPS_TRY(congestion);
    const auto spread = spread_status(*instance, false);
    MPS_TRY(spread);
    const std::string toml =
        config::write(config::exported(*status, list, *applications, *congestion, *spread));
    return Reply{.json = {{"toml", toml}}, .text = toml};
}

// Of the file only what it says of options; all of it has to be right, though.
Result<Reply> run_rule_apply(const Context &context, const ConfigOptions &options) {
    auto asked = read_and_open(context, options);
    MPS_TRY(asked);
    auto &[desired, instance] = *asked;
    const auto result = instance.set_option_rules(desired.option_rule_list());
    MPS_TRY(result);
    return option_rules_changed(*result);
}

std::string editor() {
    for (const char *name : {"VISUAL", "EDITOR"})
        if (const char *value = std::getenv(name); value && *value)
            return value;
    return "editor";
}

// As the shell would run it, since $EDITOR may hold options.
Result<void> run_editor(const std::string &file) {
    const std::string command = editor();
    auto child = Child::start({.words = {"/bin/sh", "-c", command + " \"$1\"", "sh", file}});
    if (!child)
        return std::unexpected(system_error(child.error().err, "starting the editor"));
    if (child->wait().exit_code != 0)
        return fail(ErrorCode::failed,
                    fmt::format("the editor '{}' did not succeed; nothing was changed", command),
                    "$VISUAL or $EDITOR names another one");
    return {};
}

Result<Reply> run_edit(const Context &context, const ConfigOptions &options) {
    const std::string path = options.path();
    const bool exists = ::access(path.c_str(), F_OK) == 0;
    auto before = exists ? config::read_whole(path) : Result<std::string>(std::string(config::example()));
    MPS_TRY(before);
    // Beside it, so that what it names by a relative path is found; not ending in .toml, so that nobody reads it.
    const std::string draft = path + ".edit";
    if (::access(draft.c_str(), F_OK) != 0)
        if (auto made = config::replace_file(draft, *before); !made)
            return std::unexpected(made.error());
    MPS_TRY(run_editor(draft));
    auto after = config::read_whole(draft);
    MPS_TRY(after);
    Reply reply{.json = {{"file", path}, {"changed", false}}, .text = "nothing was changed\n"};
    if (!exists || *after != *before) {
        std::vector<config::Problem> problems;
        const config::File file = config::parse(draft, *after, problems);
        if (problems.empty())
            (void)config::build({file}, problems);
        if (!problems.empty()) {
            Error error = config::error_of(problems);
            error.hint += fmt::format("; {} is kept: 'mpsched config edit' goes on with it", draft);
            return std::unexpected(std::move(error));
        }
        MPS_TRY(config::replace_file(path, *after));
        reply = {.json = {{"file", path}, {"changed", true}},
                 .text = fmt::format(
                     "{} is changed; 'mpsched reload' or 'mpsched config apply' puts it into force\n",
                     text::printable(path))};
    }
    ::unlink(draft.c_str());
    (void)context;
    return reply;
}

Result<Reply> run_reload(const Context &context) {
    const auto instance = context.open();
    MPS_TRY(instance);
    const auto status = instance->status();
    MPS_TRY(status);
    const auto answer =
        service::demand(status->netns_cookie, "reload", "'mpsched config apply' does the same once");
    MPS_TRY(answer);
    Reply reply{.json = *answer, .text = service_text(*answer, context.style)};
    for (const Json &object : answer->value("objects", Json::array()))
        if (object.value("state", "") == "failed")
            reply.exit_code = static_cast<int>(ErrorCode::failed);
    return reply;
}

} // namespace

void setup_rule_apply(Binder &binder) { bind_file(binder, run_rule_apply); }
void setup_config_check(Binder &binder) { bind_file(binder, run_check); }
void setup_config_diff(Binder &binder) { bind_file(binder, run_diff); }
void setup_config_apply(Binder &binder) { bind_file(binder, run_apply); }
void setup_config_edit(Binder &binder) { bind_file(binder, run_edit); }
void setup_config_export(Binder &binder) { binder.run(run_export); }
void setup_reload(Binder &binder) { binder.run(run_reload); }

} // namespace mps::cli
