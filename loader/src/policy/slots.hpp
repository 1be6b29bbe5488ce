// SPDX-License-Identifier: MIT
//
// Policy slots: what is loaded where, who refers to it, filling and emptying.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "mpsched/error.hpp"
#include "pins/contract.hpp"
#include "pins/live_config.hpp"
#include "pins/pins.hpp"
#include "policy/policy_object.hpp"
#include "policy/policy_origin.hpp"

namespace mps {

// Who refers to a slot. Connections count if they would use it again: those that choose anew at their next
// packet do not.
struct SlotUse {
    bool is_default = false;            // for what this host sends
    bool is_rx_default = false;         // for what peers send
    std::vector<std::uint32_t> rules{}; // indices
    std::uint32_t connections = 0;
    bool kept = false;
    std::vector<std::string> apps{}; // cgroups whose applications may choose it

    [[nodiscard]] bool referred() const {
        return is_default || is_rx_default || !rules.empty() || connections || kept || !apps.empty();
    }
};

struct Slot {
    std::uint32_t number = 0;
    // A program that is no policy of this ABI in a slot is reported, not hidden: then there is no policy, but
    // an error.
    std::optional<LivePolicy> policy{};
    std::string trouble{};
    std::optional<PolicyOrigin> origin{}; // not known: nothing is taken for the same
    Variants held{};
    Variants lacking{}; // that the data path can call: see fill_in()
};

class Slots {
  public:
    Slots(const InstallationPaths &paths, const Pins &pins) : paths_(paths), pins_(pins) {}

    // Slots that hold anything, by number.
    [[nodiscard]] Result<std::vector<Slot>> read() const;
    // For every slot number.
    [[nodiscard]] Result<std::map<std::uint32_t, SlotUse>> uses() const;
    [[nodiscard]] Result<std::vector<mps_rule>> rules() const;

    // Puts a loaded policy into a free slot, or finds the slot that holds the very same (object, parameters).
    [[nodiscard]] Result<std::uint32_t> fill(const LoadedPolicy &loaded, const PolicyOrigin &origin);
    // Puts the programs that a slot lacks beside the one that it holds.
    [[nodiscard]] Result<void> fill_in(std::uint32_t slot, const LoadedPolicy &loaded);
    [[nodiscard]] Result<void> clear(std::uint32_t slot);
    // Empties slots that nobody refers to. Packets that are being handled now still find theirs.
    [[nodiscard]] Result<void> collect();

  private:
    const InstallationPaths &paths_;
    const Pins &pins_;
};

// Returns when every BPF program that was running at the call has ended.
void wait_for_running_programs();

} // namespace mps
