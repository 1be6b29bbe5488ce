// SPDX-License-Identifier: MIT

#include "commands/follow.hpp"

#include <cerrno>
#include <cstdio>

#include <fmt/format.h>

#include "base/try.hpp"
#include "cli/signals.hpp"
#include "cli/stop_signal.hpp"
#include "output/clock.hpp"
#include "output/text.hpp"
#include "watch/path_event_text.hpp"

namespace mps::cli {

namespace {

using output::Paint;

Json event_json(const PathEvent &event) {
    Json all{{"event", to_string(event.kind)},
             {"time", output::clock_for_programs()},
             {"name", event.name},
             {"ifindex", event.ifindex}};
    if (event.kind == PathEvent::Kind::renamed)
        all["before"] = event.before;
    if (event.kind == PathEvent::Kind::attached)
        all["mode"] = to_string(event.mode);
    if (!event.why.empty())
        all["why"] = event.why;
    return all;
}

// A reader that has gone away is no reason to stop following.
void write_line(const std::string &line) {
    if (std::fwrite(line.data(), 1, line.size(), stdout) != line.size() || std::fflush(stdout) != 0)
        std::clearerr(stdout);
}

} // namespace

Result<Reply> follow(const Context &context, Instance &instance, const Reply &first,
                     const FollowOptions &options) {
    const bool json = context.globals.json;
    const StopSignal stop;
    const auto say_json = [&](Json document) {
        if (context.globals.json_form == 2)
            document["version"] = 2;
        write_line(document.dump() + "\n");
    };
    if (json) {
        Json document = first.json;
        document["warnings"] = first.warnings;
        say_json(std::move(document));
    } else {
        write_line(first.text);
    }
    for (const std::string &warning : json ? std::vector<std::string>{} : first.warnings)
        std::fprintf(stderr, "mpsched: warning: %s\n", text::printable(warning).c_str());
    Reply reply{.json = {}, .text = {}, .streamed = true};
    // It came while the interfaces were attached.
    if (SignalHold::pending() != 0)
        return reply;
    const auto say = [&](const PathEvent &event) {
        if (json)
            say_json(event_json(event));
        else
            write_line(fmt::format("{}  {}\n", context.style(Paint::dim, output::clock_for_people()),
                                   text::printable(watch::event_text(event))));
    };
    MPS_TRY(instance.follow(say, stop.fd(), options));
    return reply;
}

} // namespace mps::cli
