// SPDX-License-Identifier: MIT
//
// run: starts a command whose TCP sockets are MPTCP's. This process becomes the command, so that process number, exit status, signals and terminal
// are the command's own; what it needs beside itself is a process of its own (run/supervisor.hpp).
#include <cerrno>
#include <memory>
#include <system_error>

#include <fmt/format.h>
#include <unistd.h>

#include "base/try.hpp"
#include "cli/signals.hpp"
#include "commands/commands.hpp"
#include "output/text.hpp"
#include "run/filter.hpp"
#include "run/supervisor.hpp"

namespace mps::cli {

namespace {

struct RunOptions {
    std::vector<std::string> command;
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

Result<Reply> run_run(const Context &context, const RunOptions &options) {
    if (!context.globals.netns.empty())
        return usage_error(
            "'run' does not enter network namespaces",
            fmt::format("use: ip netns exec {} mpsched run -- COMMAND", context.globals.netns));
    using run::Tell;
    const auto supervisor = run::Supervisor::start(options.quiet          ? Tell::nothing
                                                   : context.globals.json ? Tell::json
                                                                          : Tell::text);
    MPS_TRY(supervisor);
    auto listener = run::install_filter();
    MPS_TRY(listener);
    MPS_TRY(supervisor->begin(std::move(*listener)));
    return become(options.command);
}

} // namespace

void setup_run(Binder &binder) {
    auto options = std::make_shared<RunOptions>();
    binder.argument("COMMAND", options->command);
    binder.flag("--quiet", options->quiet);
    binder.run([options](const Context &context) { return run_run(context, *options); });
}

} // namespace mps::cli
