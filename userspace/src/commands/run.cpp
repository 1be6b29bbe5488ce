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
#include "mpsched/protocol_switch.hpp"
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
    std::string way;
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

// What a command has of its own while it runs.
struct Place {
    std::optional<run::CommandCgroup> cgroup{};
    std::string rule{}; // the selector of its policy's
    std::shared_ptr<const ProtocolSwitch> in_kernel{};
};

void remove(const Place &place) {
    // First the rule: a selector names a cgroup that is there.
    if (!place.rule.empty()) {
        auto instance = Instance::open({});
        const auto removed = instance ? instance->remove_rule(place.rule) : std::unexpected(instance.error());
        if (!removed)
            fmt::print(stderr, "mpsched run: the rule {} is still there: {}\n", place.rule,
                       removed.error().what);
    }
    if (place.cgroup)
        place.cgroup->leave_and_remove();
}

// The policy of one command: a rule for the cgroup that it runs in.
Result<void> add_rule(const Context &context, const RunOptions &options, const std::string &selector) {
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
        instance->use({.policy = *options.policy, .params = std::move(*settings), .selector = selector});
    MPS_TRY(used);
    return {};
}

// Has the kernel make the sockets, if it can: without a cgroup nobody tells the command's from others'.
Result<void> switch_protocol(const RunOptions &options, Place &place) {
    if (options.way == to_string(run::Way::seccomp) || !place.cgroup)
        return {};
    auto attached = ProtocolSwitch::attach(place.cgroup->folder());
    if (attached)
        place.in_kernel = std::make_shared<const ProtocolSwitch>(std::move(*attached));
    else if (options.way == to_string(run::Way::fmod_ret))
        return std::unexpected(attached.error());
    return {};
}

Result<Place> make_place(const Context &context, const RunOptions &options) {
    Place place;
    const bool needed = options.policy || options.way == to_string(run::Way::fmod_ret);
    if (needed || (options.way == "auto" && ::geteuid() == 0)) {
        auto cgroup = run::CommandCgroup::enter_new();
        if (cgroup)
            place.cgroup = std::move(*cgroup);
        else if (needed)
            return std::unexpected(cgroup.error());
    }
    Result<void> done = switch_protocol(options, place);
    if (done && options.policy) {
        const std::string selector = "cgroup=" + place.cgroup->path();
        done = add_rule(context, options, selector);
        if (done)
            place.rule = selector;
    }
    // What is not needed is not left behind.
    if (place.cgroup && (!done || (!options.policy && !place.in_kernel))) {
        place.cgroup->leave_and_remove();
        place.cgroup.reset();
    }
    MPS_TRY(done);
    return place;
}

run::Ending ending_of(const Context &context, const RunOptions &options, const Place &place) {
    run::Ending ending{.tell = options.quiet          ? run::Tell::nothing
                               : context.globals.json ? run::Tell::json
                                                      : run::Tell::text};
    if (place.cgroup)
        ending.then = [place] { remove(place); };
    if (place.in_kernel) {
        ending.way = run::Way::fmod_ret;
        ending.kept = place.in_kernel->fd();
        // Else its own sockets were MPTCP's as well, also those that take the place of one that has to be TCP's.
        ending.first = [place] { place.cgroup->leave(); };
        ending.add = [in_kernel = place.in_kernel](run::Ledger &ledger) {
            const auto counts = in_kernel->counts();
            ledger.mptcp += counts.mptcp;
            ledger.plain[static_cast<std::size_t>(run::Plain::refused)] += counts.refused;
            ledger.plain[static_cast<std::size_t>(run::Plain::netns)] += counts.elsewhere;
        };
    }
    return ending;
}

Result<void> prepare(const Context &context, const RunOptions &options) {
    // A rule that nobody is there to remove must not be left behind.
    const SignalHold hold;
    const auto place = make_place(context, options);
    MPS_TRY(place);
    const run::Ending ending = ending_of(context, options, *place);
    const auto supervisor = run::Supervisor::start(ending);
    if (!supervisor && ending.then)
        ending.then();
    MPS_TRY(supervisor);
    auto listener = run::install_filter(ending.way);
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
    if (!options.policy && !options.settings.empty())
        return usage_error("'--set' is for a policy", "name it with --policy");
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
    binder.option("--way", options->way);
    binder.option("--unit", options->unit);
    binder.flag("--undo", options->undo);
    binder.flag("--quiet", options->quiet);
    binder.run([options](const Context &context) { return run_run(context, *options); });
}

} // namespace mps::cli
