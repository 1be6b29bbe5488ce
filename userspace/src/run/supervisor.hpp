// SPDX-License-Identifier: MIT
//
// Answers for the sockets of a command for as long as anything that it started runs.
#pragma once

#include <functional>

#include "base/fd.hpp"
#include "mpsched/error.hpp"
#include "run/ledger.hpp"

namespace mps::run {

/// What is told when all is over.
enum class Tell { text, json, nothing };

/// What is to be done around it.
struct Ending {
    Tell tell = Tell::text;
    Way way = Way::seccomp;
    /// A descriptor that stays open as long as anybody supervises; -1: none.
    int kept = -1;
    /// Called by the supervisor before all else.
    std::function<void()> first{};
    /// Called before it is told: what others have counted.
    std::function<void(Ledger &)> add{};
    /// Called by the supervisor when the last process that came of the command has ended, or the command was never begun.
    std::function<void()> then{};
};

/// A process of its own, of which this one is not the parent: a command may wait for all of its children. There are two of it, and each takes
/// over when the other is killed, since without any of them the command could make no socket at all (ENOSYS).
class Supervisor {
  public:
    [[nodiscard]] static Result<Supervisor> start(const Ending &ending);

    /// Hands over the listener of install_filter(). Afterwards it answers.
    [[nodiscard]] Result<void> begin(Fd listener) const;

  private:
    explicit Supervisor(Fd channel) : channel_(std::move(channel)) {}

    Fd channel_;
};

} // namespace mps::run
