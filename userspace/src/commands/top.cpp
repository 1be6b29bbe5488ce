// SPDX-License-Identifier: MIT

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <memory>
#include <optional>

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include "base/try.hpp"
#include "cli/stop_signal.hpp"
#include "commands/commands.hpp"
#include "commands/numbers.hpp"
#include "output/clock.hpp"
#include "output/lines.hpp"
#include "output/text.hpp"
#include "watch/terminal.hpp"
#include "watch/top_json.hpp"

namespace mps::cli {

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

struct TopOptions {
    std::string delay, view;
    std::optional<std::string> sort, filter, count;
    bool reverse = false, once = false, batch = false, no_color = false;
};

// With many connections a look takes longer, and comes less often: on a terminal looks take no more of a core than this. Frames are drawn as
// often as they are asked for.
constexpr double most_of_a_core = 0.03;
// Between the two looks of --once.
constexpr milliseconds once_delay{500};
constexpr std::size_t batch_width = 132;

// "14:03:05"
std::string clock_text() { return output::clock_for_people().substr(0, 8); }

// Of this thread: on a busy machine a look takes longer, but costs no more.
double cpu_s() {
    timespec time{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

// Waits; true if a signal has come.
bool wait_for(const StopSignal &stop, milliseconds patience) {
    pollfd waiting{.fd = stop.fd(), .events = POLLIN, .revents = 0};
    return ::poll(&waiting, 1, static_cast<int>(patience.count())) > 0;
}

Result<watch::TopView> view_of(const TopOptions &options) {
    watch::TopView view;
    MPS_TRY(view.choose(options.view));
    if (options.sort)
        if (auto sorted = view.sort_by(*options.sort); !sorted)
            return std::unexpected(sorted.error());
    if (options.reverse)
        view.reverse();
    view.filter(options.filter.value_or(""));
    return view;
}

std::string frame_text(watch::TopView &view, const watch::TopModel &model, std::size_t width) {
    std::string text;
    for (const watch::Line &line : view.draw(model, clock_text(), width, 0))
        text += watch::plain(line) + "\n";
    return text;
}

// How wide lines may be that are not drawn: as the environment says.
std::size_t width_of_lines() {
    const char *columns = std::getenv("COLUMNS");
    const long width = columns ? std::strtol(columns, nullptr, 10) : 0;
    return width >= 40 && width <= 1000 ? static_cast<std::size_t>(width) : batch_width;
}

// One below the other, or as a document in a line each.
Result<Reply> run_batch(const Context &context, Sampler &sampler, watch::TopView &view, milliseconds delay,
                        std::optional<std::uint64_t> most) {
    const StopSignal stop;
    output::Lines out(context.globals.json, context.globals.json_form);
    watch::TopModel model;
    for (std::uint64_t told = 0; !most || told <= *most; told++) {
        auto sample = sampler.take();
        MPS_TRY(sample);
        model.take(std::move(*sample));
        // The first look has no rates.
        if (told > 0 &&
            !(out.json() ? out.write(watch::top_json(model, output::clock_for_programs()))
                         : out.write((told > 1 ? "\n" : "") + frame_text(view, model, width_of_lines()))))
            break;
        if ((!most || told < *most) && wait_for(stop, delay))
            break;
    }
    if (out.failed())
        return fail(ErrorCode::failed, "cannot write to standard output", "see whether its device is full");
    return Reply{.json = {}, .text = {}, .streamed = true};
}

// False: it is to end.
bool take_keys(watch::Terminal &terminal, watch::TopView &view) {
    while (const auto pressed = terminal.next_key())
        if (!pressed->resized && !view.press(pressed->key, pressed->letter))
            return false;
    return true;
}

// Until a key, a signal or an error ends it.
Result<void> draw_until_ended(watch::Terminal &terminal, Sampler &sampler, watch::TopView &view,
                              milliseconds delay) {
    const StopSignal stop;
    watch::TopModel model;
    auto due = Clock::now();
    for (bool first = true;;) {
        const auto begun = Clock::now();
        if (begun >= due && !view.paused()) {
            const double before_s = cpu_s();
            auto sample = sampler.take();
            MPS_TRY(sample);
            model.take(std::move(*sample));
            const std::chrono::duration<double> least((cpu_s() - before_s) / most_of_a_core);
            // Soon after the first look, so that there are rates.
            due = begun + (first ? std::min(delay, once_delay)
                                 : std::max(delay, std::chrono::ceil<milliseconds>(least)));
            first = false;
        }
        terminal.draw(view.draw(model, clock_text(), terminal.width(), terminal.rows()));
        const auto left = std::chrono::ceil<milliseconds>(std::min(due, begun + delay) - Clock::now());
        const int patience = view.paused() ? -1 : static_cast<int>(std::max(left, milliseconds(0)).count());
        pollfd waiting[] = {{.fd = stop.fd(), .events = POLLIN, .revents = 0},
                            {.fd = STDIN_FILENO, .events = POLLIN, .revents = 0}};
        // A terminal that changes its size interrupts this.
        if (::poll(waiting, std::size(waiting), patience) < 0 && errno != EINTR)
            return std::unexpected(system_error(errno, "waiting for keys"));
        const bool hung_up = (waiting[1].revents & (POLLHUP | POLLERR)) != 0;
        if (waiting[0].revents || hung_up || !take_keys(terminal, view))
            return {};
    }
}

Result<Reply> run_drawn(Sampler &sampler, watch::TopView &view, milliseconds delay, bool colours) {
    Result<void> done;
    {
        auto terminal = watch::Terminal::open(colours);
        MPS_TRY(terminal);
        done = draw_until_ended(*terminal, sampler, view, delay);
    } // an error is told on the terminal as it was before
    MPS_TRY(done);
    return Reply{.json = {}, .text = {}, .streamed = true};
}

Result<Reply> run_top(const Context &context, const TopOptions &options) {
    const auto delay = seconds_of_word(options.delay, "--delay", milliseconds(100));
    MPS_TRY(delay);
    const auto count = number_of_word(options.count, "--count");
    MPS_TRY(count);
    auto view = view_of(options);
    MPS_TRY(view);
    const auto instance = context.open();
    MPS_TRY(instance);
    auto sampler = start_sampler(*instance, true);
    MPS_TRY(sampler);
    view->unmeasured(sampler->unmeasured());
    if (options.once)
        return run_batch(context, *sampler, *view, std::min(*delay, once_delay), 1);
    if (context.globals.json || options.batch || *count || !watch::is_drawable())
        return run_batch(context, *sampler, *view, *delay, *count);
    const char *no_color = std::getenv("NO_COLOR");
    const bool colours = !options.no_color && (no_color == nullptr || *no_color == '\0');
    return run_drawn(*sampler, *view, *delay, colours);
}

} // namespace

void setup_top(Binder &binder) {
    auto options = std::make_shared<TopOptions>();
    binder.option("--view", options->view);
    binder.option("--sort", options->sort);
    binder.flag("--reverse", options->reverse);
    binder.option("--filter", options->filter);
    binder.option("--delay", options->delay);
    binder.option("--count", options->count);
    binder.flag("--once", options->once);
    binder.flag("--batch", options->batch);
    binder.flag("--no-color", options->no_color);
    binder.run([options](const Context &context) { return run_top(context, *options); });
}

} // namespace mps::cli
