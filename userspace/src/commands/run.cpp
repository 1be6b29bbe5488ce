// SPDX-License-Identifier: MIT
//
// run: starts a command whose TCP sockets are MPTCP's. This process becomes the command, so that process number, exit status, signals and terminal
// are the command's own; what it needs beside itself is a process of its own (run/supervisor.hpp).
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <system_error>

#include <fmt/format.h>
#include <unistd.h>

#include "base/try.hpp"
#include "cli/signals.hpp"
#include "commands/commands.hpp"
#include "commands/render.hpp"
#include "output/text.hpp"
#include "run/cgroup.hpp"
#include "run/filter.hpp"
#include "run/supervisor.hpp"
#include "run/unit.hpp"

namespace mps::cli {

namespace {

struct RunOptions {
    std::vector<std::string> command;
    std::optional<std::string> policy;
    std::vector<std::string> settings;
    std::optional<std::string> unit;
    bool undo = false;
    bool quiet = false;
};

// As env(1) and the shell tell it.
constexpr int not_found = 127, not_executable = 126;

Result<Reply> become(const std::vector<std::string> &words) {
    std::vector<char *> argv;
    for (const std::string &word : words)
        argv.push_back(const_cast<char *>(word.c_str()));
    argv.push_back(nullptr);
    restore_broken_pipes();
    ::execvp(argv[0], argv.data());
    const int error = errno;
    ignore_broken_pipes();
    return Reply{.warnings = {fmt::format("cannot start {}: {}", text::quoted(words.front()),
                                          std::generic_category().message(error))},
                 .exit_code = error == ENOENT ? not_found : not_executable,
                 .streamed = true};
}

// The policy of one command: a rule for the cgroup that it runs in.
struct Rule {
    run::CommandCgroup cgroup;
    std::string selector;
};

void remove(const Rule &rule) {
    // First the rule: a selector names a cgroup that is there.
    auto instance = Instance::open({});
    const auto removed = instance ? instance->remove_rule(rule.selector) : std::unexpected(instance.error());
    if (!removed)
        fmt::print(stderr, "mpsched run: the rule {} is still there: {}\n", rule.selector,
                   removed.error().what);
    rule.cgroup.leave_and_remove();
}

Result<void> add(const Context &context, const RunOptions &options, const Rule &rule) {
    auto settings = parse_settings(options.settings);
    MPS_TRY(settings);
    auto instance = context.open();
    MPS_TRY(instance);
    const auto status = instance->status();
    MPS_TRY(status);
    if (status->interfaces.empty())
        return fail(ErrorCode::failed, "no interface is attached, so no policy steers the command",
                    "mpsched attach IFACE…");
    const auto used =
        instance->use({.policy = *options.policy, .params = std::move(*settings), .selector = rule.selector});
    MPS_TRY(used);
    return {};
}

Result<std::optional<Rule>> choose_policy(const Context &context, const RunOptions &options) {
    if (!options.policy) {
        if (!options.settings.empty())
            return usage_error("'--set' is for a policy", "name it with --policy");
        return std::nullopt;
    }
    auto cgroup = run::CommandCgroup::enter_new();
    MPS_TRY(cgroup);
    Rule rule{.cgroup = std::move(*cgroup), .selector = {}};
    rule.selector = "cgroup=" + rule.cgroup.path();
    if (const auto added = add(context, options, rule); !added) {
        rule.cgroup.leave_and_remove();
        return std::unexpected(added.error());
    }
    return rule;
}

Result<void> prepare(const Context &context, const RunOptions &options) {
    // A rule that nobody is there to remove must not be left behind.
    const SignalHold hold;
    const auto rule = choose_policy(context, options);
    MPS_TRY(rule);
    run::Ending ending{.tell = options.quiet          ? run::Tell::nothing
                               : context.globals.json ? run::Tell::json
                                                      : run::Tell::text};
    if (*rule)
        ending.then = [rule = **rule] { remove(rule); };
    const auto supervisor = run::Supervisor::start(ending);
    if (!supervisor && ending.then)
        ending.then();
    MPS_TRY(supervisor);
    auto listener = run::install_filter();
    MPS_TRY(listener);
    return supervisor->begin(std::move(*listener));
}

Result<std::string> service_name(const std::string &name) {
    if (name.empty() || name.contains('/'))
        return usage_error(fmt::format("{} is no unit", text::quoted(name)),
                           "for example nginx or nginx.service");
    const std::size_t dot = name.rfind('.');
    if (dot == std::string::npos)
        return name + ".service";
    if (name.substr(dot) != ".service")
        return usage_error(fmt::format("{} is no service", text::quoted(name)),
                           "only services start programs");
    return name;
}

Result<Reply> run_unit(const RunOptions &options) {
    if (!options.command.empty())
        return usage_error("'--unit' takes no COMMAND", "the unit says what it starts");
    const auto unit = service_name(*options.unit);
    MPS_TRY(unit);
    if (options.policy)
        return usage_error("a unit has its policy by a rule",
                           fmt::format("mpsched use {} --for unit={} --persist", *options.policy, *unit));
    const std::string next = fmt::format("systemctl daemon-reload && systemctl restart {}", *unit);
    const auto path = options.undo ? run::remove_drop_in(*unit)
                                   : run::add_drop_in(*unit, std::filesystem::read_symlink("/proc/self/exe"));
    MPS_TRY(path);
    std::string text =
        path->empty() ? fmt::format("there was no drop-in of ours for {}\n", *unit)
                      : fmt::format("{} {}\nnext: {}\n", options.undo ? "removed" : "wrote", *path, next);
    return Reply{.json = {{"unit", *unit}, {"drop_in", path->empty() ? Json() : Json(*path)}, {"next", next}},
                 .text = std::move(text)};
}

Result<Reply> run_run(const Context &context, const RunOptions &options) {
    if (options.unit)
        return run_unit(options);
    if (options.undo)
        return usage_error("'--undo' is for '--unit'", "mpsched run --unit NAME --undo");
    if (options.command.empty())
        return usage_error("'run' needs COMMAND: a program and its arguments, behind '--'",
                           "mpsched run -- curl URL");
    if (!context.globals.netns.empty())
        return usage_error(
            "'run' does not enter network namespaces",
            fmt::format("use: nsenter --net=/run/netns/{} mpsched run -- COMMAND", context.globals.netns));
    MPS_TRY(prepare(context, options));
    if (SignalHold::pending() != 0)
        return Reply{.streamed = true};
    return become(options.command);
}

} // namespace

void setup_run(Binder &binder) {
    auto options = std::make_shared<RunOptions>();
    binder.argument("COMMAND", options->command);
    binder.option("--policy", options->policy);
    binder.option("--set", options->settings);
    binder.option("--unit", options->unit);
    binder.flag("--undo", options->undo);
    binder.flag("--quiet", options->quiet);
    binder.run([options](const Context &context) { return run_run(context, *options); });
}

} // namespace mps::cli
