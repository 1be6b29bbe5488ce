// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <csignal>
#include <cstddef>

namespace mps::cli {

// While it lives, the first SIGINT, SIGTERM or SIGHUP is only noted, so that a change is finished (or
// undone by the library) and reported. A second one ends the process as usual: whatever that leaves, the
// next command repairs. Signals that were ignored stay ignored (nohup).
class SignalHold {
  public:
    SignalHold();
    ~SignalHold();
    SignalHold(const SignalHold &) = delete;
    SignalHold &operator=(const SignalHold &) = delete;

    // The signal that came meanwhile, 0 if none. To be delivered, with raise(), once everything is written:
    // a caller such as a shell's loop sees that its child was interrupted.
    [[nodiscard]] static int pending();

  private:
    static constexpr std::array<int, 3> held_{SIGINT, SIGTERM, SIGHUP};
    std::array<struct sigaction, held_.size()> before_{};
};

// From now on a reader that has gone is an error of write(). A program that takes this process's place gets back what was before.
void ignore_broken_pipes();
void restore_broken_pipes();

} // namespace mps::cli
