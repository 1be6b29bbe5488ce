// SPDX-License-Identifier: MIT
//
// The words of a rule about MPTCP options. The one place: the loader checks by it, help, completion and error texts are made from it.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace mps {

struct OptionRuleWord {
    std::string_view word;
    std::string_view text;
};

inline constexpr std::array option_rule_directions{
    OptionRuleWord{"in", "packets that arrive on the interface"},
    OptionRuleWord{"out", "packets that leave by it"},
};

inline constexpr std::array option_rule_options{
    OptionRuleWord{"mp_capable", "MP_CAPABLE, which begins a connection"},
    OptionRuleWord{"mp_join", "MP_JOIN, which adds a subflow"},
    OptionRuleWord{"dss", "DSS, the connection's data"},
    OptionRuleWord{"add_addr", "ADD_ADDR, which announces an address, and its echo"},
    OptionRuleWord{"remove_addr", "REMOVE_ADDR, which takes addresses back"},
    OptionRuleWord{"mp_prio", "MP_PRIO, the wish that a subflow be a backup or no longer"},
    OptionRuleWord{"mp_fail", "MP_FAIL, a wrong checksum of data"},
    OptionRuleWord{"mp_fastclose", "MP_FASTCLOSE, which ends a connection at once"},
    OptionRuleWord{"mp_tcprst", "MP_TCPRST, why a subflow is reset"},
};

inline constexpr std::array option_rule_actions{
    OptionRuleWord{"allow",
                   "the option passes as it is, and is counted; rules behind this one do not see it"},
    OptionRuleWord{"neutralise", "the option is made ineffective: mp_join, add_addr, remove_addr, mp_prio, "
                                 "mp_tcprst; a subflow that asks to join is refused"},
    OptionRuleWord{"refuse", "mp_capable: the connection is plain TCP, for both hosts"},
    OptionRuleWord{"set-backup", "mp_join, mp_prio: the subflow is to be a backup"},
    OptionRuleWord{"clear-backup", "mp_join, mp_prio: the subflow is not to be a backup"},
};

inline constexpr std::array option_rule_matches{
    OptionRuleWord{
        "state",
        "which packet of a connection: syn, synack, established (any other), or several with commas"},
    OptionRuleWord{"local", "this host's address: 192.0.2.0/24, 2001:db8::1"},
    OptionRuleWord{"remote", "the peer's address"},
    OptionRuleWord{"lport", "this host's port"},
    OptionRuleWord{"rport", "the peer's port"},
    OptionRuleWord{"address", "add_addr: the address that is announced"},
    OptionRuleWord{"above",
                   "mp_join: only in the SYNs of joins beyond the first so many of a connection (0 to 16)"},
};

inline constexpr std::array<std::string_view, 3> option_rule_states{"syn", "synack", "established"};

// The most that `above` may say.
inline constexpr std::uint16_t option_rule_most_joins = 16;

} // namespace mps
