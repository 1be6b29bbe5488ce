// SPDX-License-Identifier: MIT
// What must not outlive the process even when destructors do not run (Ctrl-C, SIGTERM): network namespaces,
// child processes, pins. SIGKILL cannot be helped here; Namespace::sweep_stale() removes what such a process
// left.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>

namespace mps::lab {

/// Registers an action for the emergency path. Destroying or dismissing the guard forgets it; the destructor
/// does not run it.
class CleanupGuard {
  public:
    CleanupGuard() = default;
    explicit CleanupGuard(std::function<void()> action);
    CleanupGuard(CleanupGuard &&other) noexcept;
    CleanupGuard &operator=(CleanupGuard &&other) noexcept;
    CleanupGuard(const CleanupGuard &) = delete;
    CleanupGuard &operator=(const CleanupGuard &) = delete;
    ~CleanupGuard() { dismiss(); }

    void dismiss();

  private:
    std::uint64_t id_ = 0;
};

/// Runs every registered action once, newest first. An action runs at most once, also with several callers.
void run_cleanups();

enum class OnSignal {
    clean_and_exit, ///< run_cleanups(), then exit with 128 + signal
    request_stop,   ///< set stop_requested(); clean_and_exit after `grace`, or at the second signal
};

/// Takes over SIGINT, SIGTERM and SIGHUP: they are blocked in this thread (and those it starts later) and a
/// watcher thread acts on them. Call it once, first thing in main(), before any other thread exists.
void install_signal_cleanup(OnSignal mode, std::chrono::milliseconds grace = std::chrono::seconds(15));

/// The first signal seen by install_signal_cleanup(), 0 if none so far.
int stop_requested();

/// Sleeps; returns false at once when a stop is or gets requested.
bool sleep_unless_stopped(std::chrono::milliseconds duration);

} // namespace mps::lab
