// SPDX-License-Identifier: MIT
#include <mpsched/lab/cleanup.hpp>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <ctime>
#include <map>
#include <mutex>
#include <thread>
#include <utility>

#include <unistd.h>

namespace mps::lab {
namespace {

struct Registry {
    std::mutex mutex;
    std::uint64_t next_id = 1;
    std::map<std::uint64_t, std::function<void()>> actions;
};

// Never destroyed: the watcher thread may still use it while main() returns.
Registry &registry() {
    static auto *the_registry = new Registry;
    return *the_registry;
}

std::atomic<int> g_stop_signal{0};

sigset_t watched_signals() {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    return set;
}

void watch_signals(OnSignal mode, std::chrono::milliseconds grace) {
    const sigset_t set = watched_signals();
    int signal_number = 0;
    if (sigwait(&set, &signal_number) != 0) {
        return;
    }
    g_stop_signal = signal_number;
    if (mode == OnSignal::request_stop) {
        const timespec limit{grace.count() / 1000, (grace.count() % 1000) * 1'000'000};
        sigtimedwait(&set, nullptr, &limit);
    }
    run_cleanups();
    _exit(128 + signal_number);
}

} // namespace

CleanupGuard::CleanupGuard(std::function<void()> action) {
    auto &all = registry();
    std::lock_guard lock(all.mutex);
    id_ = all.next_id++;
    all.actions.emplace(id_, std::move(action));
}

CleanupGuard::CleanupGuard(CleanupGuard &&other) noexcept : id_(std::exchange(other.id_, 0)) {}

CleanupGuard &CleanupGuard::operator=(CleanupGuard &&other) noexcept {
    if (this != &other) {
        dismiss();
        id_ = std::exchange(other.id_, 0);
    }
    return *this;
}

void CleanupGuard::dismiss() {
    if (id_ == 0) {
        return;
    }
    auto &all = registry();
    std::lock_guard lock(all.mutex);
    all.actions.erase(std::exchange(id_, 0));
}

void run_cleanups() {
    auto &all = registry();
    for (;;) {
        std::function<void()> action;
        {
            std::lock_guard lock(all.mutex);
            if (all.actions.empty()) {
                return;
            }
            auto newest = std::prev(all.actions.end());
            action = std::move(newest->second);
            all.actions.erase(newest);
        }
        action();
    }
}

void install_signal_cleanup(OnSignal mode, std::chrono::milliseconds grace) {
    const sigset_t set = watched_signals();
    pthread_sigmask(SIG_BLOCK, &set, nullptr);
    std::thread(watch_signals, mode, grace).detach();
}

int stop_requested() { return g_stop_signal; }

bool sleep_unless_stopped(std::chrono::milliseconds duration) {
    using std::chrono::steady_clock;
    const auto end = steady_clock::now() + duration;
    while (stop_requested() == 0) {
        const auto left = end - steady_clock::now();
        if (left <= steady_clock::duration::zero()) {
            return true;
        }
        std::this_thread::sleep_for(std::min<steady_clock::duration>(left, std::chrono::milliseconds(20)));
    }
    return false;
}

} // namespace mps::lab
