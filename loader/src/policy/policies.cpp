// SPDX-License-Identifier: MIT
#include <algorithm>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/try.hpp"
#include "instance_impl.hpp"
#include "policy/policy_switch.hpp"
#include "policy/selector.hpp"

namespace mps {

namespace {

PolicyInfo describe(const Slot &slot, const SlotUse &use) {
    PolicyInfo info{.slot = slot.number,
                    .is_default = use.is_default,
                    .is_rx_default = use.is_rx_default,
                    .kept = use.kept,
                    .rules = static_cast<std::uint32_t>(use.rules.size()),
                    .connections = use.connections};
    if (slot.policy) {
        info.name = slot.policy->header.name;
        info.doc = slot.policy->header.doc;
        info.aliases = aliases_of(info.name);
        info.state_bytes = slot.policy->header.state_bytes;
        info.rx = slot.policy->header.rx;
        info.params = values_of(slot.policy->params);
        info.builtin = find_builtin(info.name) != nullptr;
        if (slot.origin) {
            info.file = slot.origin->file;
            info.sha256 = slot.origin->sha256;
        }
    } else {
        info.name = fmt::format("slot {}", slot.number);
        info.doc = slot.trouble;
    }
    return info;
}

PolicyInfo describe(const OpenedPolicy &opened) {
    return PolicyInfo{.name = opened.name(),
                      .doc = opened.object.header().doc,
                      .builtin = opened.builtin(),
                      .file = opened.origin.file,
                      .sha256 = opened.origin.sha256,
                      .rx = opened.object.header().rx,
                      .state_bytes = opened.object.header().state_bytes,
                      .params = values_of(opened.object.params()),
                      .aliases = opened.builtin() ? aliases_of(opened.name()) : std::vector<std::string>{}};
}

} // namespace

Result<std::vector<PolicyInfo>> loaded_policies(const Slots &table) {
    std::vector<PolicyInfo> result;
    const auto slots = table.read();
    MPS_TRY(slots);
    const auto uses = table.uses();
    MPS_TRY(uses);
    for (const Slot &slot : *slots)
        result.push_back(describe(slot, uses->at(slot.number)));
    return result;
}

Result<std::vector<PolicyInfo>> Instance::policies(std::optional<Error> *unseen) const {
    const auto call = impl_->enter();
    MPS_TRY(call);
    std::vector<PolicyInfo> result;
    std::set<std::string> loaded;
    const auto pins = impl_->open_for_reading();
    if (pins) {
        const auto where = impl_->paths();
        auto in_slots = loaded_policies(Slots(*where, *pins));
        if (!in_slots)
            return in_slots;
        result = std::move(*in_slots);
        for (PolicyInfo &info : result) {
            info.file_now = file_now({.file = info.file, .sha256 = info.sha256});
            loaded.insert(info.name);
        }
    } else if (pins.error().code == ErrorCode::not_permitted && unseen) {
        *unseen = pins.error();
    } else if (pins.error().kind != ErrorKind::not_installed) {
        return std::unexpected(pins.error());
    }
    for (const BuiltinPolicy &builtin : builtin_policies()) {
        if (loaded.contains(std::string(builtin.name)))
            continue;
        const auto opened = open_builtin(builtin);
        MPS_TRY(opened);
        result.push_back(describe(*opened));
    }
    for (const SegmentPolicy &policy : segment_policies) {
        if (loaded.contains(std::string(policy.name)))
            continue;
        result.push_back(PolicyInfo{.name = std::string(policy.name),
                                    .doc = std::string(policy.doc),
                                    .unsupported = segment_reason(policy)});
    }
    return result;
}

Result<std::vector<PolicyInfo>> Instance::policy(const std::string &name_or_file,
                                                 std::optional<Error> *unseen) const {
    const auto call = impl_->enter();
    MPS_TRY(call);
    if (is_file_name(name_or_file)) {
        const auto opened = open_policy_file(name_or_file);
        MPS_TRY(opened);
        return std::vector{describe(*opened)};
    }
    auto all = policies(unseen);
    if (!all)
        return all;
    std::vector<PolicyInfo> result;
    for (const std::string_view name : {std::string_view(name_or_file), resolve_policy_name(name_or_file)}) {
        for (const PolicyInfo &info : *all) {
            if (info.name == name)
                result.push_back(info);
        }
        if (!result.empty())
            return result;
    }
    std::vector<std::string> loaded;
    for (const PolicyInfo &info : *all) {
        if (info.slot)
            loaded.push_back(info.name);
    }
    return unknown_policy(name_or_file, loaded);
}

namespace {

Result<OpenedPolicy> open_named(const std::string &name_or_file, const std::vector<Slot> &slots) {
    if (is_file_name(name_or_file)) {
        auto opened = open_policy_file(name_or_file);
        if (opened) {
            if (auto taken = name_is_taken(*opened))
                return std::unexpected(*taken);
        }
        return opened;
    }
    const BuiltinPolicy *builtin = find_builtin(resolve_policy_name(name_or_file));
    if (!builtin)
        return unknown_policy(name_or_file, names_in(slots));
    return open_builtin(*builtin);
}

// Slots that hold this policy, from this object or from another one.
std::vector<std::uint32_t> slots_of(const std::vector<Slot> &slots, const OpenedPolicy &opened, bool same) {
    std::vector<std::uint32_t> result;
    for (const Slot &slot : slots) {
        if (slot.policy && slot.policy->header.name == opened.name() &&
            (slot.origin && slot.origin->sha256 == opened.origin.sha256) == same)
            result.push_back(slot.number);
    }
    return result;
}

std::unexpected<Error> another_is_loaded(const std::vector<Slot> &slots, std::uint32_t number,
                                         const OpenedPolicy &opened) {
    const auto slot = std::ranges::find(slots, number, &Slot::number);
    const std::string from = slot->origin && !slot->origin->file.empty()
                                 ? fmt::format(", from {} as it was then", slot->origin->file)
                                 : "";
    return fail(
        ErrorCode::failed,
        fmt::format("another policy '{}' is loaded already, in slot {}{}", opened.name(), number, from),
        fmt::format("'mpsched policy load --replace' puts this one in its place everywhere, 'mpsched policy "
                    "unload {}' makes room for it",
                    opened.name()));
}

} // namespace

Result<LoadResult> Instance::load_policy(const std::string &name_or_file, bool replace) {
    const auto call = impl_->enter();
    MPS_TRY(call);
    if (auto refused = refusal(name_or_file, {}))
        return std::unexpected(*refused);
    auto session = impl_->open_for_changing();
    MPS_TRY(session);
    const auto slots = session->slots().read();
    MPS_TRY(slots);
    auto opened = open_named(name_or_file, *slots);
    MPS_TRY(opened);
    const auto others = slots_of(*slots, *opened, false);
    if (!others.empty() && !replace)
        return another_is_loaded(*slots, others.front(), *opened);

    LoadResult result;
    Switch change;
    auto replaced = replacements(*session, *opened, {}, result.warnings);
    MPS_TRY(replaced);
    change.replaced = std::move(*replaced);
    for (const auto &[old, now] : change.replaced) {
        const auto some = referrers(*session, old, {});
        MPS_TRY(some);
        result.also.insert(result.also.end(), some->begin(), some->end());
    }
    // The one that is kept: one that is there already, else a fresh one.
    const auto same = slots_of(*slots, *opened, true);
    const auto kept = pinned_policies(session->paths);
    const auto is_kept = [&](std::uint32_t slot) { return std::ranges::binary_search(kept, slot); };
    std::optional<std::uint32_t> chosen;
    if (const auto it = std::ranges::find_if(same, is_kept); it != same.end())
        chosen = *it;
    else if (!same.empty())
        chosen = same.front();
    result.was_loaded = chosen.has_value();
    for (const auto &[old, now] : change.replaced) {
        if (!chosen && is_kept(old))
            chosen = now;
    }
    if (!chosen) {
        const auto filled = load_into_slot(*session, *opened, {});
        MPS_TRY(filled);
        chosen = *filled;
    }
    if (auto done = keep_slot(*session, *chosen); !done) {
        (void)session->slots().collect();
        return std::unexpected(done.error());
    }
    if (!change.replaced.empty()) {
        MPS_TRY(perform(*session, change, result.warnings));
    }
    const auto now = loaded_policies(session->slots());
    MPS_TRY(now);
    const auto it = std::ranges::find(*now, chosen, &PolicyInfo::slot);
    if (it == now->end())
        return fail(ErrorCode::failed, fmt::format("slot {} does not hold the policy it was given", *chosen),
                    "something else writes to our maps: try again");
    result.policy = *it;
    return result;
}

Result<void> Instance::unload_policy(const std::string &wanted) {
    const auto call = impl_->enter();
    MPS_TRY(call);
    auto session = impl_->open_for_changing();
    MPS_TRY(session);
    const auto slots = session->slots().read();
    MPS_TRY(slots);
    const std::string name(resolve_policy_name(wanted));
    const auto uses = session->slots().uses();
    MPS_TRY(uses);
    const auto rules = session->slots().rules();
    MPS_TRY(rules);

    std::vector<std::uint32_t> targets;
    std::vector<std::string> reasons;
    for (const Slot &slot : *slots) {
        if (!slot.policy || slot.policy->header.name != name)
            continue;
        targets.push_back(slot.number);
        const SlotUse &use = uses->at(slot.number);
        if (use.is_default)
            reasons.push_back("it is the default policy");
        for (const std::uint32_t rule : use.rules) {
            reasons.push_back(fmt::format("the rule '{}' refers to it", format_selector((*rules)[rule])));
        }
        for (const std::string &cgroup : use.apps)
            reasons.push_back(fmt::format("applications of {} may choose it", cgroup));
        if (use.connections) {
            reasons.push_back(fmt::format("{} live connection{} it", use.connections,
                                          use.connections == 1 ? " uses" : "s use"));
        }
    }
    if (targets.empty()) {
        if (find_builtin(name))
            return fail(ErrorKind::no_such_policy, fmt::format("policy '{}' is not loaded", name),
                        "nothing is left to unload");
        return unknown_policy(name, names_in(*slots));
    }
    if (!reasons.empty()) {
        return fail(ErrorKind::in_use,
                    fmt::format("policy '{}' is in use: {}", name, fmt::join(reasons, ", ")),
                    "use another policy first: 'mpsched use NAME'");
    }
    wait_for_running_programs();
    for (const std::uint32_t slot : targets) {
        MPS_TRY(session->slots().clear(slot));
    }
    return {};
}

} // namespace mps
