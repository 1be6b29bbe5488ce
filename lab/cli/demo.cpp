// SPDX-License-Identifier: MIT
#include "demo.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include <mpsched/lab/cleanup.hpp>
#include <mpsched/lab/counters.hpp>
#include <mpsched/lab/network.hpp>
#include <mpsched/lab/transfer.hpp>

#include "base/try.hpp"
#include "demo_page.hpp"
#include "display.hpp"
#include "run.hpp"

#include <unistd.h>

#include <fmt/format.h>

namespace mps::lab::cli {
namespace {

using namespace std::chrono_literals;

constexpr double path_mbit = 50;
constexpr std::size_t dsl = 0;
constexpr std::size_t lte = 1;
constexpr double column_s = 0.5;    // of the history
constexpr double smoothing_s = 0.4; // of the bars
constexpr double settle_s = 1;      // at the start of a phase, not part of its result
constexpr auto tick_time = 100ms;
constexpr auto command_timeout = 20s;
constexpr double changes_s = 6; // what commands and takeovers usually take, all phases together
constexpr double carrier_limit_s = 15;
constexpr int interrupted = 130;

/// What changes at the start of a phase, and what is expected of it.
struct Phase {
    std::string title;
    std::string explanation;
    std::string aim;
    std::vector<std::vector<std::string>> commands; ///< of mpsched
    std::optional<bool> dsl_up = std::nullopt;      ///< new state of the link
    /// The path that has to take over before the phase counts.
    std::optional<std::size_t> carrier = std::nullopt;
    double length = 1; ///< in --seconds-per-phase
};

const std::vector<Phase> &phases() {
    static const std::vector<Phase> all{{.title = "kernel default",
                                         .explanation = "nothing attached, the kernel fills both paths",
                                         .aim = "-",
                                         .commands = {}},
                                        {.title = "weighted",
                                         .explanation = "three parts over dsl, one over lte",
                                         .aim = "75 : 25",
                                         .commands = {{"attach", "dsl", "lte"},
                                                      {"path", "dsl", "weight=3"},
                                                      {"path", "lte", "weight=1"},
                                                      {"use", "weighted"}}},
                                        {.title = "active-standby",
                                         .explanation = "dsl carries everything, lte stands by",
                                         .aim = "100 : 0",
                                         .commands = {{"path", "dsl", "priority=0"},
                                                      {"path", "lte", "priority=1"},
                                                      {"use", "active-standby"}}},
                                        {.title = "dsl is cut",
                                         .explanation = "the standby path takes over",
                                         .aim = "0 : 100",
                                         .commands = {},
                                         .dsl_up = false,
                                         .carrier = lte,
                                         .length = 0.85},
                                        {.title = "dsl is back",
                                         .explanation = "the traffic returns to it",
                                         .aim = "100 : 0",
                                         .commands = {},
                                         .dsl_up = true,
                                         .carrier = dsl},
                                        {.title = "default",
                                         .explanation = "the policy is swapped back on the running transfer",
                                         .aim = "50 : 50",
                                         .commands = {{"use", "default"}}},
                                        {.title = "detached",
                                         .explanation = "the kernel alone again",
                                         .aim = "-",
                                         .commands = {{"detach", "--all"}},
                                         .length = 0.6}};
    return all;
}

/// The running transfer and what it runs on. Members are destroyed in reverse order: traffic first, network
/// last.
struct Stage {
    Network network;
    Server server;
    ThroughputSampler sampler;
    Transfer transfer;

    static Result<Stage> create();
};

class Demo {
  public:
    Demo(Display &display, Stage stage, const DemoOptions &options)
        : display_(display), stage_(std::move(stage)), options_(options), mpsched_(mpsched_path()) {}

    ~Demo() { leave(); }
    Demo(const Demo &) = delete;
    Demo &operator=(const Demo &) = delete;

    Result<void> run();
    /// The signal was what it waited for.
    bool complete() const { return complete_; }

