// SPDX-License-Identifier: MIT
//
// Who may change an installation: one mpsched at a time for each network namespace, and nobody else. The locks are
// flocks on directories of ours (BPFFS/mpsched/locks/COOKIE), which only root can open; one on the mount point
// could be held by anybody who can see it.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "base/fd.hpp"
#include "mpsched/error.hpp"
#include "mpsched/instance.hpp"

namespace mps {

// How long to wait. Counted anew whenever the lock passes from one holder to the next: many commands at once all come to
// their turn, and only one that does not finish makes the others give up.
struct Patience {
    std::uint32_t timeout_ms = 0;
    std::function<bool()> give_up{};

    explicit Patience(const OpenOptions &options)
        : timeout_ms(options.lock_timeout_ms), give_up(options.give_up) {}
};

// Freed when the object or the process ends. When nothing is installed by then, the lock's own directory goes, too.
class Lock {
  public:
    Lock(Lock &&) noexcept = default;
    Lock &operator=(Lock &&) = delete;
    ~Lock();

    // Makes the directories that are missing.
    [[nodiscard]] static Result<Lock> take(const std::string &bpffs, std::uint64_t cookie,
                                           const Patience &patience);
    // nullopt: nothing is installed and nobody is at it, so there is nothing to lock.
    [[nodiscard]] static Result<std::optional<Lock>>
    take_existing(const std::string &bpffs, std::uint64_t cookie, const Patience &patience);
    // nullopt: somebody has it.
    [[nodiscard]] static Result<std::optional<Lock>> try_take(const std::string &bpffs, std::uint64_t cookie);

  private:
    Lock(Fd fd, std::string bpffs, std::uint64_t cookie)
        : fd_(std::move(fd)), bpffs_(std::move(bpffs)), cookie_(cookie) {}
    [[nodiscard]] bool is_current() const;

    Fd fd_;
    std::string bpffs_;
    std::uint64_t cookie_;
};

// Is what we have opened still what has this name? It may have been removed, and made anew.
[[nodiscard]] bool is_still_at(const Fd &fd, const std::string &path);

// Is a command at work on this installation now?
[[nodiscard]] bool is_locked(const std::string &bpffs, std::uint64_t cookie);

} // namespace mps
