// SPDX-License-Identifier: MIT

#include <cstdlib>
#include <memory>

#include <fmt/format.h>

#include <mpsched/check.hpp>
#include <mpsched/policy_names.hpp>

#include "base/try.hpp"
#include "commands/commands.hpp"
#include "commands/follow.hpp"
#include "commands/persist.hpp"
#include "output/progress.hpp"
#include "output/text.hpp"

namespace mps::cli {

namespace {

struct AttachOptions {
    std::vector<std::string> interfaces;
    std::string mode;
    std::string role;
    std::string policy;
    std::string max_connections;
    bool force = false;
    bool follow = false;
    bool close_silent = false;
    std::string probe_idle;
    bool persist = false;
};

AttachRequest request_of(const AttachOptions &options, Mode mode, Role role) {
    AttachRequest request{
        .interfaces = options.interfaces, .mode = mode, .role = role, .force = options.force};
    request.absent_too = options.follow;
    request.policy = options.policy;
    request.max_connections = options.max_connections;
    if (request.policy.empty()) {
        const char *environment = std::getenv("MPS_POLICY");
        request.policy =
            environment && *environment ? std::string(environment) : std::string(recommended_policy);
        request.policy_only_if_first = true;
    }
    return request;
}

// What `--follow` starts from.
Result<Reply> run_follow(const Context &context, Instance &instance, Reply first,
                         const FollowOptions &follow_options) {
    const auto status = instance.status();
    MPS_TRY(status);
    first.json["event"] = "following";
    std::vector<std::string> names;
    for (const InterfaceStatus &one : status->interfaces)
        names.push_back(one.state == InterfaceState::absent ? one.name + " (absent)" : one.name);
    if (!names.empty())
        first.text += fmt::format("following {}; Ctrl-C ends that and leaves them as they are\n",
                                  text::printable(text::join(names)));
    return follow(context, instance, first, follow_options);
}

Result<Reply> run_attach(const Context &context, const AttachOptions &options) {
    if (options.close_silent && !options.follow)
        return usage_error("'--close-silent' needs '--follow'",
                           "somebody has to hear of silence while it lasts");
    if (!options.probe_idle.empty() && !options.follow)
        return usage_error("'--probe-idle' needs '--follow'", "somebody has to listen for the answers");
    const auto probe_idle_s =
        options.probe_idle.empty() ? Result<std::uint32_t>(0) : parse_probe_idle(options.probe_idle);
    MPS_TRY(probe_idle_s);
    const FollowOptions follow_options{.close_silent = options.close_silent, .probe_idle_s = *probe_idle_s};
    if (options.interfaces.empty() && !options.follow)
        return usage_error("'attach' needs IFACE", "usage: mpsched attach IFACE…");
    const auto mode = parse_mode(options.mode);
    MPS_TRY(mode);
    const auto role = parse_role(options.role);
    MPS_TRY(role);
    auto instance = context.open();
    MPS_TRY(instance);
    if (options.interfaces.empty())
        return run_follow(context, *instance, Reply{.json = Json::object(), .text = {}}, follow_options);
    auto request = request_of(options, *mode, *role);
    auto result = [&] {
        output::Progress progress(context.globals.json);
        request.progress = [&](const std::string &what) { progress.now(what); };
        return instance->attach(request);
    }();
    MPS_TRY(result);

    Reply reply{.json = attach_json(*result), .text = {}, .warnings = result->warnings};
    output::Table table({{""}, {""}, {""}, {""}});
    for (const AttachedInterface &one : result->interfaces) {
        table.add({one.changed ? "attached" : "was attached",
                   {one.name, output::Paint::bold},
                   to_string(one.mode),
                   {one.why, output::Paint::dim}});
    }
    for (const std::string &name : result->absent)
        table.add({"waits for",
                   {name, output::Paint::bold},
                   "",
                   {"there is no such interface", output::Paint::dim}});
    reply.text = table.render(context.style);
    if (!result->policy.empty())
        reply.text += fmt::format("all connections use {}\n", result->policy);
    return options.follow ? run_follow(context, *instance, std::move(reply), follow_options) : reply;
}

} // namespace

void setup_attach(Binder &binder) {
    auto options = std::make_shared<AttachOptions>();
    binder.argument("IFACE", options->interfaces);
    binder.option("--mode", options->mode);
    binder.option("--role", options->role);
    binder.option("--policy", options->policy);
    binder.option("--max-connections", options->max_connections);
    binder.flag("--force", options->force);
    binder.flag("--follow", options->follow);
    binder.flag("--close-silent", options->close_silent);
    binder.option("--probe-idle", options->probe_idle);
    binder.flag("--persist", options->persist);
    binder.run([options](const Context &context) {
        const Kept kept{.what = Kept::What::attach,
                        .names = options->interfaces,
                        .mode = options->mode,
                        .role = options->role,
                        .policy = options->policy};
        return lasting(context, options->persist, kept, [&] { return run_attach(context, *options); });
    });
}

} // namespace mps::cli