  private:
    Result<void> mpsched(std::vector<std::string> arguments);
    Result<void> set_link(bool up);
    Result<void> play(const Phase &phase, std::size_t number, std::size_t count);
    Result<void> hold(double seconds);
    Result<void> tick();
    Result<void> wait_for_carrier(std::size_t path);
    Result<void> play_all();
    Result<void> leave_it_to_the_page();
    Result<void> conclude();
    void leave();
    void draw();
    std::vector<std::string> with_netns(std::vector<std::string> arguments) const;

    Display &display_;
    Stage stage_;
    DemoOptions options_;
    std::string mpsched_;
    CleanupGuard detach_guard_;
    bool attached_ = false;
    bool dsl_down_ = false;
    bool complete_ = false;
    Frame frame_;
    std::vector<TableRow> rows_;
};

Error stopped() { return Error{"stopped by a signal", "", EINTR}; }

Result<Stage> Stage::create() {
    const auto binary = mpsched_path();
    if (::access(binary.c_str(), X_OK) != 0) {
        return os_error("use", binary, errno, "it belongs beside mpsched-lab: ./run build");
    }
    if (auto available = check_mptcp_available(); !available) {
        return std::unexpected(available.error());
    }
    Namespace::sweep_stale();
    auto network = Network::create(
        {.paths = {{.name = "dsl", .rate_mbit = path_mbit}, {.name = "lte", .rate_mbit = path_mbit}}});
    MPS_TRY(network);
    auto server = Server::start(network->b());
    MPS_TRY(server);
    auto sampler = ThroughputSampler::start(network->a(), network->devices(), 50ms);
    MPS_TRY(sampler);
    auto transfer =
        Transfer::start(network->a(), {.address = network->server_address(), .port = server->port()});
    MPS_TRY(transfer);
    if (!transfer->wait_for_subflows(network->path_count())) {
        transfer->abort();
        const auto result = transfer->wait();
        const auto &error = result.connections[0].error;
        return fail(fmt::format("the transfer did not get a subflow on each path{}",
                                error && error->err != ECANCELED ? ": " + error->what : ""),
                    "is net.mptcp.enabled 1, and is nothing filtering MPTCP options?");
    }
    return Stage{std::move(*network), std::move(*server), std::move(*sampler), std::move(*transfer)};
}

std::vector<std::string> Demo::with_netns(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), {"mpsched", "--netns", stage_.network.a().name()});
    return arguments;
}

Result<void> Demo::mpsched(std::vector<std::string> arguments) {
    if (stop_requested() != 0) {
        return std::unexpected(stopped());
    }
    const bool detaches = arguments.front() == "detach";
    auto argv = with_netns(std::move(arguments));
    const auto typed = shell_words(argv);
    display_.command(typed);
    argv[0] = mpsched_;
    if (!attached_) {
        attached_ = true;
        // The ordinary end detaches in leave(); this one is for a signal that cannot wait for it.
        detach_guard_ = CleanupGuard([detach = with_netns({"detach", "--all"}), binary = mpsched_]() mutable {
            detach[0] = binary;
            std::ignore = run_process(detach, {.timeout = command_timeout});
        });
    }
    auto process = Process::start(argv);
    MPS_TRY(process);
    // Also after a signal: a command that began is not killed half way.
    for (auto waited = 0ms; waited < command_timeout; waited += tick_time) {
        auto result = process->wait(tick_time);
        if (result) {
            display_.output(result->out);
            if (!result->ok()) {
                display_.output(result->err);
                return fail(fmt::format("`{}` failed with status {}", typed, result->exit_code));
            }
            if (detaches) {
                attached_ = false;
                detach_guard_.dismiss();
            }
            return {};
        }
        draw();
    }
    return fail(fmt::format("`{}` did not end within {} s", typed, command_timeout.count()));
}

