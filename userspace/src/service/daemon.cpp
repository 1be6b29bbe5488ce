// SPDX-License-Identifier: MIT

#include "service/daemon.hpp"

#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <map>
#include <optional>
#include <set>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "base/fd.hpp"
#include "base/try.hpp"
#include "config/desired.hpp"
#include "mpsched/version.hpp"
#include "service/cgroup_watch.hpp"
#include "service/client.hpp"
#include "service/control.hpp"
#include "service/endpoint.hpp"
#include "service/keeper.hpp"
#include "service/kernel_settings.hpp"
#include "service/last_good.hpp"
#include "service/meter.hpp"
#include "service/metered.hpp"
#include "service/notify.hpp"
#include "service/observer.hpp"
#include "service/web.hpp"
#include "watch/path_event_text.hpp"

namespace mps::service {

namespace {

using namespace std::chrono_literals;

// An interface that comes is told of several times: created, named, brought up.
constexpr auto settle_time = 10ms;
constexpr auto follow_interval = 1000ms;
constexpr auto resync_interval = 30s;
// What is metered is to be known before the files are brought into force, so that a path is not cheap for a moment.
constexpr auto metered_patience = 300ms;

void say(std::string_view text) { fmt::print(stderr, "mpschedd: {}\n", text); }

// SIGTERM and SIGINT end it, SIGHUP reloads; all are read from here.
Fd open_signals() {
    sigset_t set;
    sigemptyset(&set);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP})
        sigaddset(&set, signal);
    sigprocmask(SIG_BLOCK, &set, nullptr);
    return Fd(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
}

bool is_stopping() {
    sigset_t pending;
    sigpending(&pending);
    return sigismember(&pending, SIGTERM) == 1 || sigismember(&pending, SIGINT) == 1;
}

class Daemon {
  public:
    Daemon(const Options &options, Instance instance, Control control, Fd signals,
           std::optional<store::StoreFollower> store)
        : options_(options),
          instance_(std::move(instance)),
          control_(std::move(control)),
          signals_(std::move(signals)),
          keeper_(instance_),
          meter_(instance_, options.state),
          last_good_(options.state, options.config),
          kernel_(instance_, options.state),
          metered_(instance_, !options.netns.empty()),
          observer_(options.netns),
          web_(options.netns, observer_),
          store_(std::move(store)) {}

    // `refused`: why these are not the files as they are now.
    Result<void> run(config::Desired desired, std::optional<Error> refused);

  private:
    Result<void> reload();
    void follow();
    // True: one has come that the files name.
    bool look_at_cgroups();
    // `come`: something that the files name, and that was not there.
    void look_after_new(bool come);
    // True: of an interface for which the files ask it.
    bool look_at_metered(bool interfaces_changed);
    void tell_news();
    void keep_good();
    // What is told by HTTP as the files want it.
    void want_endpoints();
    void keep_endpoints();
    Json objects();
    std::string summary();
    Json tell_page() const;
    Json answer(const Json &request);
    Json describe();
    // False: it is to end.
    bool take_signals();
    [[nodiscard]] std::optional<std::set<std::string>> interfaces_now() const;
    [[nodiscard]] int patience_ms() const;
    // A quota that begins in the kernel begins with what was booked for it.
    config::Consider prepare() {
        return [this](config::Action &action) {
            meter_.prepare(keeper_.desired(), action);
            return true;
        };
    }
    void count();
    http::Response serve_metrics(const http::Request &request) const;
    void receive_store();
    void tell_store();

