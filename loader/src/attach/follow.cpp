// SPDX-License-Identifier: MIT
//
// Interfaces that come back are attached again: at once while somebody follows them, or by `repair`.
#include <poll.h>
#include <sys/epoll.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <iterator>
#include <map>
#include <optional>
#include <thread>

#include <fmt/format.h>

#include "attach/carrier.hpp"
#include "attach/guard.hpp"
#include "attach/idle_probes.hpp"
#include "attach/silent_paths.hpp"
#include "attach/sole_follower.hpp"
#include "attach/uplinks.hpp"
#include "base/try.hpp"
#include "instance_impl.hpp"
#include "kernel/netlink.hpp"
#include "policy/hosts.hpp"

namespace mps {

namespace {

using namespace std::chrono_literals;

// An interface that comes is told of several times: created, named, brought up.
constexpr auto settle_time = 10ms;
// How often to look without being told: whether the installation is still there, and what failed before.
constexpr auto patience = 1000ms;

PathEvent event_of(const PresenceChange &change) {
    const auto kind = change.kind == PresenceChange::Kind::gone   ? PathEvent::Kind::gone
                      : change.kind == PresenceChange::Kind::back ? PathEvent::Kind::back
                                                                  : PathEvent::Kind::renamed;
    return {.kind = kind, .name = change.name, .ifindex = change.ifindex, .before = change.before};
}

// Without the lock: is there anything that a command should see to?
Result<bool> is_work(const InstallationPaths &paths, const Pins &pins) {
    const auto presence = look_at_interfaces(PathTable(pins));
    MPS_TRY(presence);
    const auto config = read_config(pins);
    MPS_TRY(config);
    if (!presence->same() || !(config->flags & MPS_CONFIG_GUARD))
        return true;
    for (const PathEntry &entry : presence->entries) {
        const auto lacks = lacks_programs(paths, pins, entry);
        if (!lacks || *lacks)
            return lacks;
    }
    return false;
}

// The same failure is told once.
class Reporter {
  public:
    [[nodiscard]] bool is_news(const PathEvent &event) {
        if (event.kind != PathEvent::Kind::failed) {
            failures_.erase(event.name);
            return true;
        }
        std::string &last = failures_[event.name];
        if (last == event.why)
            return false;
        last = event.why;
        return true;
    }

