// SPDX-License-Identifier: MIT

#include "mpsched/events.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <memory>
#include <optional>
#include <set>

#include <fmt/format.h>
#include <poll.h>

#include "base/try.hpp"
#include "cli/stop_signal.hpp"
#include "commands/commands.hpp"
#include "commands/numbers.hpp"
#include "output/clock.hpp"
#include "output/lines.hpp"
#include "output/text.hpp"
#include "watch/event_lines.hpp"

namespace mps::cli {

namespace {

struct EventsOptions {
    std::vector<std::string> groups;
    std::optional<std::string> count, seconds;
};

class Telling {
  public:
    Telling(const Context &context, const EventsOptions &options, std::optional<std::uint64_t> most)
        : out_(context.globals.json, context.globals.json_form), style_(context.style), most_(most) {
        for (const EventGroupWord &group : event_groups) {
            if (options.groups.empty()
                    ? group.usual
                    : std::ranges::find(options.groups, "all") != options.groups.end() ||
                          std::ranges::find(options.groups, group.word) != options.groups.end())
                groups_.insert(group.word);
        }
    }

    void tell(const std::vector<Event> &events) {
        for (const Event &event : events) {
            if (done() || !groups_.contains(word_of(event.kind).group))
                continue;
            told_++;
            if (out_.json()) {
                Json line = watch::event_json(event);
                line["time"] = output::clock_for_programs();
                ended_ = !out_.write(std::move(line));
            } else {
                ended_ = !out_.write(fmt::format("{}  {}\n",
                                                 style_(output::Paint::dim, output::clock_for_people()),
                                                 text::printable(watch::event_text(event))));
            }
        }
    }
    void tell_end(const std::vector<std::string> &blind) {
        if (out_.json())
            out_.write(Json{
                {"event", "summary"}, {"events", told_}, {"cannot_see", blind}, {"warnings", Json::array()}});
        else
            out_.write(text::count(told_, "event") + "\n");
    }
    [[nodiscard]] bool done() const { return ended_ || (most_ && told_ >= *most_); }
    [[nodiscard]] bool failed() const { return out_.failed(); }

  private:
    output::Lines out_;
    output::Style style_;
    std::optional<std::uint64_t> most_;
    std::set<std::string_view> groups_;
    std::uint64_t told_ = 0;
    bool ended_ = false;
};

// Until a signal, the time, or enough was told.
Result<void> run_until_stopped(Events &events, Telling &telling, std::optional<std::uint64_t> seconds) {
    using Clock = std::chrono::steady_clock;
    const StopSignal stop;
    const auto end = Clock::now() + std::chrono::seconds(seconds.value_or(0));
    pollfd waiting[] = {{.fd = stop.fd(), .events = POLLIN, .revents = 0},
                        {.fd = events.fd(), .events = POLLIN, .revents = 0}};
    for (bool stopped = false; !stopped && !telling.done();) {
        const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now()).count();
        const int patience = seconds ? static_cast<int>(std::clamp<std::int64_t>(left, 0, 1000)) : -1;
        if (::poll(waiting, std::size(waiting), patience) < 0 && errno != EINTR)
            return fail(ErrorCode::failed, fmt::format("waiting for events: {}", std::strerror(errno)),
                        "try again");
        stopped = waiting[0].revents != 0 || (seconds && Clock::now() >= end);
        const auto news = events.read();
        MPS_TRY(news);
        telling.tell(*news);
    }
    return {};
}

void say_blind(const std::vector<std::string> &blind) {
    for (const std::string &one : blind)
        std::fprintf(stderr, "mpsched: %s\n", text::printable(one).c_str());
}

Result<Reply> run_events(const Context &context, const EventsOptions &options) {
    const auto count = number_of_word(options.count, "--count");
    MPS_TRY(count);
    const auto seconds = number_of_word(options.seconds, "--for");
    MPS_TRY(seconds);
    const auto instance = context.open();
    MPS_TRY(instance);
    auto events = start_events(*instance);
    MPS_TRY(events);
    Telling telling(context, options, *count);
    if (!context.globals.json)
        say_blind(events->blind());
    MPS_TRY(run_until_stopped(*events, telling, *seconds));
    telling.tell_end(events->blind());
    if (telling.failed())
        return fail(ErrorCode::failed, "cannot write to standard output", "see whether its device is full");
    return Reply{.json = {}, .text = {}, .streamed = true};
}

} // namespace

void setup_events(Binder &binder) {
    auto options = std::make_shared<EventsOptions>();
    binder.option("--only", options->groups);
    binder.option("--count", options->count);
    binder.option("--for", options->seconds);
    binder.run([options](const Context &context) { return run_events(context, *options); });
}

} // namespace mps::cli