Result<void> Demo::set_link(bool up) {
    display_.command(fmt::format("ip -n {} link set dsl {}", stage_.network.a().name(), up ? "up" : "down"));
    dsl_down_ = !up;
    return stage_.network.set_link(dsl, up);
}

Result<void> Demo::play(const Phase &phase, std::size_t number, std::size_t count) {
    display_.title(number, count, phase.title, phase.explanation);
    frame_.marks.push_back(static_cast<std::size_t>(stage_.sampler.now_s() / column_s));
    for (const auto &command : phase.commands) {
        if (auto done = mpsched(command); !done) {
            return done;
        }
    }
    if (phase.dsl_up) {
        if (auto done = set_link(*phase.dsl_up); !done) {
            return done;
        }
    }
    if (phase.carrier) {
        if (auto carried = wait_for_carrier(*phase.carrier); !carried) {
            return carried;
        }
    }
    const double began = stage_.sampler.now_s();
    const double length = phase.length * options_.seconds_per_phase;
    if (auto held = hold(length); !held) {
        return held;
    }
    const auto window = stage_.sampler.window(began + std::min(settle_s, length / 2), stage_.sampler.now_s());
    rows_.push_back({fmt::format("{} {}", number, phase.title), phase.aim, window.tx_mbit, window.tx_share});
    display_.phase_result(stage_.network.devices(), rows_.back());
    return {};
}

Result<void> Demo::tick() {
    if (!sleep_unless_stopped(tick_time)) {
        return std::unexpected(stopped());
    }
    if (!stage_.transfer.running()) {
        const auto result = stage_.transfer.wait();
        const auto &error = result.connections[0].error;
        return fail(fmt::format("the transfer broke: {}", error ? error->what : "it ended early"),
                    error ? error->hint : "");
    }
    draw();
    if (std::ferror(stdout) != 0) {
        return fail("nobody reads the output any more");
    }
    return {};
}

Result<void> Demo::hold(double seconds) {
    const double end = stage_.sampler.now_s() + seconds;
    while (stage_.sampler.now_s() < end) {
        if (auto ticked = tick(); !ticked) {
            return ticked;
        }
    }
    return {};
}

// A path that was cut is tried again when TCP's retransmission timer fires, which backed off while it was
// down.
Result<void> Demo::wait_for_carrier(std::size_t path) {
    const double began = stage_.sampler.now_s();
    while (frame_.paths[path].share < 0.5 || frame_.paths[path].mbit < path_mbit / 2) {
        if (stage_.sampler.now_s() - began > carrier_limit_s) {
            return fail(
                fmt::format("{} did not take over within {:.0f} s", frame_.paths[path].name, carrier_limit_s),
                fmt::format("`mpsched --netns {} conns` shows the subflows while the demo runs",
                            stage_.network.a().name()));
        }
        if (auto ticked = tick(); !ticked) {
            return ticked;
        }
    }
    display_.line(fmt::format("  {} carries the traffic {:.1f} s after the change", frame_.paths[path].name,
                              stage_.sampler.now_s() - began));
    return {};
}

void Demo::draw() {
    const double now = stage_.sampler.now_s();
    const auto window = stage_.sampler.window(now - smoothing_s, now);
    frame_.elapsed_s = now;
    frame_.paths.resize(stage_.network.path_count());
    for (std::size_t i = 0; i < frame_.paths.size(); ++i) {
        auto &path = frame_.paths[i];
        path.name = stage_.network.devices()[i];
        path.mbit = window.tx_mbit[i];
        path.share = window.tx_share[i];
        path.down = i == dsl && dsl_down_;
        while (static_cast<double>(path.history.size() + 1) * column_s <= now) {
            const double from = static_cast<double>(path.history.size()) * column_s;
            path.history.push_back(stage_.sampler.window(from, from + column_s).tx_mbit[i]);
        }
    }
    display_.frame(frame_);
}

