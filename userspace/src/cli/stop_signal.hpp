// SPDX-License-Identifier: MIT
#pragma once

#include <csignal>

namespace mps::cli {

// Readable when the user wants us to end. Signals that were ignored stay ignored (nohup).
class StopSignal {
  public:
    StopSignal();
    ~StopSignal();
    StopSignal(const StopSignal &) = delete;
    StopSignal &operator=(const StopSignal &) = delete;

    [[nodiscard]] int fd() const { return fd_; }

  private:
    sigset_t before_;
    int fd_ = -1;
};

} // namespace mps::cli