  private:
    std::map<std::string, std::string> failures_;
};

Result<std::vector<PathEvent>> see_to_it(const Instance::Impl &impl) {
    auto session = impl.open_for_changing(false);
    MPS_TRY(session);
    MPS_TRY(session->config.update([](mps_config &c) { c.flags |= MPS_CONFIG_GUARD; }));
    return attach_what_lacks(*session, impl.has_tcx());
}

} // namespace

std::string_view to_string(PathEvent::Kind kind) {
    switch (kind) {
    case PathEvent::Kind::gone:
        return "gone";
    case PathEvent::Kind::back:
        return "back";
    case PathEvent::Kind::renamed:
        return "renamed";
    case PathEvent::Kind::attached:
        return "attached";
    case PathEvent::Kind::failed:
        return "failed";
    case PathEvent::Kind::closed:
        return "closed";
    case PathEvent::Kind::reopened:
        return "reopened";
    case PathEvent::Kind::silent:
        return "silent";
    case PathEvent::Kind::answers:
        return "answers";
    case PathEvent::Kind::detached:
        break;
    }
    return "detached";
}

Result<std::vector<PathEvent>> attach_what_lacks(Session &session, bool tcx) {
    const auto entries = session.path_table().entries();
    MPS_TRY(entries);
    std::vector<PathEvent> tried;
    for (const PathEntry &entry : *entries) {
        const auto lacks = lacks_programs(session.paths, session.pins, entry);
        MPS_TRY(lacks);
        const auto device = *lacks ? net_device(entry.path.ifindex) : std::nullopt;
        if (!device)
            continue;
        PathEvent event{.kind = PathEvent::Kind::attached, .name = device->name, .ifindex = device->ifindex};
        if (const auto done = attach_again(session, *device, tcx)) {
            event.mode = done->mode;
            event.why = done->why;
        } else {
            event.kind = PathEvent::Kind::failed;
            event.why = done.error().what;
        }
        tried.push_back(std::move(event));
    }
    std::vector<PathEvent> events;
    for (const PresenceChange &change : session.changes) {
        // That it is back is part of the other line.
        const bool told = std::any_of(tried.begin(), tried.end(),
                                      [&](const PathEvent &e) { return e.name == change.name; });
        if (change.kind != PresenceChange::Kind::back || !told)
            events.push_back(event_of(change));
    }
    events.insert(events.end(), tried.begin(), tried.end());
    return events;
}

// What interfaces did is told by whoever writes it down first, which may be a command of somebody else: to its user, and
// not to ours. So the table is compared with what it was at the last look.
class Memory {
  public:
    // What happened since then; `told` is what this look has found itself.
    [[nodiscard]] Result<std::vector<PathEvent>> fill_in(const Pins &pins, std::vector<PathEvent> told) {
        const auto entries = PathTable(pins).entries();
        MPS_TRY(entries);
        std::vector<PathEvent> all;
        for (const PresenceChange &change :
             known_ ? changes_between(*known_, *entries) : std::vector<PresenceChange>{}) {
            const PathEvent event = event_of(change);
            const auto says_it = [&event](const PathEvent &e) {
                return e.name == event.name &&
                       (e.kind == event.kind || (event.kind == PathEvent::Kind::back && e.ifindex));
            };
            if (std::none_of(told.begin(), told.end(), says_it))
                all.push_back(event);
        }
        known_ = *entries;
        std::move(told.begin(), told.end(), std::back_inserter(all));
        return all;
    }

  private:
    std::optional<std::vector<PathEntry>> known_;
};

struct Follower::Impl {
    const Instance::Impl &instance;
    LinkMonitor monitor;
    Fd wakes_us; // epoll(7) over what follows
    Reporter reporter{};
    Memory memory{};
    Guard guard{};
    SilentPaths silent{};
    SoleFollower sole{};
    IdleProbes probes;
    const bool close_silent;
    Uplinks uplinks{};
    HostFollower hosts{};
    int listened = -1;     // of the guard's descriptors, the one that is in wakes_us
    unsigned timers = 0;   // how many of the uplinks' have come to wakes_us
    std::string failure{}; // of what see_to_silent() did last
    int closing = -1;      // the timer of the silent paths, if it is in wakes_us

    Impl(const Instance::Impl &the_instance, LinkMonitor the_monitor, Fd epoll, IdleProbes the_probes,
         bool closes)
        : instance(the_instance),
          monitor(std::move(the_monitor)),
          wakes_us(std::move(epoll)),
          probes(std::move(the_probes)),
          close_silent(closes) {}
    Impl(const Impl &) = delete;
    Impl &operator=(const Impl &) = delete;
    // Here, so that the library does not show it.
    ~Impl() {
        const auto call = instance.enter();
        if (!call)
            return;
        if (const auto there = pins())
            Guard::leave(*there);
        (void)put_back();
    }

    // What closing and probes have changed, also what one that was killed has left; but nothing of one that is at work.
    [[nodiscard]] Result<void> put_back() {
        const auto paths = instance.paths();
        if (!paths || !sole.may_act(*paths))
            return {};
        const auto opened = RemovedEndpoints(*paths).put_back();
        const auto ended = end_probes(*paths);
        if (!close_silent && probes.fd() < 0)
            sole.leave();
        return opened ? ended : opened;
    }

