// SPDX-License-Identifier: MIT
#include <algorithm>
#include <chrono>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/try.hpp"
#include "instance_impl.hpp"
#include "policy/hosts.hpp"
#include "policy/policy_switch.hpp"
#include "policy/selector.hpp"

namespace mps {

namespace {

// The slot a `use` is to switch to, with everything made ready.
struct Prepared {
    std::uint32_t slot = MPS_SLOT_NONE;
    std::string name = std::string(pass_through);
    std::vector<Param> params{};
    std::map<std::uint32_t, std::uint32_t> replaced{};
    bool rx = false; // it can decide about what peers send
};

// Of several slots that hold a policy: the one that the switch would leave where it is, else the one loaded last. Programs
// are numbered in the order in which they are loaded.
Slot *choose_slot(std::vector<Slot> &slots, const std::string &policy, const std::vector<std::uint32_t> *only,
                  std::uint32_t present) {
    Slot *chosen = nullptr;
    for (Slot &slot : slots) {
        if (!slot.policy || slot.policy->header.name != policy ||
            (only && !std::binary_search(only->begin(), only->end(), slot.number)))
            continue;
        if (slot.number == present)
            return &slot;
        if (!chosen || slot.policy->prog_id > chosen->policy->prog_id)
            chosen = &slot;
    }
    return chosen;
}

// A policy that is loaded already is used as it is.
Result<Prepared> take_loaded(Session &session, Slot &slot, const Referrer &own,
                             const std::vector<Setting> &settings, std::vector<std::string> &warnings) {
    const std::string &name = slot.policy->header.name;
    const auto checked = check_settings(name, slot.policy->params, settings);
    MPS_TRY(checked);
    if (slot.origin) {
        if (const std::string now = file_now(*slot.origin); now == "changed")
            warnings.push_back(fmt::format("'{0}' is used as it was loaded, but {1} has changed since: "
                                           "'mpsched use {1}' takes the new one",
                                           name, slot.origin->file));
    }
    if (!checked->empty()) {
        const auto others = referrers(session, slot.number, own);
        MPS_TRY(others);
        if (!others->empty())
            warnings.push_back(
                fmt::format("the parameters are set for all that use this copy of '{}', also {}", name,
                            fmt::join(*others, ", ")));
    }
    MPS_TRY(set_live(*slot.policy, *checked));
    return Prepared{slot.number, name, values_of(slot.policy->params), {}, slot.policy->header.rx};
}

Result<Prepared> take_object(Session &session, OpenedPolicy &opened, const Referrer &own,
                             const std::vector<Setting> &settings, std::vector<std::string> &warnings) {
    if (auto taken = name_is_taken(opened))
        return std::unexpected(*taken);
    const auto slot = load_into_slot(session, opened, settings);
    MPS_TRY(slot);
    Prepared prepared{*slot, opened.name(), values_of(opened.object.params()), {}, opened.object.header().rx};
    // One name, one object: whoever uses another build of it follows.
    auto replaced = replacements(session, opened, own, warnings);
    if (!replaced) {
        (void)session.slots().collect();
        return std::unexpected(replaced.error());
    }
    prepared.replaced = std::move(*replaced);
    return prepared;
}

Result<Prepared> prepare(Session &session, const UseRequest &request, const std::vector<Setting> &settings,
                         const Referrer &own, std::uint32_t present, std::vector<std::string> &warnings) {
    const std::string &name = request.policy;
    if (is_file_name(name)) {
        auto opened = open_policy_file(name);
        MPS_TRY(opened);
        return take_object(session, *opened, own, settings, warnings);
    }
    auto slots = session.slots().read();
    MPS_TRY(slots);
    const std::string policy(resolve_policy_name(name));
    const auto kept = pinned_policies(session.paths);
    const BuiltinPolicy *builtin = find_builtin(policy);
    // A built-in is loaded afresh, unless the user has loaded it on purpose.
    if (Slot *slot = choose_slot(*slots, policy, builtin ? &kept : nullptr, present))
        return take_loaded(session, *slot, own, settings, warnings);
    if (builtin) {
        auto opened = open_builtin(*builtin);
        MPS_TRY(opened);
        auto prepared = take_object(session, *opened, own, settings, warnings);
        // The way back to the kernel's own scheduling must not depend on a free slot: slot 0 passes
        // everything through.
        if (!prepared && policy == pass_through && settings.empty())
            return Prepared{};
        return prepared;
    }
    if (policy == pass_through) {
        const auto checked = check_settings(policy, {}, settings);
        MPS_TRY(checked);
        return Prepared{};
    }
    return unknown_policy(name, names_in(*slots));
}

std::string slot_name(const std::vector<Slot> &slots, std::uint32_t number) {
    const auto it = std::ranges::find(slots, number, &Slot::number);
    // An empty slot passes everything through, like slot 0.
    if (it == slots.end())
        return std::string(pass_through);
    return it->policy ? it->policy->header.name : fmt::format("slot {}", number);
}

// The slots that the request changes.
struct DirectionSlots {
    std::optional<std::uint32_t> tx{};
    std::optional<std::uint32_t> rx{};
};

Result<DirectionSlots> choose_directions(const UseRequest &request, const Prepared &prepared) {
    // The kernel's own scheduling is one at both ends.
    const bool can = prepared.rx || prepared.name == pass_through;
    switch (request.direction) {
    case Direction::tx:
        return DirectionSlots{.tx = prepared.slot};
    case Direction::rx:
        if (!can)
            return fail(ErrorCode::usage,
                        fmt::format("the policy '{}' has no rule for what peers send", prepared.name),
                        "'mpsched policy list --json' tells which have one: rx");
        return DirectionSlots{.rx = prepared.rx ? prepared.slot : MPS_SLOT_NONE};
    case Direction::both:
        break;
    }
    return DirectionSlots{.tx = prepared.slot, .rx = prepared.rx ? prepared.slot : MPS_SLOT_NONE};
}

// Who else gets the new object.
Result<std::vector<std::string>> followers(Session &session, const Prepared &prepared, const Referrer &own) {
    std::vector<std::string> result;
    for (const auto &[old, now] : prepared.replaced) {
        const auto some = referrers(session, old, own);
        MPS_TRY(some);
        result.insert(result.end(), some->begin(), some->end());
    }
    return result;
}

// What a request asks for, read before anything changes.
struct Asked {
    SplitSettings settings;
    std::optional<mps_rule> rule;
};

Result<Asked> read_request(const UseRequest &request) {
    std::vector<Setting> params = request.params;
    add_preset(request.policy, params);
    auto settings = split(params);
    MPS_TRY(settings);
    Asked asked{.settings = std::move(*settings), .rule = std::nullopt};
    if (request.selector) {
        auto parsed = parse_selector(*request.selector);
        MPS_TRY(parsed);
        asked.rule = *parsed;
        if (auto refused = refuse_engine(asked.settings, "--for"))
            return std::unexpected(*refused);
    }
    return asked;
}

// What decides so far where the request changes something, and who is asking.
struct Before {
    mps_config config{};
    Referrer own{};
    std::optional<mps_rule> rule{};
    std::optional<std::uint32_t> slot{}; // in the direction that is asked for
};

Before look_before(const UseRequest &request, const std::optional<mps_rule> &rule, const mps_config &config,
                   const RuleTable &table) {
    const bool rx_alone = request.direction == Direction::rx;
    Before before{.config = config,
                  .own = {.is_default = !rule && !rx_alone,
                          .is_rx_default = !rule && request.direction != Direction::tx,
                          .rule = rule ? table.find(*rule) : std::nullopt}};
    if (before.own.rule)
        before.rule = table.rules()[*before.own.rule];
    if (!rule)
        before.slot = rx_alone ? config.rx_slot : default_slot(config);
    else if (before.rule)
        before.slot = rx_alone ? before.rule->rx_slot : before.rule->slot;
    return before;
}

// A direction that the request leaves alone keeps its slot.
void direct(Switch &change, const std::optional<mps_rule> &rule, const std::optional<mps_rule> &rule_before,
            const DirectionSlots &slots) {
    if (!rule) {
        change.default_slot = slots.tx;
        change.rx_slot = slots.rx;
        return;
    }
    change.rule = rule;
    change.rule->slot = slots.tx.value_or(rule_before ? rule_before->slot : MPS_SLOT_OPEN);
    change.rule->rx_slot = slots.rx.value_or(rule_before ? rule_before->rx_slot : MPS_SLOT_OPEN);
}

Result<std::string> rx_policy_of(Session &session, const Switch &change, const mps_config &config) {
    const auto slots = session.slots().read();
    MPS_TRY(slots);
    const std::uint32_t slot = change.rule ? change.rule->rx_slot : change.rx_slot.value_or(config.rx_slot);
    return slot == MPS_SLOT_OPEN ? std::string() : slot_name(*slots, slot);
}

// The switch itself, to what is prepared.
Result<void> carry_out(Session &session, const UseRequest &request, const Asked &asked, const Before &before,
                       Switch change, UseResult &result) {
    const auto prepared = prepare(session, request, asked.settings.policy, before.own,
                                  before.slot.value_or(MPS_SLOT_NONE), result.warnings);
    MPS_TRY(prepared);
    result.policy = prepared->name;
    result.slot = prepared->slot;
    result.params = prepared->params;
    auto also = followers(session, *prepared, before.own);
    MPS_TRY(also);
    result.also = std::move(*also);
    change.replaced = prepared->replaced;
    const auto slots = choose_directions(request, *prepared);
    if (!slots) {
        (void)session.slots().collect();
        return std::unexpected(slots.error());
    }
    direct(change, asked.rule, before.rule, *slots);
    MPS_TRY(perform(session, change, result.warnings));
    auto rx_policy = rx_policy_of(session, change, before.config);
    MPS_TRY(rx_policy);
    result.rx_policy = std::move(*rx_policy);
    return {};
}

} // namespace

Result<UseResult> use_policy(Session &session, const UseRequest &request) {
    const auto asked = read_request(request);
    MPS_TRY(asked);
    const auto config = session.config.read();
    MPS_TRY(config);
    const auto table = RuleTable::open(session);
    MPS_TRY(table);
    const auto place = wanted_place(request, *table);
    MPS_TRY(place);
    const auto slots = session.slots().read();
    MPS_TRY(slots);
    if (auto refused = refusal(request.policy, *slots))
        return std::unexpected(*refused);

    UseResult result;
    const Before before = look_before(request, asked->rule, *config, *table);
    if (before.slot && *before.slot != MPS_SLOT_OPEN)
        result.previous = slot_name(*slots, *before.slot);
    MPS_TRY(carry_out(session, request, *asked, before,
                      {.place = *place, .dwell_us = asked->settings.dwell_us, .new_only = request.new_only},
                      result));
    if (asked->settings.dwell_us) {
        result.engine = engine_params();
        result.engine.front().value = *asked->settings.dwell_us;
    }
    return result;
}

namespace {

// How long a command waits for the addresses of a host, and one that goes on without them.
constexpr std::chrono::milliseconds patience{5000};
constexpr std::chrono::milliseconds little_patience{300};

struct HostOfRule {
    std::uint64_t digest = 0;
    std::vector<HostAddress> addresses{};
    std::string trouble{};
};

// Before the lock is taken: others need not wait for a name server. nullopt: the selector names no host.
Result<std::optional<HostOfRule>> look_up_host(const UseRequest &request) {
    if (!request.selector)
        return std::nullopt;
    const auto rule = parse_selector(*request.selector);
    MPS_TRY(rule);
    if (!(rule->fields & MPS_RULE_HOST))
        return std::nullopt;
    auto answer = Lookup(rule->host_name).wait(request.hosts_later ? little_patience : patience);
    if (answer)
        return HostOfRule{.digest = rule->host, .addresses = std::move(*answer)};
    if (!request.hosts_later)
        return std::unexpected(answer.error());
    return HostOfRule{.digest = rule->host,
                      .trouble = fmt::format("{}; until who follows has found one the rule is for nothing",
                                             answer.error().what)};
}

Result<UseResult> use_with_host(Session &session, const UseRequest &request,
                                const std::optional<HostOfRule> &host) {
    // In force with the rule.
    if (host)
        MPS_TRY(remember_host(session.pins, host->digest, host->addresses));
    auto result = use_policy(session, request);
    const auto rules = session.slots().rules();
    MPS_TRY(rules);
    forget_other_hosts(session.pins, *rules);
    if (result && host && !host->trouble.empty())
        result->warnings.push_back(host->trouble);
    return result;
}

} // namespace

Result<UseResult> Instance::use(const UseRequest &request) {
    const auto call = impl_->enter();
    MPS_TRY(call);
    const auto host = look_up_host(request);
    MPS_TRY(host);
    auto session = impl_->open_for_changing();
    if (session)
        return use_with_host(*session, request, *host);
    // Attaching first would not help.
    if (auto refused = refusal(request.policy, {}))
        return std::unexpected(*refused);
    return std::unexpected(session.error());
}

} // namespace mps
