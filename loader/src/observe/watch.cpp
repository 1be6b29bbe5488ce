// SPDX-License-Identifier: MIT
#include "observe/watch.hpp"

#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/fd.hpp"
#include "base/try.hpp"
#include "instance_impl.hpp"

namespace mps {

namespace {

const ConnectionStatus *find(const std::vector<ConnectionStatus> &all, std::uint32_t token) {
    const auto it = std::ranges::find(all, token, &ConnectionStatus::token);
    return it == all.end() ? nullptr : &*it;
}

// An id is given again when a subflow has gone; the addresses tell whether it is the same.
const SubflowStatus *find(const ConnectionStatus &connection, const SubflowStatus &like) {
    const auto it = std::ranges::find_if(connection.subflows, [&](const SubflowStatus &one) {
        return one.id == like.id && one.local == like.local && one.remote == like.remote;
    });
    return it == connection.subflows.end() ? nullptr : &*it;
}

Change of_subflow(Change::Kind kind, std::uint32_t token, const SubflowStatus &one) {
    return {.kind = kind,
            .token = token,
            .subflow = one.id,
            .interface = one.ifname,
            .now = kind == Change::Kind::subflow_left ? std::string() : std::string(verdict_of(one))};
}

void compare(const ConnectionStatus &before, const ConnectionStatus &now, std::vector<Change> &changes) {
    if (before.policy != now.policy)
        changes.push_back({.kind = Change::Kind::policy, .token = now.token, .now = now.policy});
    for (const SubflowStatus &one : before.subflows) {
        if (!find(now, one))
            changes.push_back(of_subflow(Change::Kind::subflow_left, now.token, one));
    }
    for (const SubflowStatus &one : now.subflows) {
        const SubflowStatus *earlier = find(before, one);
        if (!earlier)
            changes.push_back(of_subflow(Change::Kind::subflow_joined, now.token, one));
        else if (verdict_of(*earlier) != verdict_of(one))
            changes.push_back(of_subflow(Change::Kind::verdict, now.token, one));
    }
}

} // namespace

std::string_view to_string(Change::Kind kind) {
    switch (kind) {
    case Change::Kind::connection_begun:
        return "connection-begun";
    case Change::Kind::connection_ended:
        return "connection-ended";
    case Change::Kind::subflow_joined:
        return "subflow-joined";
    case Change::Kind::subflow_left:
        return "subflow-left";
    case Change::Kind::verdict:
        return "verdict";
    case Change::Kind::policy:
        break;
    }
    return "policy";
}

std::vector<Change> changes_between(const std::vector<ConnectionStatus> &before,
                                    const std::vector<ConnectionStatus> &now) {
    std::vector<Change> changes;
    for (const ConnectionStatus &one : before) {
        if (!find(now, one.token))
            changes.push_back({.kind = Change::Kind::connection_ended, .token = one.token});
    }
    for (const ConnectionStatus &one : now) {
        if (const ConnectionStatus *earlier = find(before, one.token))
            compare(*earlier, one, changes);
        else
            changes.push_back(
                {.kind = Change::Kind::connection_begun, .token = one.token, .now = one.policy});
    }
    return changes;
}

struct [[gnu::visibility("hidden")]] Watch::Impl {
    const Instance::Impl &instance;
    Fd timer;
    std::vector<ConnectionStatus> last;
};

Watch::Watch(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Watch::Watch(Watch &&) noexcept = default;
Watch &Watch::operator=(Watch &&) noexcept = default;
Watch::~Watch() = default;

Result<Watch> Instance::watch(std::uint32_t interval_ms) const {
    const auto call = impl_->enter();
    MPS_TRY(call);
    if (!interval_ms)
        return fail(ErrorCode::usage, "an interval of 0 ms would never come to an end", "1 ms or more");
    Fd timer(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
    const timespec interval{.tv_sec = interval_ms / 1000, .tv_nsec = interval_ms % 1000 * 1'000'000L};
    const itimerspec setting{.it_interval = interval, .it_value = interval};
    if (!timer || ::timerfd_settime(timer.get(), 0, &setting, nullptr))
        return std::unexpected(system_error(errno, "making a timer"));
    auto now = connections_now(*impl_);
    MPS_TRY(now);
    return Watch(std::make_unique<Watch::Impl>(*impl_, std::move(timer), std::move(*now)));
}

int Watch::fd() const { return impl_->timer.get(); }

Result<std::vector<Change>> Watch::changes() {
    std::uint64_t expired = 0;
    [[maybe_unused]] const auto seen = ::read(impl_->timer.get(), &expired, sizeof expired);
    const auto call = impl_->instance.enter();
    MPS_TRY(call);
    auto now = connections_now(impl_->instance);
    MPS_TRY(now);
    auto changes = changes_between(impl_->last, *now);
    impl_->last = std::move(*now);
    return changes;
}

} // namespace mps
