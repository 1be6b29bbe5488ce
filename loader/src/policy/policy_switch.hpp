// SPDX-License-Identifier: MIT
//
// What `use` and `policy load --replace` have in common: a policy gets into a slot, other builds of it give way to it, and
// one write to the kernel makes all of it count.
#pragma once

#include <mps/abi.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "instance_impl.hpp"
#include "mpsched/error.hpp"
#include "policy/policy_source.hpp"
#include "policy/rules.hpp"

namespace mps {

[[nodiscard]] std::vector<Param> values_of(const std::vector<ParamSpec> &specs);

// Settings of the engine apart from those of the policy; the engine's are checked.
struct SplitSettings {
    std::vector<Setting> policy;
    std::optional<std::uint32_t> dwell_us;
};
[[nodiscard]] Result<SplitSettings> split(const std::vector<Setting> &settings);
// The engine's settings hold for all connections: an error, with the right command, where they stand beside something that
// is said of some only. `beside` is "--for".
[[nodiscard]] std::optional<Error> refuse_engine(const SplitSettings &settings, std::string_view beside);

// Sets live parameters and reads them back.
[[nodiscard]] Result<void> set_live(LivePolicy &policy, const std::vector<CheckedSetting> &settings);

// Sets the parameters of an opened policy and puts it into a slot.
[[nodiscard]] Result<std::uint32_t> load_into_slot(Session &session, OpenedPolicy &opened,
                                                   const std::vector<Setting> &settings);

// What a command is about: the default policy, the rule with this index, or neither.
struct Referrer {
    bool is_default = false;
    bool is_rx_default = false;
    std::optional<std::uint32_t> rule{};

    [[nodiscard]] SlotUse without(SlotUse use) const;
};

// For each slot that others than `own` use and that holds the same policy made from another object: a slot that holds this one, with the parameters that
// had been changed there, as far as it has them; what it has not is told in `warnings`.
[[nodiscard]] Result<std::map<std::uint32_t, std::uint32_t>> replacements(Session &session,
                                                                          const OpenedPolicy &opened,
                                                                          const Referrer &own,
                                                                          std::vector<std::string> &warnings);

// "the default policy", "the rule rport=443" …: who refers to this slot, but for `own`.
[[nodiscard]] Result<std::vector<std::string>> referrers(Session &session, std::uint32_t slot,
                                                         const Referrer &own);

// Keeps a filled slot although nobody may refer to it, until `policy unload`.
[[nodiscard]] Result<void> keep_slot(Session &session, std::uint32_t number);

struct Switch {
    std::map<std::uint32_t, std::uint32_t> replaced{}; // who refers to the first shall refer to the second
    std::optional<std::uint32_t> default_slot{};
    std::optional<std::uint32_t> rx_slot{}; // the default for what peers send
    std::optional<mps_rule> rule{};
    std::optional<std::uint32_t> place{}; // of the rule; see RuleTable::place
    std::optional<std::uint32_t> dwell_us{};
    bool new_only = false;
};
// Everything but the last write changes nothing for any connection. Empties slots that nobody refers to any more, on failure
// as well.
[[nodiscard]] Result<void> perform(Session &session, const Switch &change,
                                   std::vector<std::string> &warnings);

} // namespace mps
