// SPDX-License-Identifier: MIT
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "instance_impl.hpp"
#include "kernel_probe.hpp"
#include "levers.hpp"
#include "mpsched/builtin_policies.hpp"
#include "mpsched/policy_names.hpp"
#include "mpsched/selector.hpp"
#include "policy_object.hpp"

namespace mps {

namespace {

bool is_file_name(const std::string &text) { return text.find('/') != text.npos || text.ends_with(".o"); }

const BuiltinPolicy *find_builtin(std::string_view name) {
    const auto all = builtin_policies();
    const auto it =
        std::find_if(all.begin(), all.end(), [&](const BuiltinPolicy &p) { return p.name == name; });
    return it == all.end() ? nullptr : &*it;
}

// An object and the bytes it is made of.
struct OpenedPolicy {
    std::vector<std::byte> bytes; // empty for built-in ones, whose bytes are in the program
    PolicyObject object;
};

Result<OpenedPolicy> open_file(const std::string &path) {
    struct stat status{};
    if (::stat(path.c_str(), &status)) {
        Error error = system_error(errno, fmt::format("opening {}", path));
        error.code = errno == ENOENT || errno == ENOTDIR ? ErrorCode::usage : ErrorCode::failed;
        if (error.hint.empty())
            error.hint = "a policy is a name ('mpsched policy list') or an object file";
        return std::unexpected(std::move(error));
    }
    constexpr off_t most = 64 << 20;
    if (!S_ISREG(status.st_mode) || status.st_size > most) {
        return fail(ErrorCode::usage, fmt::format("{} is no object file", path),
                    "a policy is a name ('mpsched policy list') or an object file");
    }
    std::ifstream file(path, std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    std::vector<std::byte> bytes(text.size());
    if (!text.empty())
        std::memcpy(bytes.data(), text.data(), text.size());
    auto object = PolicyObject::open(bytes, path);
    if (!object)
        return std::unexpected(object.error());
    return OpenedPolicy{std::move(bytes), std::move(*object)};
}

Result<OpenedPolicy> open_builtin(const BuiltinPolicy &builtin) {
    auto object = PolicyObject::open(builtin.object, fmt::format("policy '{}'", builtin.name));
    if (!object)
        return std::unexpected(object.error());
    return OpenedPolicy{{}, std::move(*object)};
}

std::vector<Param> values_of(const std::vector<ParamSpec> &specs) {
    std::vector<Param> params;
    for (const ParamSpec &spec : specs)
        params.push_back(spec.param);
    return params;
}

// Why a policy that places single segments is refused here.
std::string segment_reason(const SegmentPolicy &policy) {
    constexpr std::string_view needs = "it decides about single segments";
    // Reading the kernel's BTF takes some 50 ms; the kernel stays the same.
    static const bool can_register = probe_mptcp_struct_ops().answer == Answer::available;
    if (can_register)
        return fmt::format("{}, and mpsched has no '{}' for the mptcp_sched_ops of this kernel yet", needs,
                           policy.name);
    return fmt::format("{}, which takes a kernel that registers BPF schedulers (mptcp_sched_ops)", needs);
}

bool holds(const std::vector<Slot> &slots, std::string_view name) {
    return std::any_of(slots.begin(), slots.end(),
                       [&](const Slot &slot) { return slot.policy && slot.policy->header.name == name; });
}

// An error if this is a policy that cannot be had here, unless the user has loaded one of his own under its name.
std::optional<Error> refusal(const std::string &name, const std::vector<Slot> &slots) {
    const auto it = std::find_if(segment_policies.begin(), segment_policies.end(),
                                 [&](const SegmentPolicy &policy) { return policy.name == name; });
    if (it == segment_policies.end() || holds(slots, name))
        return std::nullopt;
    return Error{ErrorCode::unsupported,
                 fmt::format("policy '{}' cannot run here: {}", name, segment_reason(*it)),
                 fmt::format("'mpsched use {}' comes closest; 'mpsched probe' tells what this kernel has",
                             it->nearest)};
}

// What the user has loaded under an alias is what he means by it.
std::string own_name(const std::string &name, const std::vector<Slot> &slots) {
    return holds(slots, name) ? name : std::string(resolve_policy_name(name));
}

std::vector<std::string> aliases_of(std::string_view name) {
    std::vector<std::string> result;
    for (const PolicyAlias &one : policy_aliases) {
        if (one.policy == name)
            result.emplace_back(one.alias);
    }
    return result;
}

std::unexpected<Error> unknown_policy(const std::string &name, const std::vector<Slot> &slots) {
    std::set<std::string> names;
    for (const PolicyAlias &one : policy_aliases)
        names.emplace(one.alias);
    for (const BuiltinPolicy &builtin : builtin_policies())
        names.emplace(builtin.name);
    for (const Slot &slot : slots) {
        if (slot.policy)
            names.insert(slot.policy->header.name);
    }
    return fail(ErrorCode::usage, fmt::format("there is no policy '{}'", name),
                fmt::format("there are: {}; or give an object file (*.o)", fmt::join(names, ", ")));
}

std::string slot_name(const std::vector<Slot> &slots, std::uint32_t number) {
    const auto it =
        std::find_if(slots.begin(), slots.end(), [&](const Slot &s) { return s.number == number; });
    // An empty slot passes everything through, like slot 0.
    if (it == slots.end())
        return std::string(pass_through);
    return it->policy ? it->policy->header.name : fmt::format("slot {}", number);
}

// Settings of the engine apart from those of the policy, checked.
struct SplitSettings {
    std::vector<Setting> policy;
    std::optional<std::uint32_t> dwell_us;
};

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
        if (!value)
            return std::unexpected(value.error());
        result.dwell_us = static_cast<std::uint32_t>(*value);
    }
    return result;
}

// Sets live parameters and reads them back.
Result<void> set_live(LivePolicy &policy, const std::vector<CheckedSetting> &settings) {
    if (settings.empty())
        return {};
    for (const CheckedSetting &setting : settings)
        write_param(policy.params[setting.index], policy.section, setting.value);
    if (auto done = policy.store(); !done)
        return done;
    const auto now = read_bytes(policy.params_map.get(), 0, policy.section.size());
    if (!now)
        return std::unexpected(now.error());
    if (!*now || **now != policy.section) {
        return fail(ErrorCode::failed,
                    fmt::format("the parameters of '{}' do not read back as written", policy.header.name),
                    "something else writes to our maps: try again");
    }
    for (ParamSpec &spec : policy.params)
        spec.param.value = read_param(spec, policy.section);
    return {};
}

PolicyInfo describe(const Slot &slot, const SlotUse &use) {
    PolicyInfo info{.slot = slot.number,
                    .is_default = use.is_default,
                    .kept = use.kept,
                    .rules = static_cast<std::uint32_t>(use.rules.size()),
                    .connections = use.connections};
    if (slot.policy) {
        info.name = slot.policy->header.name;
        info.doc = slot.policy->header.doc;
        info.aliases = aliases_of(info.name);
        info.state_bytes = slot.policy->header.state_bytes;
        info.params = values_of(slot.policy->params);
        info.builtin = find_builtin(info.name) != nullptr;
    } else {
        info.name = fmt::format("slot {}", slot.number);
        info.doc = slot.trouble;
    }
    return info;
}

PolicyInfo describe(const PolicyObject &object, bool builtin) {
    return PolicyInfo{.name = object.header().name,
                      .doc = object.header().doc,
                      .builtin = builtin,
                      .state_bytes = object.header().state_bytes,
                      .params = values_of(object.params()),
                      .aliases = builtin ? aliases_of(object.header().name) : std::vector<std::string>{}};
}

// The slot a `use` is to switch to, with everything made ready.
struct Prepared {
    std::uint32_t slot = MPS_SLOT_NONE;
    std::string name = std::string(pass_through);
    std::vector<Param> params;
};

Result<Prepared> prepare_object(Session &session, OpenedPolicy &opened,
                                const std::vector<Setting> &settings) {
    if (auto done = opened.object.set(settings); !done)
        return std::unexpected(done.error());
    const auto loaded = opened.object.load(session.pins.map(MPS_MAP_SCRATCH));
    if (!loaded)
        return std::unexpected(loaded.error());
    const auto slot = session.slots().fill(*loaded, true);
    if (!slot)
        return std::unexpected(slot.error());
    return Prepared{*slot, opened.object.header().name, values_of(opened.object.params())};
}

Result<Prepared> prepare(Session &session, const std::string &name, const std::vector<Setting> &settings) {
    if (is_file_name(name)) {
        auto opened = open_file(name);
        if (!opened)
            return std::unexpected(opened.error());
        return prepare_object(session, *opened, settings);
    }
    auto slots = session.slots().read();
    if (!slots)
        return std::unexpected(slots.error());
    const std::string policy = own_name(name, *slots);
    const auto kept = pinned_policies(session.paths);
    const BuiltinPolicy *builtin = find_builtin(policy);
    for (Slot &slot : *slots) {
        if (!slot.policy || slot.policy->header.name != policy)
            continue;
        // A built-in is loaded afresh, unless the user has loaded something under its name on purpose.
        if (builtin && !std::binary_search(kept.begin(), kept.end(), slot.number))
            continue;
        const auto checked = check_settings(policy, slot.policy->params, settings);
        if (!checked)
            return std::unexpected(checked.error());
        if (auto done = set_live(*slot.policy, *checked); !done)
            return std::unexpected(done.error());
        return Prepared{slot.number, policy, values_of(slot.policy->params)};
    }
    if (builtin) {
        auto opened = open_builtin(*builtin);
        if (!opened)
            return std::unexpected(opened.error());
        auto prepared = prepare_object(session, *opened, settings);
        // The way back to the kernel's own scheduling must not depend on a free slot: slot 0 passes
        // everything through.
        if (!prepared && policy == pass_through && settings.empty())
            return Prepared{};
        return prepared;
    }
    if (policy == pass_through) {
        const auto checked = check_settings(policy, {}, settings);
        if (!checked)
            return std::unexpected(checked.error());
        return Prepared{};
    }
    return unknown_policy(policy, *slots);
}

// Writes a rule in place of the one with the same selector, or behind the last. The index it has, and the
// slot it had.
struct PlacedRule {
    std::uint32_t index = 0;
    std::optional<std::uint32_t> previous_slot{};
    bool is_new = false;
};

Result<PlacedRule> place_rule(Session &session, const mps_rule &rule) {
    const auto rules = session.slots().rules();
    if (!rules)
        return std::unexpected(rules.error());
    PlacedRule placed{.index = static_cast<std::uint32_t>(rules->size()), .is_new = true};
    for (std::uint32_t i = 0; i < rules->size(); i++) {
        if (!same_selector((*rules)[i], rule))
            continue;
        placed = {.index = i, .previous_slot = (*rules)[i].slot, .is_new = false};
        break;
    }
    if (placed.index >= MPS_MAX_RULES) {
        return fail(ErrorCode::failed, fmt::format("all {} rules are in use", MPS_MAX_RULES),
                    "drop a rule first");
    }
    if (auto done = write_value(session.pins.map(MPS_MAP_RULES), placed.index, rule, MPS_MAP_RULES); !done) {
        return std::unexpected(done.error());
    }
    const auto now = read_value<mps_rule>(session.pins.map(MPS_MAP_RULES), placed.index);
    if (!now || !*now || std::memcmp(&**now, &rule, sizeof rule) != 0) {
        return fail(ErrorCode::failed, "the rule does not read back as written",
                    "something else writes to our maps: try again");
    }
    return placed;
}

void bump_rule_epoch(mps_config &config) { config.choice += std::uint64_t{1} << 32; }

} // namespace

