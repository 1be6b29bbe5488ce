// SPDX-License-Identifier: MIT
//
// Pins of a test are nobody else's: other installations of mpsched on this machine must neither see them nor be seen.
#pragma once

#include <string>

#include "base/fd.hpp"

namespace mps::e2e {

/// A bpf file system that is mounted nowhere: it is reached through /proc/PID/fd and ends, with all that is pinned in
/// it, when this process does, however that happens. For MPS_BPFFS.
class PrivateBpffs {
  public:
    PrivateBpffs();
    const std::string &path() const { return path_; }

  private:
    Fd mount_;
    std::string path_;
};

} // namespace mps::e2e