    [[nodiscard]] Result<void> wait_for(int fd) const {
        epoll_event event{.events = EPOLLIN, .data = {}};
        if (::epoll_ctl(wakes_us.get(), EPOLL_CTL_ADD, fd, &event))
            return std::unexpected(system_error(errno, "waiting for changes"));
        return {};
    }
    // What the kernel tells of silence, from this installation.
    [[nodiscard]] Result<void> stand_guard(const Pins &pins) {
        MPS_TRY(guard.join(pins));
        if (guard.fd() != listened) { // a descriptor that was closed has left by itself
            listened = guard.fd();
            MPS_TRY(wait_for(listened));
        }
        MPS_TRY(uplinks.join(pins));
        if (uplinks.timers() != timers)
            MPS_TRY(wait_for(uplinks.fd()));
        timers = uplinks.timers();
        return look_at_paths(pins);
    }
    // Of connections of this host, and of those that pass.
    [[nodiscard]] Result<void> look_at_paths(const Pins &pins) {
        const auto changed = guard.look_at_paths(pins);
        MPS_TRY(changed);
        return *changed ? uplinks.look(true) : Result<void>{};
    }
    // Paths that have gone silent are closed, and opened again.
    [[nodiscard]] Result<void> see_to_silent(const Pins &pins, bool due) {
        for (const std::uint32_t ifindex : guard.silent_interfaces())
            if (close_silent && sole.may_act(*instance.paths()))
                MPS_TRY(silent.silence(pins, *instance.paths(), ifindex));
        if (due)
            MPS_TRY(silent.wake_up(pins, *instance.paths()));
        if (silent.fd() == closing)
            return {};
        closing = silent.fd();
        return wait_for(closing);
    }
    // What does not answer is as silent as what the data path tells of.
    [[nodiscard]] Result<void> probe(const Pins &pins) {
        if (!sole.may_act(*instance.paths()))
            return {};
        const auto changed = probes.look(pins, *instance.paths());
        MPS_TRY(changed);
        for (const ProbeOrder &one : probes.silent())
            guard.tell(one.token, one.ifindex);
        return *changed ? guard.look_at_connections(pins) : Result<void>{};
    }
    // Names in rules are looked up again.
    [[nodiscard]] Result<void> follow_hosts(const Pins &pins) {
        const auto rules = Slots(*instance.paths(), pins).rules();
        MPS_TRY(rules);
        if (!hosts.has_news(*rules))
            return {};
        auto session = instance.open_for_changing(false);
        MPS_TRY(session);
        return hosts.write(*session);
    }
    [[nodiscard]] Result<Pins> pins() const {
        return instance.installed() ? instance.open_for_reading()
                                    : Result<Pins>(std::unexpected(not_installed()));
    }
};

Follower::Follower(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Follower::Follower(Follower &&) noexcept = default;
Follower &Follower::operator=(Follower &&) noexcept = default;
Follower::~Follower() = default;

int Follower::fd() const { return impl_->wakes_us.get(); }

bool Follower::react() {
    const auto call = impl_->instance.enter();
    if (!call)
        return true;
    const bool changed = impl_->monitor.drain();
    if (impl_->uplinks.are_suspect())
        (void)impl_->uplinks.look(false);
    const bool due = impl_->silent.is_due();
    const bool probes = impl_->probes.is_due();
    if (!changed && !due && !probes && !impl_->guard.has_news())
        return false;
    const auto pins = impl_->pins();
    if (!pins)
        return true;
    if (changed)
        (void)impl_->look_at_paths(*pins); // look() tells what fails
    if (const auto probed = probes ? impl_->probe(*pins) : Result<void>{}; !probed)
        impl_->failure = probed.error().what;
    (void)impl_->guard.listen(*pins);
    if (const auto closed = impl_->see_to_silent(*pins, due); !closed)
        impl_->failure = closed.error().what;
    return changed || impl_->silent.has_news() || impl_->probes.has_news() || !impl_->failure.empty();
}

std::vector<PathEvent> Follower::look() {
    std::vector<PathEvent> news;
    const auto tell = [&](const PathEvent &event) {
        if (impl_->reporter.is_news(event))
            news.push_back(event);
    };
    const auto fail = [&](const Error &error) { tell({.kind = PathEvent::Kind::failed, .why = error.what}); };
    const auto call = impl_->instance.enter();
    if (!call) {
        fail(call.error());
        return news;
    }
    // Before the look, so that nothing is missed.
    impl_->monitor.drain();
    // Commands of others at work are no reason to end: the next look comes in a second.
    const auto pins = impl_->pins();
    const auto work = pins ? is_work(*impl_->instance.paths(), *pins) : Result<bool>(false);
    const auto done = work.value_or(false) ? see_to_it(impl_->instance) : std::vector<PathEvent>{};
    const auto events = pins ? impl_->memory.fill_in(*pins, done.value_or(std::vector<PathEvent>{})) : done;
    for (const PathEvent &event : events.value_or(std::vector<PathEvent>{}))
        tell(event);
    for (const auto &some : {impl_->probes.news(), impl_->silent.news()})
        for (const PathEvent &event : some)
            tell(event);
    if (!impl_->failure.empty())
        tell({.kind = PathEvent::Kind::failed, .why = std::exchange(impl_->failure, {})});
    for (const auto *one : {&done, &events})
        if (!*one)
            fail(one->error());
    if (const auto guarded = pins ? impl_->stand_guard(*pins) : Result<void>{}; !guarded)
        fail(guarded.error());
    if (const auto followed = pins ? impl_->follow_hosts(*pins) : Result<void>{}; !followed)
        fail(followed.error());
    if (const auto carried = pins ? carry_wakes(*pins) : Result<void>{}; !carried)
        fail(carried.error());
    return news;
}

Result<Follower> Instance::follower(const FollowOptions &options) const {
    const auto call = impl_->enter();
    MPS_TRY(call);
    auto monitor = LinkMonitor::open(options.routes);
    MPS_TRY(monitor);
    Fd epoll(::epoll_create1(EPOLL_CLOEXEC));
    if (!epoll)
        return std::unexpected(system_error(errno, "waiting for changes"));
    if (options.probe_idle_s > longest_probe_idle_s)
        return fail(ErrorCode::usage, fmt::format("{} s is too long between probes", options.probe_idle_s),
                    fmt::format("{} s at most", longest_probe_idle_s));
    auto probes = IdleProbes::start(options.probe_idle_s);
    MPS_TRY(probes);
    auto impl = std::make_unique<Follower::Impl>(*impl_, std::move(*monitor), std::move(epoll),
                                                 std::move(*probes), options.close_silent);
    MPS_TRY(impl->wait_for(impl->monitor.fd()));
    if (options.probe_idle_s)
        MPS_TRY(impl->wait_for(impl->probes.fd()));
    MPS_TRY(impl->put_back());
    return Follower(std::move(impl));
}

Result<void> Instance::follow(const std::function<void(const PathEvent &)> &on_event, int stop_fd,
                              const FollowOptions &options) {
    const auto call = impl_->enter();
    MPS_TRY(call);
    auto follower = this->follower(options);
    MPS_TRY(follower);
    MPS_TRY(impl_->open_for_reading());
    pollfd waiting[] = {{.fd = stop_fd, .events = POLLIN, .revents = 0},
                        {.fd = follower->fd(), .events = POLLIN, .revents = 0}};
    using Clock = std::chrono::steady_clock;
    auto due = Clock::now();
    for (;;) {
        if (Clock::now() >= due) {
            if (!impl_->installed()) {
                on_event({.kind = PathEvent::Kind::detached});
                return {};
            }
            for (const PathEvent &event : follower->look())
                on_event(event);
            due = Clock::now() + patience;
        }
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(due - Clock::now());
        if (::poll(waiting, std::size(waiting), static_cast<int>(std::max(left, 0ms).count())) < 0 &&
            errno != EINTR)
            return std::unexpected(system_error(errno, "waiting for changes of interfaces"));
        if (waiting[0].revents)
            return {};
        if (waiting[1].revents && follower->react()) {
            std::this_thread::sleep_for(settle_time);
            due = Clock::now();
        }
    }
}

} // namespace mps