Result<std::vector<PolicyInfo>> loaded_policies(const Slots &table) {
    std::vector<PolicyInfo> result;
    const auto slots = table.read();
    if (!slots)
        return std::unexpected(slots.error());
    const auto uses = table.uses();
    if (!uses)
        return std::unexpected(uses.error());
    for (const Slot &slot : *slots)
        result.push_back(describe(slot, uses->at(slot.number)));
    return result;
}

Result<std::vector<PolicyInfo>> Instance::policies() const {
    std::vector<PolicyInfo> result;
    std::set<std::string> loaded;
    const auto pins = impl_->open_for_reading();
    if (pins) {
        const auto where = impl_->paths();
        auto in_slots = loaded_policies(Slots(*where, *pins));
        if (!in_slots)
            return in_slots;
        result = std::move(*in_slots);
        for (const PolicyInfo &info : result)
            loaded.insert(info.name);
    } else if (pins.error().what != not_installed().what) {
        return std::unexpected(pins.error());
    }
    for (const BuiltinPolicy &builtin : builtin_policies()) {
        if (loaded.contains(std::string(builtin.name)))
            continue;
        const auto opened = open_builtin(builtin);
        if (!opened)
            return std::unexpected(opened.error());
        result.push_back(describe(opened->object, true));
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

Result<std::vector<PolicyInfo>> Instance::policy(const std::string &name_or_file) const {
    if (is_file_name(name_or_file)) {
        const auto opened = open_file(name_or_file);
        if (!opened)
            return std::unexpected(opened.error());
        return std::vector{describe(opened->object, false)};
    }
    auto all = policies();
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
    std::vector<std::string> names;
    for (const PolicyInfo &info : *all) {
        if (!info.name.empty() && info.unsupported.empty())
            names.push_back(info.name);
    }
    return fail(ErrorCode::usage, fmt::format("there is no policy '{}'", name_or_file),
                fmt::format("there are: {}; or give an object file (*.o)", fmt::join(names, ", ")));
}

Result<PolicyInfo> Instance::load_policy(const std::string &name_or_file) {
    if (auto refused = refusal(name_or_file, {}))
        return std::unexpected(*refused);
    auto session = impl_->open_for_changing();
    if (!session)
        return std::unexpected(session.error());
    const auto slots = session->slots().read();
    if (!slots)
        return std::unexpected(slots.error());
    const BuiltinPolicy *builtin =
        is_file_name(name_or_file) ? nullptr : find_builtin(resolve_policy_name(name_or_file));
    if (!builtin && !is_file_name(name_or_file))
        return unknown_policy(name_or_file, *slots);
    auto opened = builtin ? open_builtin(*builtin) : open_file(name_or_file);
    if (!opened)
        return std::unexpected(opened.error());

    const std::string &name = opened->object.header().name;
    const auto kept = pinned_policies(session->paths);
    for (const Slot &slot : *slots) {
        if (slot.policy && slot.policy->header.name == name &&
            std::binary_search(kept.begin(), kept.end(), slot.number)) {
            return fail(
                ErrorCode::failed,
                fmt::format("policy '{}' is loaded already, in slot {}", name, slot.number),
                fmt::format("'mpsched policy unload {}' makes room for another one of this name", name));
        }
    }
    const auto loaded = opened->object.load(session->pins.map(MPS_MAP_SCRATCH));
    if (!loaded)
        return std::unexpected(loaded.error());
    const auto number = session->slots().fill(*loaded, true);
    if (!number)
        return std::unexpected(number.error());
    if (auto done = pin(loaded->xdp.get(), session->paths.kept_policy(*number)); !done) {
        (void)session->slots().collect();
        return std::unexpected(done.error());
    }
    const auto now = session->slots().read();
    if (!now)
        return std::unexpected(now.error());
    const auto uses = session->slots().uses();
    if (!uses)
        return std::unexpected(uses.error());
    for (const Slot &slot : *now) {
        if (slot.number == *number)
            return describe(slot, uses->at(*number));
    }
    return fail(ErrorCode::failed, fmt::format("slot {} does not hold the policy it was given", *number),
                "something else writes to our maps: try again");
}

Result<void> Instance::unload_policy(const std::string &wanted) {
    auto session = impl_->open_for_changing();
    if (!session)
        return std::unexpected(session.error());
    const auto slots = session->slots().read();
    if (!slots)
        return std::unexpected(slots.error());
    const std::string name = own_name(wanted, *slots);
    const auto uses = session->slots().uses();
    if (!uses)
        return std::unexpected(uses.error());
    const auto rules = session->slots().rules();
    if (!rules)
        return std::unexpected(rules.error());

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
        if (use.connections) {
            reasons.push_back(fmt::format("{} live connection{} it", use.connections,
                                          use.connections == 1 ? " uses" : "s use"));
        }
    }
    if (targets.empty()) {
        if (find_builtin(name))
            return fail(ErrorCode::usage, fmt::format("policy '{}' is not loaded", name),
                        "nothing is left to unload");
        return unknown_policy(name, *slots);
    }
    if (!reasons.empty()) {
        return fail(ErrorCode::failed,
                    fmt::format("policy '{}' is in use: {}", name, fmt::join(reasons, ", ")),
                    "use another policy first: 'mpsched use NAME'");
    }
    wait_for_running_programs();
    for (const std::uint32_t slot : targets) {
        if (auto done = session->slots().clear(slot); !done)
            return done;
    }
    return {};
}

Result<UseResult> use_policy(Session &session, const UseRequest &request) {
    const auto settings = split(request.params);
    if (!settings)
        return std::unexpected(settings.error());
    std::optional<mps_rule> rule;
    if (request.selector) {
        auto parsed = parse_selector(*request.selector);
        if (!parsed)
            return std::unexpected(parsed.error());
        rule = *parsed;
    }
    const auto config = session.config.read();
    if (!config)
        return std::unexpected(config.error());
    const auto slots_before = session.slots().read();
    if (!slots_before)
        return std::unexpected(slots_before.error());
    if (auto refused = refusal(request.policy, *slots_before))
        return std::unexpected(*refused);

    const auto prepared = prepare(session, request.policy, settings->policy);
    if (!prepared)
        return std::unexpected(prepared.error());
    UseResult result{.policy = prepared->name, .slot = prepared->slot, .params = prepared->params};
    if (auto done = prepare_levers(session, prepared->slot, result.warnings); !done) {
        (void)session.slots().collect();
        return std::unexpected(done.error());
    }

    PlacedRule placed;
    if (rule) {
        rule->slot = prepared->slot;
        const auto done = place_rule(session, *rule);
        if (!done) {
            (void)session.slots().collect();
            return std::unexpected(done.error());
        }
        placed = *done;
        if (placed.previous_slot)
            result.previous = slot_name(*slots_before, *placed.previous_slot);
    } else {
        result.previous = slot_name(*slots_before, default_slot(*config));
    }

    // The switch: `choice` is the last word written, and with it everything happens at once.
    const auto switched = session.config.update([&](mps_config &c) {
        if (settings->dwell_us)
            c.dwell_us = *settings->dwell_us;
        if (rule && placed.is_new)
            c.nr_rules = placed.index + 1;
        std::uint32_t epoch = rule_epoch(c);
        if (!request.new_only)
            epoch++;
        c.choice = std::uint64_t{epoch} << 32 | (rule ? default_slot(c) : prepared->slot);
    });
    if (!switched) {
        (void)session.slots().collect();
        return std::unexpected(switched.error());
    }
    // What nobody refers to any more goes now and not at some later command.
    if (auto collected = session.slots().collect(); !collected) {
        result.warnings.push_back(fmt::format(
            "the policy is in use, but cleaning up after the old one failed: {}", collected.error().what));
    }
    if (auto settled = settle_levers(session); !settled)
        result.warnings.push_back(fmt::format("the policy is in use, but {}", settled.error().what));
    return result;
}

Result<UseResult> Instance::use(const UseRequest &request) {
    auto session = impl_->open_for_changing();
    if (session)
        return use_policy(*session, request);
    // Attaching first would not help.
    if (auto refused = refusal(request.policy, {}))
        return std::unexpected(*refused);
    return std::unexpected(session.error());
}

Result<bool> Instance::remove_rule(const std::string &selector) {
    const auto wanted = parse_selector(selector);
    if (!wanted)
        return std::unexpected(wanted.error());
    auto session = impl_->open_for_changing();
    if (!session)
        return std::unexpected(session.error());
    auto rules = session->slots().rules();
    if (!rules)
        return std::unexpected(rules.error());
    const auto it = std::find_if(rules->begin(), rules->end(),
                                 [&](const mps_rule &r) { return same_selector(r, *wanted); });
    if (it == rules->end())
        return false;
    const auto first = static_cast<std::uint32_t>(it - rules->begin());
    rules->erase(it);
    // Moving up one by one: at every moment each remaining rule is there at least once, in order.
    for (std::uint32_t i = first; i < rules->size(); i++) {
        if (auto done = write_value(session->pins.map(MPS_MAP_RULES), i, (*rules)[i], MPS_MAP_RULES); !done) {
            return std::unexpected(done.error());
        }
    }
    const auto done = session->config.update([&](mps_config &c) {
        c.nr_rules = static_cast<std::uint32_t>(rules->size());
        bump_rule_epoch(c);
    });
    if (!done)
        return std::unexpected(done.error());
    const auto last = static_cast<std::uint32_t>(rules->size());
    if (auto cleared = write_value(session->pins.map(MPS_MAP_RULES), last, mps_rule{}, MPS_MAP_RULES);
        !cleared) {
        return std::unexpected(cleared.error());
    }
    if (auto collected = session->slots().collect(); !collected)
        return std::unexpected(collected.error());
    if (auto settled = settle_levers(*session); !settled)
        return std::unexpected(settled.error());
    return true;
}

Result<std::vector<Param>> Instance::set(const std::vector<Setting> &settings, const std::string &wanted) {
    const auto parts = split(settings);
    if (!parts)
        return std::unexpected(parts.error());
    auto session = impl_->open_for_changing();
    if (!session)
        return std::unexpected(session.error());
    const auto config = session->config.read();
    if (!config)
        return std::unexpected(config.error());
    auto slots = session->slots().read();
    if (!slots)
        return std::unexpected(slots.error());
    const std::string policy = own_name(wanted, *slots);

    std::vector<Slot *> targets;
    for (Slot &slot : *slots) {
        if (!slot.policy)
            continue;
        if (policy.empty() ? slot.number == default_slot(*config) : slot.policy->header.name == policy)
            targets.push_back(&slot);
    }
    if (targets.empty() && !policy.empty() && policy != pass_through) {
        if (find_builtin(policy)) {
            return fail(ErrorCode::usage, fmt::format("policy '{}' is not loaded", policy),
                        fmt::format("'mpsched use {0}' or 'mpsched policy load {0}' comes first", policy));
        }
        return unknown_policy(policy, *slots);
    }
    // All checks come before the first write.
    std::vector<std::vector<CheckedSetting>> checked;
    for (const Slot *slot : targets) {
        auto one = check_settings(slot->policy->header.name, slot->policy->params, parts->policy);
        if (!one)
            return std::unexpected(one.error());
        checked.push_back(std::move(*one));
    }
    if (targets.empty()) {
        if (auto none = check_settings(std::string(pass_through), {}, parts->policy); !none)
            return std::unexpected(none.error());
    }
    for (std::size_t i = 0; i < targets.size(); i++) {
        if (auto done = set_live(*targets[i]->policy, checked[i]); !done)
            return std::unexpected(done.error());
    }
    if (parts->dwell_us) {
        if (auto done = session->config.update([&](mps_config &c) { c.dwell_us = *parts->dwell_us; });
            !done) {
            return std::unexpected(done.error());
        }
    }
    if (std::any_of(targets.begin(), targets.end(),
                    [](const Slot *slot) { return slot->policy->header.levers; })) {
        if (auto settled = settle_levers(*session); !settled)
            return std::unexpected(settled.error());
    }
    std::vector<Param> result;
    if (!targets.empty())
        result = values_of(targets.front()->policy->params);
    const auto now = session->config.read();
    if (!now)
        return std::unexpected(now.error());
    Param dwell = engine_params().front();
    dwell.value = now->dwell_us;
    result.push_back(std::move(dwell));
    return result;
}

} // namespace mps