Result<void> Demo::conclude() {
    stage_.transfer.stop();
    const auto result = stage_.transfer.wait();
    const auto &connection = result.connections[0];
    display_.finish();
    display_.table(stage_.network.devices(), rows_);
    if (connection.error) {
        return std::unexpected(*connection.error);
    }
    if (!connection.verified || connection.fallback) {
        return fail(connection.fallback ? "the connection fell back to plain TCP"
                                        : "the contents were not verified");
    }
    display_.line(
        fmt::format("\n  One connection of {:.0f} s carried {:.1f} MB through all of it:\n"
                    "  SHA-256 verified, no reset, no fallback to TCP.\n"
                    "  The results leave out the first second of each phase and the time of a takeover.",
                    connection.seconds, static_cast<double>(connection.bytes) / 1e6));
    return {};
}

// As long as somebody wants to try the page; the signal that ends it is no interruption.
Result<void> Demo::leave_it_to_the_page() {
    display_.line("\nOnce more, for the page:");
    frame_.total_s = 0;
    for (const auto &command : {std::vector<std::string>{"attach", "dsl", "lte"}, {"use", "weighted"}}) {
        if (auto done = mpsched(command); !done) {
            return done;
        }
    }
    display_.line("\nNow it is yours: choose policies and weights on the page. Ctrl-C ends it.");
    while (stop_requested() == 0) {
        if (auto ticked = tick(); !ticked && stop_requested() == 0) {
            return ticked;
        }
    }
    return {};
}

Result<void> Demo::run() {
    frame_.full_mbit = path_mbit;
    std::optional<DemoPage> page;
    if (options_.web) {
        auto started = DemoPage::start(stage_.network.a().name());
        MPS_TRY(started);
        page.emplace(std::move(*started));
        display_.line(fmt::format("The page, for a browser on this machine:\n{}", page->url()));
    }
    if (auto played = play_all(); !played) {
        return played;
    }
    if (options_.web) {
        if (auto left = leave_it_to_the_page(); !left) {
            return left;
        }
        complete_ = true;
    }
    return conclude();
}

Result<void> Demo::play_all() {
    const auto &all = phases();
    frame_.total_s = changes_s;
    for (const auto &phase : all) {
        frame_.total_s += phase.length * options_.seconds_per_phase;
    }
    for (std::size_t i = 0; i < all.size(); ++i) {
        if (auto played = play(all[i], i + 1, all.size()); !played) {
            return played;
        }
        if (stop_requested() != 0) {
            return std::unexpected(stopped());
        }
    }
    return {};
}

void Demo::leave() {
    display_.finish();
    stage_.transfer.abort();
    if (attached_) {
        attached_ = false;
        auto argv = with_netns({"detach", "--all"});
        const auto typed = shell_words(argv);
        argv[0] = mpsched_;
        if (auto detached = run_checked(argv, {.timeout = command_timeout}); !detached) {
            std::fputs(fmt::format("mpsched-lab: leaving: {}\n", detached.error().what).c_str(), stderr);
        } else {
            display_.line(fmt::format("$ {}", typed));
        }
        detach_guard_.dismiss();
    }
}

} // namespace

int run_demo(const DemoOptions &options) {
    const auto display = Display::create(options.plain);
    display->line(fmt::format(
        "A real MPTCP upload over two emulated paths of {:.0f} Mbit/s each, dsl and lte.", path_mbit));
    auto stage = Stage::create();
    std::optional<Error> error;
    bool complete = false;
    if (!stage) {
        error = stage.error();
    } else {
        Demo demo(*display, std::move(*stage), options);
        if (auto done = demo.run(); !done) {
            error = done.error();
        }
        complete = demo.complete();
    }
    // A signal that came while something failed is the better explanation.
    if (stop_requested() != 0 && !complete) {
        display->line("\nmpsched-lab: stopped by a signal, everything is removed");
        return interrupted;
    }
    if (!error) {
        return 0;
    }
    print_error(*error);
    return exit_status(*error);
}

} // namespace mps::lab::cli
