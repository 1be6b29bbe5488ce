// SPDX-License-Identifier: MIT
//
// Of those that follow one installation one at a time closes paths and probes: each would count, order and put back for itself.
#pragma once

#include "base/fd.hpp"
#include "pins/pins.hpp"

namespace mps {

class SoleFollower {
  public:
    // False while another one is that, in this process or in another; else we are from now on, if there is an installation.
    [[nodiscard]] bool may_act(const InstallationPaths &paths);
    void leave() { lock_ = Fd(); }

  private:
    Fd lock_{}; // on the installation's directory: it ends with us, however we end
};

} // namespace mps
