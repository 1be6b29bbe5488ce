// SPDX-License-Identifier: MIT
//
// Where the programs of option rules stand: at TC ingress and egress, before the data path, so that what they take away it does not
// see, and what it writes they leave alone.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernel/netlink.hpp"
#include "mpsched/error.hpp"
#include "pins/pins.hpp"

namespace mps {

struct RuleHook {
    std::uint32_t ifindex = 0;
    bool out = false;

    friend auto operator<=>(const RuleHook &, const RuleHook &) = default;
};

// Of the program that is there; 0: none of ours.
[[nodiscard]] Result<std::uint32_t> rule_program_at(const InstallationPaths &paths, const RuleHook &hook);
// Puts it there, or in front again where the data path's filter has come before it.
[[nodiscard]] Result<void> put_rule_program(const InstallationPaths &paths, const NetDevice &device, bool out,
                                            int program, bool tcx);
[[nodiscard]] Result<void> remove_rule_program(const InstallationPaths &paths, const RuleHook &hook);
// All that have a pin or a filter of ours; also of interfaces that are gone.
[[nodiscard]] Result<std::vector<RuleHook>> rule_hooks(const InstallationPaths &paths);

} // namespace mps
