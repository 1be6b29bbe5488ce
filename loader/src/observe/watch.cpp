// SPDX-License-Identifier: MIT
#include <sys/timerfd.h>
#include <unistd.h>

#include <cerrno>

#include "base/fd.hpp"
#include "base/try.hpp"
#include "instance_impl.hpp"
#include "mpsched/compare.hpp"

namespace mps {

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
