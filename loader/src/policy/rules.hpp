// SPDX-License-Identifier: MIT
//
// The rules of `use --for`, in the order in which the data path tries them.
#pragma once

#include <mps/abi.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "instance_impl.hpp"
#include "mpsched/error.hpp"
#include "mpsched/instance.hpp"

namespace mps {

// Edits the rules while packets are matched against them: whatever the moment, each rule that is to stay is there, and in
// its order; one that moves may be there twice for a moment, and then the first counts. Connections look at the rules when
// they are first seen and when the rule epoch changes, which is left to the caller.
class RuleTable {
  public:
    [[nodiscard]] static Result<RuleTable> open(Session &session);

    [[nodiscard]] const std::vector<mps_rule> &rules() const { return rules_; }
    [[nodiscard]] std::optional<std::uint32_t> find(const mps_rule &selector) const;

    // In the place of one with the same selector or behind the last, or at `index` if that is given. The rule that is new at
    // the end is not yet looked at: that takes nr_rules, which the caller writes with the rule epoch.
    [[nodiscard]] Result<void> place(const mps_rule &rule, std::optional<std::uint32_t> index);
    [[nodiscard]] Result<void> set_slots(std::uint32_t index, std::uint32_t slot, std::uint32_t rx_slot);
    [[nodiscard]] Result<void> erase(std::uint32_t index);
    [[nodiscard]] Result<void> clear();

  private:
    RuleTable(Session &session, std::vector<mps_rule> rules) : session_(&session), rules_(std::move(rules)) {}
    [[nodiscard]] Result<void> write(std::uint32_t index, const mps_rule &rule);
    [[nodiscard]] Result<void> insert(std::uint32_t index, const mps_rule &rule);
    [[nodiscard]] Result<void> set_count(std::uint32_t count);

    Session *session_;
    std::vector<mps_rule> rules_;
};

// Whether anything decides about what peers send is written beside the rules: MPS_CONFIG_RX.
void note_rx(mps_config &config, const std::vector<mps_rule> &rules);

// Which place --before and --position mean among these rules; nullopt: neither was said. A usage error where there is none.
[[nodiscard]] Result<std::optional<std::uint32_t>> wanted_place(const UseRequest &request,
                                                                const RuleTable &table);

// "there is no rule for 'rport=1'", with those that there are.
[[nodiscard]] std::unexpected<Error> no_such_rule(const std::string &selector,
                                                  const std::vector<mps_rule> &rules);

} // namespace mps
