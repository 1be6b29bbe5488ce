// SPDX-License-Identifier: MIT
//
// What a rule may say. Pure: nothing here looks at the kernel.
#include "mpsched/option_rules.hpp"

#include <algorithm>
#include <array>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/numbers.hpp"
#include "base/try.hpp"
#include "common/prefix.hpp"
#include "mpsched/nearest.hpp"
#include "mpsched/option_rule_words.hpp"

namespace mps {

namespace {

using Words = std::span<const OptionRuleWord>;

constexpr auto &directions = option_rule_directions;
constexpr auto &options = option_rule_options;
constexpr auto &actions = option_rule_actions;
constexpr auto &matches = option_rule_matches;
constexpr auto &states = option_rule_states;

// An action and the options that it is for, with the states in which they can be changed.
struct Fit {
    std::string_view option, action;
    std::string_view states; // "" any
};
constexpr std::string_view handshake = "syn,synack";
constexpr std::string_view established = "established";
constexpr std::array fits{
    Fit{"mp_capable", "refuse", handshake},      Fit{"mp_join", "neutralise", handshake},
    Fit{"mp_join", "set-backup", handshake},     Fit{"mp_join", "clear-backup", handshake},
    Fit{"add_addr", "neutralise", established},  Fit{"remove_addr", "neutralise", established},
    Fit{"mp_prio", "neutralise", established},   Fit{"mp_prio", "set-backup", established},
    Fit{"mp_prio", "clear-backup", established}, Fit{"mp_tcprst", "neutralise", established},
};

// Why an option can only be allowed.
constexpr std::array untouchable{
    OptionRuleWord{
        "dss",
        "without it data has no place in the connection, and the peer falls back or resets the subflow"},
    OptionRuleWord{"mp_fail",
                   "who sent it has fallen back already, and resets the subflow unless it is answered"},
    OptionRuleWord{"mp_fastclose",
                   "the connection has ended for who sent it, and the peer would wait for it in vain"},
};

std::vector<std::string> names(Words words) {
    std::vector<std::string> all;
    for (const OptionRuleWord &one : words)
        all.emplace_back(one.word);
    return all;
}

Result<void> check_word(std::string_view what, std::string_view word, Words words) {
    if (std::ranges::any_of(words, [&](const OptionRuleWord &one) { return one.word == word; }))
        return {};
    const auto all = names(words);
    return fail(ErrorCode::usage, fmt::format("'{}' is no {}", word, what),
                fmt::format("{}there are: {}", did_you_mean(word, all), fmt::join(all, ", ")));
}

// Sorted, each once; "" for all of them.
Result<std::string> parse_states(std::string_view text) {
    std::array<bool, states.size()> found{};
    for (std::size_t at = 0; at <= text.size();) {
        const std::size_t comma = std::min(text.find(',', at), text.size());
        const auto word = std::ranges::find(states, text.substr(at, comma - at));
        if (word == states.end())
            return fail(ErrorCode::usage, fmt::format("'{}' is no state", text.substr(at, comma - at)),
                        fmt::format("state is one of {}, or several with commas", fmt::join(states, ", ")));
        found[static_cast<std::size_t>(word - states.begin())] = true;
        at = comma + 1;
    }
    std::vector<std::string_view> all;
    for (std::size_t i = 0; i < states.size(); i++)
        if (found[i])
            all.push_back(states[i]);
    return all.size() == states.size() ? std::string() : fmt::format("{}", fmt::join(all, ","));
}

Result<std::uint16_t> parse_rule_port(std::string_view key, std::string_view text) {
    const auto port = parse_unsigned(text);
    if (!port || *port < 1 || *port > 65535)
        return fail(ErrorCode::usage, fmt::format("{}={}: '{}' is no port", key, text, text), "1 to 65535");
    return static_cast<std::uint16_t>(*port);
}

Result<std::uint16_t> parse_above(std::string_view text) {
    const auto joins = parse_unsigned(text);
    if (!joins || *joins > option_rule_most_joins)
        return fail(ErrorCode::usage, fmt::format("above={}: '{}' is no number of joins", text, text),
                    fmt::format("0 to {}", option_rule_most_joins));
    return static_cast<std::uint16_t>(*joins);
}

Result<void> set_match(OptionRule &rule, const Setting &match) {
    MPS_TRY(check_word("match of a rule", match.key, matches));
    if (match.key == "state") {
        auto parsed = parse_states(match.value);
        MPS_TRY(parsed);
        rule.state = std::move(*parsed);
        return {};
    }
    if (match.key == "lport" || match.key == "rport") {
        const auto port = parse_rule_port(match.key, match.value);
        MPS_TRY(port);
        (match.key == "lport" ? rule.local_port : rule.remote_port) = *port;
        return {};
    }
    if (match.key == "above") {
        const auto joins = parse_above(match.value);
        MPS_TRY(joins);
        rule.above = *joins;
        return {};
    }
    const auto prefix = parse_prefix(match.value);
    if (!prefix)
        return fail(ErrorCode::usage, fmt::format("{}={}: {}", match.key, match.value, prefix.error().what),
                    prefix.error().hint);
    std::string &place = match.key == "local"    ? rule.local
                         : match.key == "remote" ? rule.remote
                                                 : rule.address;
    place = prefix->text();
    return {};
}

bool is_v6(std::string_view prefix) { return prefix.find(':') != prefix.npos; }

const Fit *find_fit(const OptionRule &rule) {
    const auto fit = std::ranges::find_if(
        fits, [&](const Fit &one) { return one.option == rule.option && one.action == rule.action; });
    return fit == fits.end() ? nullptr : &*fit;
}

std::vector<std::string_view> actions_for(std::string_view option) {
    std::vector<std::string_view> all{"allow"};
    for (const Fit &one : fits)
        if (one.option == option)
            all.push_back(one.action);
    return all;
}

Result<void> check_action(const OptionRule &rule) {
    if (rule.action == "allow" || find_fit(rule))
        return {};
    const auto why =
        std::ranges::find_if(untouchable, [&](const OptionRuleWord &one) { return one.word == rule.option; });
    const std::string what = fmt::format("'{}' is no action for {}", rule.action, rule.option);
    return fail(ErrorCode::usage, why == untouchable.end() ? what : fmt::format("{}: {}", what, why->text),
                fmt::format("for {} there is: {}", rule.option, fmt::join(actions_for(rule.option), ", ")));
}

bool has_state(std::string_view set, std::string_view one) {
    for (std::size_t at = 0; at <= set.size();) {
        const std::size_t comma = std::min(set.find(',', at), set.size());
        if (set.substr(at, comma - at) == one)
            return true;
        at = comma + 1;
    }
    return set.empty();
}

// In which packets does the option stand at all?
std::string_view states_of(std::string_view option) {
    if (option == "mp_capable" || option == "mp_join")
        return "";
    return established;
}

Result<void> check_states(const OptionRule &rule) {
    const Fit *fit = find_fit(rule);
    const std::string_view possible = fit ? fit->states : states_of(rule.option);
    for (const std::string_view one : states) {
        if (rule.state.empty() || !has_state(rule.state, one) || has_state(possible, one))
            continue;
        return fail(ErrorCode::usage,
                    fit && states_of(rule.option).empty()
                        ? fmt::format("'{}' of {} is for its handshake, not for state={}", rule.action,
                                      rule.option, one)
                        : fmt::format("no {} is in a packet with state={}", rule.option, one),
                    fmt::format("possible: state={}", possible));
    }
    return {};
}

Result<void> check_together(const OptionRule &rule) {
    MPS_TRY(check_action(rule));
    MPS_TRY(check_states(rule));
    if (!rule.address.empty() && rule.option != "add_addr")
        return fail(ErrorCode::usage, fmt::format("address= is for add_addr: {} announces none", rule.option),
                    "local= and remote= are the connection's own addresses");
    if (rule.above && (rule.option != "mp_join" || (!rule.state.empty() && rule.state != "syn")))
        return fail(
            ErrorCode::usage,
            rule.option == "mp_join"
                ? fmt::format("joins are counted by their SYNs, not by packets with state={}", rule.state)
                : fmt::format("above= is for mp_join: {} adds no subflow", rule.option),
            "mp_join neutralise above=2 refuses a connection's third join and those after it");
    if (!rule.local.empty() && !rule.remote.empty() && is_v6(rule.local) != is_v6(rule.remote))
        return fail(ErrorCode::usage,
                    fmt::format("no packet has local={} and remote={}", rule.local, rule.remote),
                    "both are IPv4, or both IPv6");
    return {};
}

// ---- overlaps

// Which states the rule is about, spelt out.
std::string effective_states(const OptionRule &rule) {
    if (!rule.state.empty())
        return rule.state;
    if (rule.above)
        return "syn";
    const Fit *fit = find_fit(rule);
    return std::string(fit ? fit->states : states_of(rule.option));
}

bool states_meet(const OptionRule &a, const OptionRule &b) {
    const std::string first = effective_states(a), second = effective_states(b);
    return std::ranges::any_of(
        states, [&](std::string_view one) { return has_state(first, one) && has_state(second, one); });
}

bool states_cover(const OptionRule &outer, const OptionRule &inner) {
    const std::string first = effective_states(outer), second = effective_states(inner);
    return std::ranges::all_of(
        states, [&](std::string_view one) { return has_state(first, one) || !has_state(second, one); });
}

bool covers(const std::string &outer, const std::string &inner) {
    if (outer.empty())
        return true;
    if (inner.empty())
        return false;
    const auto a = parse_prefix(outer), b = parse_prefix(inner);
    return a && b && a->covers(*b);
}

bool meets(const std::string &a, const std::string &b) { return covers(a, b) || covers(b, a); }

bool port_covers(std::uint16_t outer, std::uint16_t inner) { return !outer || outer == inner; }
bool ports_meet(std::uint16_t a, std::uint16_t b) { return port_covers(a, b) || port_covers(b, a); }

// Any number of joins is above some other, so that two such rules always meet.
bool joins_cover(const OptionRule &outer, const OptionRule &inner) {
    return !outer.above || (inner.above && *outer.above <= *inner.above);
}

// Addresses of both families at once are in no packet.
bool families_meet(const OptionRule &a, const OptionRule &b) {
    const auto family = [](const OptionRule &rule) {
        const std::string &one = rule.local.empty() ? rule.remote : rule.local;
        return one.empty() ? 0 : is_v6(one) ? 6 : 4;
    };
    return !family(a) || !family(b) || family(a) == family(b);
}

} // namespace

Result<OptionRule> make_option_rule(std::string_view interface, std::string_view direction,
                                    std::string_view option, std::string_view action,
                                    const std::vector<Setting> &given) {
    // As the kernel does: dev_valid_name(), net/core/dev.c.
    if (interface.empty() || interface.size() >= 16 || interface == "." || interface == ".." ||
        interface.find_first_of("/: \t\n\v\f\r") != interface.npos)
        return fail(ErrorCode::usage, fmt::format("no interface can have the name '{}'", interface),
                    "'ip link' lists them");
    MPS_TRY(check_word("direction", direction, directions));
    MPS_TRY(check_word("MPTCP option", option, options));
    MPS_TRY(check_word("action", action, actions));
    OptionRule rule{.interface = std::string(interface),
                    .direction = std::string(direction),
                    .option = std::string(option),
                    .action = std::string(action)};
    for (std::size_t i = 0; i < given.size(); i++) {
        for (std::size_t k = 0; k < i; k++)
            if (given[k].key == given[i].key)
                return fail(ErrorCode::usage, fmt::format("'{}' is given twice", given[i].key), "each once");
        MPS_TRY(set_match(rule, given[i]));
    }
    MPS_TRY(check_together(rule));
    return rule;
}

std::string option_rule_text(const OptionRule &rule) {
    std::string text = fmt::format("{} {} {} {}", rule.interface, rule.direction, rule.option, rule.action);
    const auto add = [&](std::string_view key, const std::string &value) {
        if (!value.empty())
            text += fmt::format(" {}={}", key, value);
    };
    const auto port = [](std::uint16_t number) { return number ? fmt::to_string(number) : std::string(); };
    add("state", rule.state);
    add("local", rule.local);
    add("lport", port(rule.local_port));
    add("remote", rule.remote);
    add("rport", port(rule.remote_port));
    add("address", rule.address);
    add("above", rule.above ? fmt::to_string(*rule.above) : std::string());
    return text;
}

std::vector<OptionRuleOverlap> option_rule_overlaps(std::span<const OptionRule> rules) {
    std::vector<OptionRuleOverlap> all;
    for (std::size_t later = 0; later < rules.size(); later++) {
        for (std::size_t earlier = 0; earlier < later; earlier++) {
            const OptionRule &a = rules[earlier], &b = rules[later];
            if (a.interface != b.interface || a.direction != b.direction || a.option != b.option ||
                !states_meet(a, b) || !meets(a.local, b.local) || !meets(a.remote, b.remote) ||
                !meets(a.address, b.address) || !ports_meet(a.local_port, b.local_port) ||
                !ports_meet(a.remote_port, b.remote_port) || !families_meet(a, b))
                continue;
            all.push_back({.earlier = earlier,
                           .later = later,
                           .hidden = states_cover(a, b) && covers(a.local, b.local) &&
                                     covers(a.remote, b.remote) && covers(a.address, b.address) &&
                                     joins_cover(a, b) && port_covers(a.local_port, b.local_port) &&
                                     port_covers(a.remote_port, b.remote_port)});
        }
    }
    return all;
}

std::string overlap_text(const OptionRuleOverlap &overlap) {
    const std::size_t earlier = overlap.earlier + 1, later = overlap.later + 1;
    if (overlap.hidden)
        return fmt::format("rule {} never matches: rule {} comes first and matches all that it does", later,
                           earlier);
    return fmt::format("rules {} and {} overlap: what both match, rule {} decides", earlier, later, earlier);
}

} // namespace mps
