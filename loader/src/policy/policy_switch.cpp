// SPDX-License-Identifier: MIT
#include "policy/policy_switch.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "apps/grants.hpp"
#include "attach/levers.hpp"
#include "attach/peers.hpp"
#include "base/try.hpp"
#include "policy/makers.hpp"
#include "policy/selector.hpp"

namespace mps {

namespace {

// What had been changed of the old one's parameters, as far as the new one takes it.
std::vector<Setting> carried_over(const LivePolicy &old, const OpenedPolicy &opened,
                                  std::vector<std::string> &warnings) {
    std::vector<Setting> settings;
    for (const ParamSpec &spec : old.params) {
        const Param &param = spec.param;
        if (param.value == param.default_value)
            continue;
        Setting setting{param.name, fmt::to_string(param.value)};
        if (check_settings(opened.name(), opened.object.params(), {setting}))
            settings.push_back(std::move(setting));
        else
            warnings.push_back(
                fmt::format("{}={} is not taken over: the new '{}' has no such parameter, or another range",
                            setting.key, setting.value, opened.name()));
    }
    return settings;
}

// What is built in can be loaded in the other form at any time. Whether a file will still be there then, nobody knows.
Variants wanted_of(const OpenedPolicy &opened, const Pins &pins) {
    if (!opened.builtin())
        return {.xdp = true, .tc = true};
    const Variants called = pins.called(opened.object.header().rx);
    // While no interface was attached: something that shows what the slot holds.
    return called.any() ? called : Variants{.tc = true};
}

// Slots that `policy load` keeps and that are about to give way.
std::vector<std::uint32_t> kept_before(const Session &session, const Switch &change) {
    std::vector<std::uint32_t> kept;
    for (const std::uint32_t slot : pinned_policies(session.paths)) {
        if (change.replaced.contains(slot))
            kept.push_back(slot);
    }
    return kept;
}

Result<void> keep_replacements(Session &session, const Switch &change) {
    for (const std::uint32_t old : kept_before(session, change)) {
        MPS_TRY(keep_slot(session, change.replaced.at(old)));
    }
    return {};
}

std::uint32_t instead_of(std::uint32_t slot, const Switch &change) {
    const auto to = change.replaced.find(slot);
    return to == change.replaced.end() ? slot : to->second;
}

Result<void> write_rules(RuleTable &table, const Switch &change) {
    for (std::uint32_t i = 0; i < table.rules().size(); i++) {
        const mps_rule &rule = table.rules()[i];
        const std::uint32_t slot = instead_of(rule.slot, change), rx_slot = instead_of(rule.rx_slot, change);
        if (slot == rule.slot && rx_slot == rule.rx_slot)
            continue;
        MPS_TRY(table.set_slots(i, slot, rx_slot));
    }
    return change.rule ? table.place(*change.rule, change.place) : Result<void>{};
}

Result<void> make_ready(Session &session, const Switch &change, RuleTable &table,
                        std::vector<std::string> &warnings) {
    std::vector<std::uint32_t> slots;
    for (const auto &[old, now] : change.replaced)
        slots.push_back(now);
    if (change.default_slot)
        slots.push_back(*change.default_slot);
    if (change.rule)
        slots.push_back(change.rule->slot);
    std::erase(slots, MPS_SLOT_OPEN);
    for (const std::uint32_t slot : slots) {
        MPS_TRY(prepare_levers(session, slot, warnings));
    }
    if (change.rule && change.rule->fields & MPS_RULE_COMMAND)
        MPS_TRY(prepare_makers(session));
    MPS_TRY(keep_replacements(session, change));
    MPS_TRY(replace_in_grants(session.pins, change.replaced));
    return write_rules(table, change);
}

} // namespace

std::vector<Param> values_of(const std::vector<ParamSpec> &specs) {
    std::vector<Param> params;
    for (const ParamSpec &spec : specs)
        params.push_back(spec.param);
    return params;
}

Result<SplitSettings> split(const std::vector<Setting> &settings) {
    SplitSettings result;
    const Param dwell = engine_params().front();
    for (const Setting &setting : settings) {
        if (setting.key != dwell.name) {
            result.policy.push_back(setting);
            continue;
        }
        if (result.dwell_us)
            return fail(ErrorCode::usage, fmt::format("parameter '{}' is given twice", setting.key),
                        "give it once");
        const auto value = parse_param_value(dwell, setting.value);
        MPS_TRY(value);
        result.dwell_us = static_cast<std::uint32_t>(*value);
    }
    return result;
}

std::optional<Error> refuse_engine(const SplitSettings &settings, std::string_view beside) {
    if (!settings.dwell_us)
        return std::nullopt;
    return Error{
        ErrorCode::usage,
        fmt::format("dwell_us is no parameter of a policy but of the engine, the same for all connections: "
                    "it cannot be set with {}",
                    beside),
        fmt::format("'mpsched set dwell_us={}' sets it for all", *settings.dwell_us)};
}

Result<void> set_live(LivePolicy &policy, const std::vector<CheckedSetting> &settings) {
    if (settings.empty())
        return {};
    for (const CheckedSetting &setting : settings)
        write_param(policy.params[setting.index], policy.section, setting.value);
    MPS_TRY(policy.store());
    const auto now = read_bytes(policy.params_map.get(), 0, policy.section.size());
    MPS_TRY(now);
    if (!*now || **now != policy.section) {
        return fail(ErrorCode::failed,
                    fmt::format("the parameters of '{}' do not read back as written", policy.header.name),
                    "something else writes to our maps: try again");
    }
    for (ParamSpec &spec : policy.params)
        spec.param.value = read_param(spec, policy.section);
    return {};
}

Result<std::uint32_t> load_into_slot(Session &session, OpenedPolicy &opened,
                                     const std::vector<Setting> &settings) {
    MPS_TRY(opened.object.set(settings));
    const auto loaded =
        opened.object.load(session.pins.map(MPS_MAP_SCRATCH), wanted_of(opened, session.pins));
    MPS_TRY(loaded);
    return session.slots().fill(*loaded, opened.origin);
}

Result<void> keep_slot(Session &session, std::uint32_t number) {
    const auto slots = session.slots().read();
    MPS_TRY(slots);
    const auto slot = std::ranges::find(*slots, number, &Slot::number);
    if (slot == slots->end() || !slot->policy)
        return fail(ErrorCode::failed, fmt::format("slot {} does not hold the policy it was given", number),
                    "something else writes to our maps: try again");
    const auto fd = prog_by_id(slot->policy->prog_id);
    MPS_TRY(fd);
    MPS_TRY(unpin(session.paths.kept_policy(number)));
    return pin(fd->get(), session.paths.kept_policy(number));
}

Result<std::map<std::uint32_t, std::uint32_t>> replacements(Session &session, const OpenedPolicy &opened,
                                                            const Referrer &own,
                                                            std::vector<std::string> &warnings) {
    const auto slots = session.slots().read();
    MPS_TRY(slots);
    const auto uses = session.slots().uses();
    MPS_TRY(uses);
    std::map<std::uint32_t, std::uint32_t> result;
    for (const Slot &slot : *slots) {
        if (!slot.policy || slot.policy->header.name != opened.name() ||
            (slot.origin && slot.origin->sha256 == opened.origin.sha256))
            continue;
        const SlotUse use = own.without(uses->at(slot.number));
        // Connections alone: they were to keep what they have (--new-only), or choose anew at their next packet.
        if (!use.is_default && !use.is_rx_default && use.rules.empty() && !use.kept && use.apps.empty())
            continue;
        auto again = open_again(opened);
        MPS_TRY(again);
        const auto settings = carried_over(*slot.policy, *again, warnings);
        const auto number = load_into_slot(session, *again, settings);
        MPS_TRY(number);
        result[slot.number] = *number;
    }
    return result;
}

SlotUse Referrer::without(SlotUse use) const {
    if (is_default)
        use.is_default = false;
    if (is_rx_default)
        use.is_rx_default = false;
    if (rule)
        std::erase(use.rules, *rule);
    return use;
}

Result<std::vector<std::string>> referrers(Session &session, std::uint32_t slot, const Referrer &own) {
    const auto uses = session.slots().uses();
    MPS_TRY(uses);
    const auto rules = session.slots().rules();
    MPS_TRY(rules);
    const SlotUse use = own.without(uses->at(slot));
    std::vector<std::string> result;
    if (use.is_default)
        result.emplace_back("the default policy");
    else if (use.is_rx_default)
        result.emplace_back("the default policy for what peers send");
    for (const std::uint32_t rule : use.rules)
        result.push_back(fmt::format("the rule {}", format_selector((*rules)[rule])));
    for (const std::string &cgroup : use.apps)
        result.push_back(fmt::format("the applications of {}", cgroup));
    return result;
}

Result<void> perform(Session &session, const Switch &change, std::vector<std::string> &warnings) {
    const auto give_up = [&](const Error &error) {
        (void)session.slots().collect();
        return std::unexpected(error);
    };
    auto table = RuleTable::open(session);
    if (!table)
        return give_up(table.error());
    if (auto done = make_ready(session, change, *table, warnings); !done)
        return give_up(done.error());
    // The switch: `choice` is the last word written, and with it everything happens at once.
    const auto switched = session.config.update([&](mps_config &c) {
        if (change.dwell_us)
            c.dwell_us = *change.dwell_us;
        c.nr_rules = static_cast<std::uint32_t>(table->rules().size());
        c.flags &= ~static_cast<std::uint32_t>(MPS_CONFIG_NEW_ONLY);
        if (change.new_only)
            c.flags |= MPS_CONFIG_NEW_ONLY;
        const std::uint32_t slot = instead_of(default_slot(c), change);
        c.rx_slot = change.rx_slot.value_or(instead_of(c.rx_slot, change));
        note_rx(c, table->rules());
        const std::uint32_t epoch = rule_epoch(c) + (change.new_only ? 0 : 1);
        c.choice = std::uint64_t{epoch} << 32 | change.default_slot.value_or(slot);
    });
    if (!switched)
        return give_up(switched.error());
    for (const std::uint32_t old : kept_before(session, change)) {
        if (auto done = unpin(session.paths.kept_policy(old)); !done)
            warnings.push_back(fmt::format("slot {} stays loaded: {}", old, done.error().what));
    }
    if (auto told = settle_peers(session); !told)
        warnings.push_back(fmt::format("the policy is in use, but {}", told.error().what));
    // What nobody refers to any more goes now and not at some later command.
    if (auto collected = session.slots().collect(); !collected) {
        warnings.push_back(fmt::format("the policy is in use, but cleaning up after the old one failed: {}",
                                       collected.error().what));
    }
    if (auto settled = settle_levers(session); !settled)
        warnings.push_back(fmt::format("the policy is in use, but {}", settled.error().what));
    return {};
}

} // namespace mps
