// SPDX-License-Identifier: MIT
#include "options/option_table.hpp"

#include <mps/mptcp_options.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <set>

#include <fmt/format.h>

#include "common/prefix.hpp"
#include "mpsched/option_rule_words.hpp"

namespace mps {

namespace {

struct Number {
    std::string_view word;
    std::uint8_t number;
};
constexpr std::array subtypes{
    Number{"mp_capable", MPTCP_SUB_MP_CAPABLE},
    Number{"mp_join", MPTCP_SUB_MP_JOIN},
    Number{"dss", MPTCP_SUB_DSS},
    Number{"add_addr", MPTCP_SUB_ADD_ADDR},
    Number{"remove_addr", MPTCP_SUB_REMOVE_ADDR},
    Number{"mp_prio", MPTCP_SUB_MP_PRIO},
    Number{"mp_fail", MPTCP_SUB_MP_FAIL},
    Number{"mp_fastclose", MPTCP_SUB_MP_FASTCLOSE},
    Number{"mp_tcprst", MPTCP_SUB_MP_TCPRST},
};
constexpr std::array actions{
    Number{"allow", MPS_OPTION_ALLOW},
    Number{"neutralise", MPS_OPTION_NEUTRALISE},
    Number{"refuse", MPS_OPTION_REFUSE},
    Number{"set-backup", MPS_OPTION_SET_BACKUP},
    Number{"clear-backup", MPS_OPTION_CLEAR_BACKUP},
};
constexpr std::array states{
    Number{"syn", MPS_OPTION_SYN},
    Number{"synack", MPS_OPTION_SYNACK},
    Number{"established", MPS_OPTION_ESTABLISHED},
};

std::uint8_t number_of(std::span<const Number> all, std::string_view word) {
    const auto one = std::ranges::find(all, word, &Number::word);
    return one == all.end() ? 0 : one->number;
}

std::string word_of(std::span<const Number> all, std::uint8_t number) {
    const auto one = std::ranges::find(all, number, &Number::number);
    return one == all.end() ? fmt::to_string(number) : std::string(one->word);
}

static_assert(option_rule_most_joins == MPS_OPTION_JOINS);

constexpr std::uint8_t all_states = MPS_OPTION_SYN | MPS_OPTION_SYNACK | MPS_OPTION_ESTABLISHED;
constexpr std::uint8_t handshake = MPS_OPTION_SYN | MPS_OPTION_SYNACK;

// What changes an option of a handshake must leave alone what else bears it: the third packet of a join has no B bit.
std::uint8_t possible_states(const OptionRule &rule) {
    const bool in_handshake = rule.option == "mp_capable" || rule.option == "mp_join";
    return in_handshake && rule.action != "allow" ? handshake : all_states;
}

std::uint8_t states_of(const OptionRule &rule) {
    if (rule.above)
        return MPS_OPTION_SYN;
    if (rule.state.empty())
        return possible_states(rule);
    std::uint8_t set = 0;
    for (std::size_t at = 0; at <= rule.state.size();) {
        const std::size_t comma = std::min(rule.state.find(',', at), rule.state.size());
        set = static_cast<std::uint8_t>(set | number_of(states, rule.state.substr(at, comma - at)));
        at = comma + 1;
    }
    return set;
}

std::string state_text(const OptionRule &rule, std::uint8_t set) {
    if (set == possible_states(rule) || rule.above)
        return {};
    std::string text;
    for (const Number &one : states)
        if (set & one.number)
            text += fmt::format("{}{}", text.empty() ? "" : ",", one.word);
    return text;
}

void put_prefix(mps_option_prefix &to, const std::string &text) {
    const auto prefix = text.empty() ? std::unexpected(Error{}) : parse_prefix(text);
    if (!prefix)
        return;
    const auto mask = prefix->mask();
    std::memcpy(to.address, prefix->address.data(), sizeof to.address);
    std::memcpy(to.mask, mask.data(), sizeof to.mask);
    to.family = prefix->family;
    to.bits = prefix->bits;
}

std::string prefix_text(const mps_option_prefix &from) {
    if (!from.family)
        return {};
    Prefix prefix{.family = from.family, .bits = from.bits};
    std::memcpy(prefix.address.data(), from.address, sizeof from.address);
    return prefix.text();
}

mps_option_rule abi_of(const PlacedRule &placed, const std::map<std::string, std::uint32_t> &ifindexes) {
    const OptionRule &rule = placed.rule;
    mps_option_rule one{};
    const auto there = ifindexes.find(rule.interface);
    one.ifindex = there == ifindexes.end() ? 0 : there->second;
    one.direction = rule.direction == "out" ? MPS_OPTION_OUT : MPS_OPTION_IN;
    one.subtype = number_of(subtypes, rule.option);
    one.states = states_of(rule);
    one.action = number_of(actions, rule.action);
    one.local_port = rule.local_port;
    one.remote_port = rule.remote_port;
    one.joins = static_cast<std::uint16_t>(rule.above ? *rule.above + 1 : 0);
    one.hits = static_cast<std::uint16_t>(placed.hits);
    put_prefix(one.local, rule.local);
    put_prefix(one.remote, rule.remote);
    put_prefix(one.announced, rule.address);
    rule.interface.copy(one.ifname, sizeof one.ifname - 1);
    return one;
}

PlacedRule rule_of(const mps_option_rule &one) {
    OptionRule rule{.interface = std::string(one.ifname, ::strnlen(one.ifname, sizeof one.ifname)),
                    .direction = one.direction == MPS_OPTION_OUT ? "out" : "in",
                    .option = word_of(subtypes, one.subtype),
                    .action = word_of(actions, one.action),
                    .local = prefix_text(one.local),
                    .remote = prefix_text(one.remote),
                    .address = prefix_text(one.announced),
                    .local_port = one.local_port,
                    .remote_port = one.remote_port};
    if (one.joins)
        rule.above = static_cast<std::uint16_t>(one.joins - 1);
    rule.state = state_text(rule, one.states);
    return {std::move(rule), one.hits};
}

} // namespace

Result<mps_option_table> table_of(const std::vector<PlacedRule> &rules,
                                  const std::map<std::string, std::uint32_t> &ifindexes) {
    mps_option_table table{};
    if (rules.size() > MPS_MAX_OPTION_RULES)
        return fail(
            ErrorKind::full,
            fmt::format("{} rules are too many, there is room for {}", rules.size(), MPS_MAX_OPTION_RULES),
            "a shorter prefix or fewer ports may say the same with fewer rules");
    for (const PlacedRule &placed : rules) {
        mps_option_rule &one = table.rule[table.nr++];
        one = abi_of(placed, ifindexes);
        table.subtypes[one.direction] |= 1u << one.subtype;
        table.counts_joins |= one.joins != 0;
    }
    return table;
}

std::vector<PlacedRule> rules_of(const mps_option_table &table) {
    std::vector<PlacedRule> rules;
    for (std::uint32_t i = 0; i < std::min<std::uint32_t>(table.nr, MPS_MAX_OPTION_RULES); i++)
        rules.push_back(rule_of(table.rule[i]));
    return rules;
}

std::vector<PlacedRule> place_rules(const std::vector<OptionRule> &rules,
                                    const std::vector<PlacedRule> &before,
                                    std::vector<std::uint32_t> &fresh) {
    std::vector<PlacedRule> placed;
    std::set<std::uint32_t> taken;
    for (const OptionRule &rule : rules) {
        const auto old = std::ranges::find_if(
            before, [&](const PlacedRule &one) { return one.rule == rule && !taken.contains(one.hits); });
        placed.push_back({rule, old == before.end() ? UINT32_MAX : old->hits});
        if (old != before.end())
            taken.insert(old->hits);
    }
    std::uint32_t next = 0;
    for (PlacedRule &one : placed) {
        if (one.hits != UINT32_MAX)
            continue;
        while (taken.contains(next))
            next++;
        one.hits = next;
        taken.insert(next);
        fresh.push_back(next);
    }
    return placed;
}

} // namespace mps