    Options options_;
    Instance instance_;
    Control control_;
    Fd signals_;
    Keeper keeper_;
    Meter meter_;
    LastGood last_good_;
    KernelSettings kernel_;
    Metered metered_;
    CgroupWatch cgroups_{};
    Observer observer_;
    Web web_;
    Endpoint metrics_{"metrics", [this](const http::Request &request) { return serve_metrics(request); }};
    Endpoint page_{"web page", [this](const http::Request &request) { return web_.serve(request); }};
    std::optional<store::StoreFollower> store_;
    Notify notify_{};
    std::optional<Follower> follower_{};
    FollowOptions follows_as_{};
    std::set<std::string> interfaces_{}; // as they were when they were last looked at
    std::optional<Error> refused_{};     // why the files as they are now are not in force
    Clock::time_point resync_{};
    Clock::time_point counted_{};  // when it is due again
    Clock::time_point followed_{}; // the same, of the interfaces
};

void Daemon::tell_news() {
    for (const std::string &line : meter_.news())
        say(line);
    for (const std::string &line : keeper_.news())
        say(line);
    for (const std::string &line : kernel_.news())
        say(line);
    for (const std::string &line : metered_.news())
        say(line);
    for (Endpoint *endpoint : {&metrics_, &page_})
        for (const std::string &line : endpoint->news())
            say(line);
    if (store_)
        for (const std::string &line : store_->news())
            say(line);
}

// In the server's thread.
http::Response Daemon::serve_metrics(const http::Request &request) const {
    if (request.path != "/metrics")
        return http::refusal(404, "there is /metrics");
    if (request.method != "GET")
        return http::refusal(405);
    const auto [look, facts] = observer_.last();
    return {.type = metrics::content_type, .body = metrics::exposition(*look, facts)};
}

void Daemon::want_endpoints() {
    kernel_.want(keeper_.desired().kernel);
    const auto &wish = keeper_.desired().metrics;
    const auto &page = keeper_.desired().web;
    observer_.want(wish || page, wish && wish->programs);
    metrics_.want(wish ? std::optional(wish->listen) : std::nullopt);
    page_.want(page);
    keep_endpoints();
}

void Daemon::keep_endpoints() {
    metrics_.keep_up();
    page_.keep_up();
    observer_.tell({.version = std::string(version()),
                    .revision = keeper_.desired().revision,
                    .refused = refused_.has_value(),
                    .failed_objects = keeper_.failed() + metrics_.failed() + page_.failed(),
                    .ledger_problem = meter_.problem().has_value(),
                    .metered = metered_.flags()});
    tell_news();
}

Json Daemon::objects() {
    Json all = keeper_.objects();
    for (const Endpoint *endpoint : {&metrics_, &page_})
        if (auto one = endpoint->object())
            all.push_back(std::move(*one));
    return all;
}

// "4 in force, 1 waits, 1 failed"
std::string Daemon::summary() {
    std::map<std::string, int> counts;
    for (const Json &one : objects())
        counts[one["state"]]++;
    std::string text = keeper_.desired().empty ? "nothing is asked for" : "";
    for (const auto &[state, count] : counts)
        text += fmt::format("{}{} {}", text.empty() ? "" : ", ", count, state);
    return text;
}

void Daemon::receive_store() {
    store_->receive([&] { (void)reload(); });
    tell_news();
    tell_store();
}

void Daemon::tell_store() {
    if (store_)
        store_->tell(keeper_.desired().revision, [&] { return summary(); });
}

// What there is to attach depends on these; nullopt: it cannot be told now.
std::optional<std::set<std::string>> Daemon::interfaces_now() const {
    const auto interfaces = instance_.interfaces(keeper_.desired().asks_for_routes());
    if (!interfaces)
        return std::nullopt;
    std::set<std::string> all;
    for (const NetworkInterface &one : *interfaces)
        all.insert(fmt::format("{} {} {} {}", one.ifindex, one.name, one.type, one.default_route));
    return all;
}

// The service does without: only a start with a mistake in the files would miss it.
void Daemon::keep_good() {
    if (const auto kept = last_good_.keep(keeper_.desired()); !kept)
        say(fmt::format("the files are not kept for a start with a mistake in them: {}", kept.error().what));
}

Result<void> Daemon::reload() {
    auto desired = config::load(options_.config);
    if (!desired) {
        refused_ = desired.error();
        say(fmt::format("{}; what was in force stays so", desired.error().what));
        return std::unexpected(desired.error());
    }
    refused_.reset();
    cgroups_.want(*desired);
    keeper_.enforce(std::move(*desired), prepare());
    keep_good();
    want_endpoints();
    say(fmt::format("revision {}: {}", keeper_.desired().revision, summary()));
    return {};
}

bool Daemon::look_at_metered(bool interfaces_changed) {
    if (!metered_.look(interfaces_changed))
        return false;
    keeper_.know_metered(metered_.names());
    return keeper_.desired().asks_for_metered();
}

bool Daemon::look_at_cgroups() {
    const auto come = cgroups_.come();
    keeper_.reopen_cgroups(come);
    return !come.empty();
}

void Daemon::look_after_new(bool come) {
    const auto now = Clock::now();
    auto interfaces = interfaces_now();
    const bool metered = look_at_metered(interfaces && *interfaces != interfaces_);
    // One that is gone asks for nothing, and the next that comes shall not have to wait.
    const bool more = metered || come || !interfaces || !std::ranges::includes(interfaces_, *interfaces);
    if (interfaces)
        interfaces_ = std::move(*interfaces);
    const auto next = keeper_.next_try();
    if (!more && now < resync_ && (!next || now < *next))
        return;
    keeper_.keep_up(more, prepare());
    tell_news();
    resync_ = now + resync_interval;
}

void Daemon::count() {
    const auto now = Clock::now();
    if (now < counted_)
        return;
    counted_ = now + Meter::interval;
    meter_.tick(keeper_.desired());
    tell_news();
}

void Daemon::follow() {
    const FollowOptions options{.routes = keeper_.desired().asks_for_routes(),
                                .close_silent = keeper_.desired().close_silent,
                                .probe_idle_s = keeper_.desired().probe_idle_s};
    if (!follower_ || options != follows_as_) {
        auto follower = instance_.follower(options);
        if (!follower) {
            say(follower.error().what);
            return;
        }
        follower_ = std::move(*follower);
        follows_as_ = options;
    }
    for (const PathEvent &event : follower_->look()) {
        say(watch::event_text(event));
        if (event.kind == PathEvent::Kind::renamed) {
            keeper_.reopen(event.name);
            keeper_.reopen(event.before);
            meter_.renamed(event.before, event.name);
        }
    }
}

Json Daemon::describe() {
    Json all{{"pid", ::getpid()}, {"file", options_.config}, {"revision", keeper_.desired().revision}};
    all["files"] = keeper_.desired().files();
    all["objects"] = objects();
    if (refused_)
        all["refused"] = error_json(*refused_);
    if (meter_.problem())
        all["problem"] = error_json(*meter_.problem());
    else if (kernel_.problem())
        all["problem"] = error_json(*kernel_.problem());
    if (store_)
        all["store"] = store_->describe();
    if (Json said = metered_.describe(); !said.is_null())
        all["network_manager"] = std::move(said);
    return all;
}

// Only root is told: the socket is its own.
Json Daemon::tell_page() const {
    const auto &page = keeper_.desired().web;
    if (!page)
        return Json{
            {"error", error_json({.what = "mpschedd serves no page",
                                  .hint = "[web] in mpsched.toml with listen = \"127.0.0.1:9465\", then "
                                          "'mpsched reload'"})}};
    if (page_.failed())
        return Json{
            {"error",
             error_json({.what = page_.object()->value("why", ""),
                         .hint = "it is tried again; or another 'listen' in [web] of mpsched.toml"})}};
    return Json{{"url", fmt::format("http://{}/#{}", page->text(), web_.token())}};
}

Json Daemon::answer(const Json &request) {
    const std::string what = request.is_object() ? request.value("do", "") : "";
    if (what == "ping")
        return Json{{"pid", ::getpid()}};
    if (what == "status")
        return describe();
    if (what == "reload") {
        notify_.reloading();
        const auto done = reload();
        notify_.ready(summary());
        return done ? describe() : Json{{"error", error_json(done.error())}};
    }
    if (what == "web")
        return tell_page();
    if (what == "adopt") {
        auto desired = config::load(options_.config);
        if (!desired)
            return Json{{"error", error_json(desired.error())}};
        refused_.reset();
        cgroups_.want(*desired);
        keeper_.adopt(std::move(*desired));
        keep_good();
        want_endpoints();
        return describe();
    }
    return Json{{"error", error_json({.what = "mpschedd does not know this request"})}};
}

bool Daemon::take_signals() {
    signalfd_siginfo info;
    bool reload_wanted = false;
    while (::read(signals_.get(), &info, sizeof info) == sizeof info) {
        if (info.ssi_signo != SIGHUP)
            return false;
        reload_wanted = true;
    }
    if (reload_wanted) {
        notify_.reloading();
        (void)reload();
        notify_.ready(summary());
    }
    return true;
}

int Daemon::patience_ms() const {
    auto patience = follow_interval;
    if (notify_.watchdog() > 0ms)
        patience = std::min(patience, notify_.watchdog() / 3);
    if (const auto next = keeper_.next_try())
        patience = std::clamp(std::chrono::duration_cast<std::chrono::milliseconds>(*next - Clock::now()),
                              10ms, patience);
    if (const auto next = metered_.bus().next(); next < Clock::now() + patience)
        patience = std::clamp(std::chrono::duration_cast<std::chrono::milliseconds>(next - Clock::now()),
                              10ms, patience);
    return static_cast<int>(patience.count());
}

Result<void> Daemon::run(config::Desired desired, std::optional<Error> refused) {
    refused_ = std::move(refused);
    // Listening before the first look, so that nothing is missed.
    keeper_.adopt(desired);
    follow();
    interfaces_ = interfaces_now().value_or(std::set<std::string>{});
    if (desired.asks_for_metered())
        metered_.bus().wait(metered_patience);
    (void)look_at_metered(true);
    cgroups_.want(desired);
    keeper_.enforce(std::move(desired), prepare());
    if (!refused_)
        keep_good();
    want_endpoints();
    const std::string in_short = summary();
    say(fmt::format("revision {}: {}", keeper_.desired().revision, in_short));
    notify_.ready(in_short);
    resync_ = Clock::now() + resync_interval;
    for (;;) {
        pollfd waiting[] = {{.fd = signals_.get(), .events = POLLIN, .revents = 0},
                            {.fd = control_.fd(), .events = POLLIN, .revents = 0},
                            {.fd = follower_ ? follower_->fd() : -1, .events = POLLIN, .revents = 0},
                            {.fd = store_ ? store_->fd() : -1, .events = POLLIN, .revents = 0},
                            {.fd = metered_.bus().fd(), .events = metered_.bus().events(), .revents = 0},
                            {.fd = cgroups_.fd(), .events = POLLIN, .revents = 0}};
        if (::poll(waiting, std::size(waiting), patience_ms()) < 0 && errno != EINTR)
            return std::unexpected(system_error(errno, "waiting"));
        notify_.alive();
        if (waiting[0].revents && !take_signals())
            break;
        metered_.bus().keep_up();
        const bool changed = waiting[2].revents && follower_->react();
        if (changed)
            std::this_thread::sleep_for(settle_time);
        const bool come = (waiting[5].revents || Clock::now() >= followed_) && look_at_cgroups();
        // Subflows that go silent, however many, ask for nothing more, nor does a bus on which much is said, nor cgroups of others.
        const bool nothing_new = (waiting[2].revents && !changed) || waiting[4].revents || waiting[5].revents;
        if (!nothing_new || come || metered_.is_news() || Clock::now() >= followed_) {
            followed_ = Clock::now() + follow_interval;
            follow();
            look_after_new(come);
            count();
            keep_endpoints();
            tell_store();
        }
        if (waiting[3].revents)
            receive_store();
        if (waiting[1].revents)
            control_.serve([&](const Json &request) { return answer(request); });
    }
    notify_.stopping();
    meter_.tick(keeper_.desired());
    kernel_.put_back();
    tell_news();
    say("ends; what is in force stays so");
    return {};
}

} // namespace

