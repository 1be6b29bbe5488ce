// SPDX-License-Identifier: MIT
//
// A gateway's uplinks that go silent or down: the hosts whose connections pass are told so at once (bpf/src/gateway_watch.bpf.h).
#pragma once

#include <cstdint>
#include <vector>

#include "base/fd.hpp"
#include "mpsched/error.hpp"
#include "pins/contract.hpp"

namespace mps {

class Uplinks {
  public:
    // Goes with this installation from now on; where it has no gateway there is nothing to look at.
    [[nodiscard]] Result<void> join(const Pins &pins);
    // Readable when it is time to look; -1 as long as there is no gateway.
    [[nodiscard]] int fd() const { return timer_.get(); }
    // Another one of these: another descriptor, perhaps of the same number.
    [[nodiscard]] unsigned timers() const { return timers_; }
    // Is an uplink silent? Cheap: nothing is opened for it. Also takes note of the time.
    [[nodiscard]] bool are_suspect();
    // Has decisions made for connections with subflows on uplinks that are silent. `all`: for every connection.
    [[nodiscard]] Result<void> look(bool all);

  private:
    [[nodiscard]] Result<bool> decide(std::uint32_t token) const;

    Fd timer_{};
    Fd uplinks_{}, flows_{}, tokens_{}, look_{};
    unsigned timers_ = 0;
    std::uint32_t flows_id_ = 0;         // another one is another installation's
    std::vector<std::uint32_t> paths_{}; // indices of those that are attached as a gateway's
    std::uint32_t room_ = 0;
};

} // namespace mps
