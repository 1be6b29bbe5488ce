// SPDX-License-Identifier: MIT
//
// Idle subflows are probed, if that was asked for, so that a path that died in a pause is known before a request meets it. When which of them
// is probed is probe_plan.hpp's affair.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "attach/probe_plan.hpp"
#include "base/fd.hpp"
#include "mpsched/error.hpp"
#include "mpsched/instance.hpp"
#include "pins/contract.hpp"

namespace mps {

class IdleProbes {
  public:
    // 0: nothing is probed.
    [[nodiscard]] static Result<IdleProbes> start(std::uint32_t idle_s);

    // Readable once a second, when it is time for look(); -1 if nothing is probed.
    [[nodiscard]] int fd() const { return timer_.get(); }
    [[nodiscard]] bool is_due() const;
    // True: some subflows are silent, or answer again.
    [[nodiscard]] Result<bool> look(const Pins &pins, const InstallationPaths &paths);
    // Subflows that went silent at the last look.
    [[nodiscard]] const std::vector<ProbeOrder> &silent() const { return silent_; }
    [[nodiscard]] bool has_news() const { return !news_.empty(); }
    [[nodiscard]] std::vector<PathEvent> news() { return std::exchange(news_, {}); }

  private:
    explicit IdleProbes(std::uint32_t idle_s) : plan_(idle_s) {}

    [[nodiscard]] Result<void> load(const Pins &pins, const InstallationPaths &paths);
    [[nodiscard]] Result<std::vector<mps_probe_row>> run(std::vector<ProbeOrder> orders) const;
    void tell(const std::vector<ProbeOrder> &orders);

    ProbePlan plan_;
    Fd timer_{};
    Fd program_{}, orders_{};
    std::uint32_t conns_id_ = 0; // of the map: another one is another installation's
    std::vector<ProbeOrder> silent_{};
    std::vector<PathEvent> news_{};
};

// Every socket is as it was before, and nothing is silent for want of an answer; also after one that was killed.
[[nodiscard]] Result<void> end_probes(const InstallationPaths &paths);

} // namespace mps
