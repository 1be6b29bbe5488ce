// SPDX-License-Identifier: MIT
#include "mpsched/events.hpp"

#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/fd.hpp"
#include "base/try.hpp"
#include "instance_impl.hpp"
#include "kernel/netlink.hpp"
#include "observe/diagnose.hpp"
#include "observe/dump.hpp"
#include "observe/happenings.hpp"
#include "observe/path_attributes.hpp"

namespace mps {

namespace {

Result<std::map<std::uint32_t, SeenLink>> see_links() {
    const auto devices = net_links();
    MPS_TRY(devices);
    std::map<std::uint32_t, SeenLink> links;
    for (const NetDevice &device : *devices)
        links[device.ifindex] = {.name = device.name, .up = device.up && device.carrier};
    for (const OwnAddress &address : own_addresses()) {
        const auto it =
            std::ranges::find_if(links, [&](const auto &link) { return link.second.name == address.device; });
        if (it != links.end())
            it->second.addresses.insert(address.address);
    }
    return links;
}

Result<SeenInstallation> see_installation(const Instance::Impl &impl) {
    if (!impl.installed())
        return SeenInstallation{};
    const auto pins = impl.open_for_reading();
    MPS_TRY(pins);
    const auto where = impl.paths();
    if (!where)
        return SeenInstallation{};
    const auto config = read_config(*pins);
    MPS_TRY(config);
    const Slots table(*where, *pins);
    const auto slots = table.read();
    MPS_TRY(slots);
    const auto rules = table.rules();
    MPS_TRY(rules);
    auto connections = all_connections(*where, *pins);
    MPS_TRY(connections);
    SeenInstallation seen{.installed = true,
                          .followed = (config->flags & MPS_CONFIG_GUARD) != 0,
                          .policy = policy_in_slot(*slots, default_slot(*config)),
                          .rx_policy = policy_in_slot(*slots, config->rx_slot),
                          .connections = std::move(*connections)};
    for (const mps_rule &rule : *rules) {
        if (rule.fields)
            seen.rules.push_back(rule_status(rule, *slots));
    }
    const auto entries = PathTable(*pins).entries();
    MPS_TRY(entries);
    for (const PathEntry &entry : *entries) {
        auto path = path_status(PathTable(*pins), entry);
        MPS_TRY(path);
        path->down = is_down(entry, *config);
        seen.paths[path->name] = std::move(*path);
    }
    return seen;
}

Result<Fd> start_timer(std::uint32_t interval_ms) {
    Fd timer(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
    const timespec interval{.tv_sec = interval_ms / 1000, .tv_nsec = interval_ms % 1000 * 1'000'000L};
    const itimerspec setting{.it_interval = interval, .it_value = interval};
    if (!timer || ::timerfd_settime(timer.get(), 0, &setting, nullptr))
        return std::unexpected(system_error(errno, "making a timer"));
    return timer;
}

} // namespace

struct [[gnu::visibility("hidden")]] Events::Impl {
    const Instance::Impl &instance;
    LinkMonitor monitor;
    Fd timer;
    Fd wakes_us; // epoll(7) over both
    std::uint32_t interval_ms;
    Seen last{};
    bool failed_before = false;

    [[nodiscard]] Result<void> wait_for(int fd) const {
        epoll_event event{.events = EPOLLIN, .data = {}};
        if (::epoll_ctl(wakes_us.get(), EPOLL_CTL_ADD, fd, &event))
            return std::unexpected(system_error(errno, "waiting for changes"));
        return {};
    }

    // A command may be just changing what is looked at: one look that fails is made up for by the next.
    [[nodiscard]] Result<SeenInstallation> see() {
        auto seen = see_installation(instance);
        if (seen) {
            failed_before = false;
            return seen;
        }
        if (!instance.installed())
            return SeenInstallation{};
        if (failed_before)
            return seen;
        failed_before = true;
        return last.installation;
    }
};

Events::Events(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Events::Events(Events &&) noexcept = default;
Events &Events::operator=(Events &&) noexcept = default;
Events::~Events() = default;

int Events::fd() const { return impl_->wakes_us.get(); }

Result<std::vector<Event>> Events::read() {
    std::uint64_t expired = 0;
    [[maybe_unused]] const auto seen = ::read(impl_->timer.get(), &expired, sizeof expired);
    const auto call = impl_->instance.enter();
    MPS_TRY(call);
    impl_->monitor.drain(); // before the look, so that nothing is missed
    auto links = see_links();
    MPS_TRY(links);
    auto installation = impl_->see();
    MPS_TRY(installation);
    Seen now{.links = std::move(*links), .installation = std::move(*installation)};
    auto events = events_between(impl_->last, now);
    impl_->last = std::move(now);
    return events;
}

std::vector<std::string> Events::blind() const {
    std::vector<std::string> all;
    const std::string interval = std::to_string(impl_->interval_ms) + " ms";
    if (!impl_->last.installation.installed) {
        all.emplace_back("nothing is attached: of links and addresses alone, until something is");
        return all;
    }
    all.push_back("what begins and ends again within " + interval +
                  ", but for links and addresses, is not seen ('mpsched trace' tells every verdict)");
    if (!impl_->last.installation.followed)
        all.emplace_back(
            "nobody follows the interfaces (mpschedd, or 'attach --follow'): that a path is down "
            "is not told, and a failover only after a time-out of TCP's, or when the subflow is gone");
    return all;
}

Result<Events> start_events(const Instance &instance, std::uint32_t interval_ms) {
    const Instance::Impl &impl = Inside::of(instance);
    const auto call = impl.enter();
    MPS_TRY(call);
    if (!interval_ms)
        return fail(ErrorCode::usage, "an interval of 0 ms would never come to an end", "1 ms or more");
    auto monitor = LinkMonitor::open();
    MPS_TRY(monitor);
    auto timer = start_timer(interval_ms);
    MPS_TRY(timer);
    Fd epoll(::epoll_create1(EPOLL_CLOEXEC));
    if (!epoll)
        return std::unexpected(system_error(errno, "waiting for changes"));
    auto made = std::make_unique<Events::Impl>(Events::Impl{.instance = impl,
                                                            .monitor = std::move(*monitor),
                                                            .timer = std::move(*timer),
                                                            .wakes_us = std::move(epoll),
                                                            .interval_ms = interval_ms});
    MPS_TRY(made->wait_for(made->monitor.fd()));
    MPS_TRY(made->wait_for(made->timer.get()));
    auto links = see_links();
    MPS_TRY(links);
    auto installation = see_installation(impl);
    MPS_TRY(installation);
    made->last = {.links = std::move(*links), .installation = std::move(*installation)};
    return Events(std::move(made));
}

} // namespace mps