namespace {

struct Files {
    config::Desired desired{};
    std::optional<Error> refused{}; // why these are not the files as they are now
};

// What to begin with. After a reboot nothing is in force that could stay so.
Result<Files> first_files(const Options &options) {
    auto desired = config::load(options.config);
    if (desired)
        return Files{std::move(*desired), std::nullopt};
    // The store is going to have it.
    if (!options.watch.address.empty() && ::access(options.config.c_str(), F_OK) != 0)
        return Files{};
    // Files that are not there are no mistake.
    if (desired.error().kind != ErrorKind::usage)
        return std::unexpected(desired.error());
    auto good = LastGood(options.state, options.config).load();
    if (!good) {
        say(fmt::format("no earlier revision can be used: {}", good.error().what));
        return std::unexpected(desired.error());
    }
    say(fmt::format("{}; revision {}, the last that was right, is used", desired.error().what,
                    good->revision));
    return Files{std::move(*good), desired.error()};
}

} // namespace

Result<void> run(const Options &options) {
    std::signal(SIGPIPE, SIG_IGN);
    Fd signals = open_signals();
    auto files = first_files(options);
    MPS_TRY(files);
    std::optional<store::StoreFollower> store;
    if (!options.watch.address.empty()) {
        auto started = store::StoreFollower::start(options.watch, options.config, options.state);
        MPS_TRY(started);
        store.emplace(std::move(*started));
    }
    auto instance = Instance::open({.netns = options.netns, .give_up = is_stopping});
    MPS_TRY(instance);
    const auto status = instance->status();
    MPS_TRY(status);
    auto control = Control::open(status->netns_cookie);
    MPS_TRY(control);
    return Daemon(options, std::move(*instance), std::move(*control), std::move(signals), std::move(store))
        .run(std::move(files->desired), std::move(files->refused));
}

} // namespace mps::service
