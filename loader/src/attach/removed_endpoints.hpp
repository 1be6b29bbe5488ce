// SPDX-License-Identifier: MIT
//
// MPTCP endpoints that were taken from the kernel for a while, see silent_paths.hpp. They are written down in a pin before that, so that
// they are put back also if who took them is killed.
#pragma once

#include <string>
#include <vector>

#include "kernel/path_manager.hpp"
#include "mpsched/error.hpp"
#include "pins/pins.hpp"

namespace mps {

class RemovedEndpoints {
  public:
    explicit RemovedEndpoints(InstallationPaths paths) : paths_(std::move(paths)) {}

    [[nodiscard]] Result<std::vector<Endpoint>> all() const;
    [[nodiscard]] Result<void> note(const Endpoint &endpoint) const;
    [[nodiscard]] Result<void> forget(const Endpoint &endpoint) const;
    // Puts all of them back that are not there. One whose interface is gone is forgotten: nothing can be opened from it.
    [[nodiscard]] Result<void> put_back() const;

  private:
    InstallationPaths paths_;
};

} // namespace mps
