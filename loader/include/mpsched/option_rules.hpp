// SPDX-License-Identifier: MIT
//
// Rules about MPTCP options on an interface, in one direction: what `mpsched rule` sets. docs/option-rules.md tells what each does.
// Of the rules that match an option the first decides; an option that none matches passes as it is.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "mpsched/error.hpp"
#include "mpsched/params.hpp"

namespace mps {

// As make_option_rule() makes it, of the words in option_rule_words.hpp; an empty text or number matches anything.
struct OptionRule {
    std::string interface{};
    std::string direction{};      // "in", "out"
    std::string option{};         // "mp_join"
    std::string action{};         // "neutralise"
    std::string state{};          // "syn", "synack", "established", or two of them with a comma
    std::string local{};          // "192.0.2.0/24"
    std::string remote{};         //
    std::string address{};        // announced by ADD_ADDR
    std::uint16_t local_port = 0; // 0: any
    std::uint16_t remote_port = 0;
    // Only the SYNs of joins beyond the first so many of a connection, which are counted by their nonces.
    std::optional<std::uint16_t> above{};

    friend bool operator==(const OptionRule &, const OptionRule &) = default;
};

// Every mistake, also one in how the parts go together, is a usage error that tells what is allowed. The interface need not
// be there.
[[nodiscard]] MPS_API Result<OptionRule> make_option_rule(std::string_view interface,
                                                          std::string_view direction, std::string_view option,
                                                          std::string_view action,
                                                          const std::vector<Setting> &matches);

// "lte0 in mp_join neutralise remote=192.0.2.0/24": the words of `mpsched rule add`.
[[nodiscard]] MPS_API std::string option_rule_text(const OptionRule &rule);

// Two rules that may match the same option; their places count from 0. The earlier one decides.
struct OptionRuleOverlap {
    std::size_t earlier = 0, later = 0;
    bool hidden = false; // the later one never matches: the earlier one matches all that it does
};
[[nodiscard]] MPS_API std::vector<OptionRuleOverlap> option_rule_overlaps(std::span<const OptionRule> rules);
// "rule 2 never matches: rule 1 comes first and matches all that it does"
[[nodiscard]] MPS_API std::string overlap_text(const OptionRuleOverlap &overlap);

struct OptionRuleStatus {
    OptionRule rule{};
    // Options that it decided on, that it changed, and that it could not change and left as they were. Since the rule was added.
    std::uint64_t matched = 0, changed = 0, failed = 0;
    std::string problem{}; // "" or why it does nothing now
};

struct OptionRulesResult {
    std::vector<OptionRule> added{}, removed{};
    std::vector<OptionRule> rules{};     // all there are now, in their order
    std::vector<std::string> warnings{}; // overlaps, and what has no effect now
};

} // namespace mps
