// SPDX-License-Identifier: MIT
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <vector>

#include "base/fd.hpp"
#include <mpsched/lab/cleanup.hpp>
#include <mpsched/lab/error.hpp>
#include <mpsched/lab/process.hpp>

namespace mps::lab {

/// Moves the calling thread (only it) into a network namespace. /proc/thread-self/net and /proc/sys/net
/// follow.
Result<void> enter_netns(int netns_fd);

namespace detail {
template <class T>
struct is_result : std::false_type {};
template <class T>
struct is_result<std::expected<T, Error>> : std::true_type {};
} // namespace detail

/// A named network namespace (visible as `ip netns list` shows it), named mps<pid>-<suffix>, removed with the
/// object or by run_cleanups().
class Namespace {
  public:
    /// Needs CAP_SYS_ADMIN and CAP_NET_ADMIN. A name in use gets a number behind it. The loopback device is
    /// up.
    static Result<Namespace> create(std::string_view suffix);

    /// Removes namespaces named like ours whose process no longer lives; returns their names.
    static std::vector<std::string> sweep_stale();

    Namespace(Namespace &&) noexcept = default;
    Namespace &operator=(Namespace &&other) noexcept;
    ~Namespace();

    const std::string &name() const { return name_; }
    int fd() const { return fd_.get(); }

    /// Runs `f` in a thread of its own inside the namespace and waits for it. Sockets opened there stay in
    /// the namespace for ever. Returns what f returns, as Result<R> (not nested if f returns a Result). An
    /// exception thrown by f is rethrown here.
    template <class F>
    auto run(F &&f) const {
        using R = std::invoke_result_t<F &>;
        if constexpr (detail::is_result<R>::value) {
            // Not an optional<R>: emplacing into one makes g++ 12 warn of a free that cannot happen.
            R value = std::unexpected(Error{});
            auto entered = run_thread([&] { value = f(); });
            if (!entered) {
                value = std::unexpected(entered.error());
            }
            return value;
        } else if constexpr (std::is_void_v<R>) {
            return run_thread([&] { f(); });
        } else {
            std::optional<R> value;
            auto entered = run_thread([&] { value.emplace(f()); });
            return entered ? Result<R>(std::move(*value)) : Result<R>(std::unexpected(entered.error()));
        }
    }

    /// A thread that has entered the namespace when this returns, and lives as long as f runs. The caller
    /// joins it.
    Result<std::thread> start_thread(std::function<void()> f) const;

    /// A child process inside the network namespace only, run to completion; see run_process().
    Result<ProcessResult> spawn(std::vector<std::string> argv, ProcessOptions options = {}) const;
    /// The same for commands that have to succeed; see run_checked().
    Result<ProcessResult> spawn_checked(std::vector<std::string> argv, ProcessOptions options = {}) const;
    /// The same in the background.
    Result<Process> start(std::vector<std::string> argv, ProcessOptions options = {}) const;

    /// Runs lines of `ip` (or `tc`) arguments as one batch; stops at the first line that fails.
    Result<void> ip(std::string_view lines) const;
    /// The same with -6, which `ip rule` needs to take IPv6 addresses.
    Result<void> ip6(std::string_view lines) const;
    Result<void> tc(std::string_view lines) const;

    /// Writes /proc/sys/net/KEY, for example set_sysctl("ipv4/tcp_congestion_control", "cubic").
    Result<void> set_sysctl(std::string_view key, std::string_view value) const;
    Result<std::string> get_sysctl(std::string_view key) const;

    /// What connections made here use: as the namespace's default where the kernel allows that (only
    /// algorithms in tcp_allowed_congestion_control; changing that list would change the whole machine), else
    /// on every socket that Server and Transfer open.
    Result<void> set_congestion_control(std::string name);
    /// What sockets have to ask for; empty when the namespace's default will do.
    const std::string &socket_congestion_control() const { return congestion_control_; }

  private:
    Namespace(std::string name, Fd fd, CleanupGuard guard);
    Result<void> run_thread(const std::function<void()> &f) const;
    Result<void> batch(std::vector<std::string> tool, std::string_view lines) const;
    void remove();

    std::string name_;
    std::string congestion_control_;
    Fd fd_;
    CleanupGuard guard_;
};

} // namespace mps::lab
