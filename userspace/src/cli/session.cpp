// SPDX-License-Identifier: MIT

#include "cli/session.hpp"

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <exception>
#include <optional>

#include <fmt/format.h>
#include <unistd.h>

#include "cli/command.hpp"
#include "cli/parser.hpp"
#include "cli/signals.hpp"
#include "output/text.hpp"

namespace mps::cli {

namespace {

using output::Paint;
using output::Style;

// False if it could not be written. A reader that has gone away is no trouble: nobody is left to tell.
bool write_all(std::FILE *stream, const std::string &text) {
    errno = 0;
    if (std::fwrite(text.data(), 1, text.size(), stream) == text.size() && std::fflush(stream) == 0)
        return true;
    return errno == EPIPE;
}

int exit_code(const Error &error) { return static_cast<int>(error.code); }

// Form 2: an object with its version first, and lists by their names.
Json versioned(Json answer, const Invocation &invocation) {
    const table::Command &command = *invocation.command;
    Json document{{"version", 2}};
    if (command.json_member.empty()) {
        document.update(answer);
    } else {
        const bool names = invocation.given.contains("--names");
        const std::string member = names ? "names" : std::string(command.json_member);
        document[member] =
            command.json_list && !answer.is_array() ? Json::array({answer}) : std::move(answer);
    }
    return document;
}

int report(const Error &error, int json_form) {
    if (json_form != 0) {
        Json document = Json::object();
        if (json_form == 2)
            document["version"] = 2;
        document["error"] = error_json(error);
        if (!write_all(stdout, json_text(document)))
            std::perror("mpsched: cannot write to standard output");
        return exit_code(error);
    }
    const Style style = Style::for_fd(STDERR_FILENO);
    std::string text = fmt::format("{} {}\n", style(Paint::bad, "mpsched:"), text::printable(error.what));
    for (const std::string &line : text::lines(text::printable(error.detail, true)))
        text += "    " + line + "\n";
    if (!error.hint.empty())
        text += fmt::format("  {} {}\n", style(Paint::bold, "hint:"), text::printable(error.hint));
    write_all(stderr, text);
    return exit_code(error);
}

int report(Reply reply, const Invocation &invocation) {
    if (reply.streamed)
        return reply.exit_code;
    std::string document;
    if (invocation.globals.json) {
        const bool is_versioned = invocation.globals.json_form == 2;
        if (is_versioned)
            reply.json = versioned(std::move(reply.json), invocation);
        if (is_versioned ||
            (reply.json.is_object() && (invocation.command->changes || !reply.warnings.empty())))
            reply.json["warnings"] = reply.warnings;
        document = json_text(reply.json);
    } else {
        document = std::move(reply.text);
    }
    if (!write_all(stdout, document)) {
        std::perror("mpsched: cannot write to standard output");
        return static_cast<int>(ErrorCode::failed);
    }
    if (!invocation.globals.json) {
        const Style style = Style::for_fd(STDERR_FILENO);
        for (const std::string &warning : reply.warnings)
            write_all(stderr, fmt::format("{} {}\n", style(Paint::warn, "mpsched: warning:"),
                                          text::printable(warning)));
    }
    return reply.exit_code;
}

int run_invocation(const Invocation &invocation) {
    Context context{.globals = invocation.globals,
                    .style = invocation.globals.json ? Style() : Style::for_fd(STDOUT_FILENO)};
    if (invocation.globals.verbose)
        context.log = [](std::string_view line) { write_all(stderr, text::printable(line, true) + "\n"); };
    std::optional<SignalHold> hold;
    if (invocation.command->changes)
        hold.emplace();
    auto reply = invocation.run(context);
    return reply ? report(std::move(*reply), invocation)
                 : report(reply.error(), invocation.globals.json_form);
}

} // namespace

int run_session(const std::vector<std::string> &words) {
    // A reader that goes away must not end us in the middle of a change; writes report EPIPE instead.
    ignore_broken_pipes();
    const int json = wanted_json(words);
    int exit_code = 0;
    try {
        const auto invocation = parse(words);
        exit_code = invocation ? run_invocation(*invocation) : report(invocation.error(), json);
    } catch (const std::exception &error) {
        exit_code = report(Error{.code = ErrorCode::failed,
                                 .what = fmt::format("internal error: {}", error.what()),
                                 .hint = "this is a bug in mpsched; please report it with the command line"},
                           json);
    }
    if (const int signal = SignalHold::pending(); signal != 0)
        std::raise(signal);
    return exit_code;
}

} // namespace mps::cli
