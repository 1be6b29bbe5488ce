// SPDX-License-Identifier: MIT
#include "mpsched/applications.hpp"

#include <sys/random.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <span>

#include <mps/socket_options.h>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "apps/app_programs.hpp"
#include "apps/grants.hpp"
#include "attach/levers.hpp"
#include "attach/peers.hpp"
#include "base/try.hpp"
#include "instance_impl.hpp"
#include "kernel/cgroup.hpp"
#include "mpsched/policy_names.hpp"
#include "policy/policy_source.hpp"
#include "policy/policy_switch.hpp"
#include "policy/rules.hpp"

namespace mps {

namespace {

// Which policy a preference stands for: of those that may be chosen the first one here.
struct Preference {
    mpsched_preference prefer;
    std::array<std::string_view, 5> policies;
};
constexpr std::array preferences{
    Preference{MPSCHED_PREFER_LATENCY, {"interactive", "latency-budget", "smallest-delay", "auto", "ecf"}},
    Preference{MPSCHED_PREFER_THROUGHPUT, {"auto", "aggregate", "ecf", "blest", "round-robin"}},
    Preference{MPSCHED_PREFER_COST, {"quota", "active-standby", "handover", "overflow", "aggregate"}},
    Preference{MPSCHED_PREFER_ENERGY, {"energy", "active-standby", "handover", "overflow", ""}},
};

// ---- policies that may be chosen

Result<std::uint32_t> slot_for(Session &session, const std::string &given) {
    if (is_file_name(given))
        return fail(ErrorCode::usage, fmt::format("'{}' is no name of a policy", given),
                    "'mpsched policy load FILE' loads it, then its name can be allowed");
    const std::string name(resolve_policy_name(given));
    if (name == pass_through)
        return MPS_SLOT_NONE;
    const auto slots = session.slots().read();
    MPS_TRY(slots);
    if (auto refused = refusal(name, *slots))
        return std::unexpected(*refused);
    const auto kept = pinned_policies(session.paths);
    const BuiltinPolicy *builtin = find_builtin(name);
    const Slot *found = nullptr;
    for (const Slot &slot : *slots) {
        const bool usable = slot.policy && slot.policy->header.name == name &&
                            (!builtin || std::ranges::binary_search(kept, slot.number));
        if (usable && (!found || slot.policy->prog_id > found->policy->prog_id))
            found = &slot;
    }
    std::vector<Setting> settings;
    add_preset(given, settings);
    if (found && settings.empty())
        return found->number;
    if (!builtin)
        return unknown_policy(given, names_in(*slots));
    auto opened = open_builtin(*builtin);
    MPS_TRY(opened);
    return load_into_slot(session, *opened, settings);
}

Result<mps_grant_policy> policy_for(Session &session, const std::string &given,
                                    std::vector<std::string> &warnings) {
    mps_grant_policy policy{};
    if (given.size() >= sizeof policy.name)
        return fail(ErrorCode::usage, fmt::format("the name '{}' is too long", given),
                    fmt::format("at most {} characters", sizeof policy.name - 1));
    const auto slot = slot_for(session, given);
    MPS_TRY(slot);
    given.copy(policy.name, given.size());
    policy.slot = *slot;
    const auto slots = session.slots().read();
    MPS_TRY(slots);
    for (const Slot &one : *slots)
        if (one.number == *slot && one.policy)
            policy.rx = one.policy->header.rx;
    MPS_TRY(prepare_levers(session, *slot, warnings));
    return policy;
}

// Sockets have chosen by id: what stays allowed keeps it.
Result<void> put_policies(mps_grant &grant, const std::vector<mps_grant_policy> &wanted) {
    const auto same = [](const mps_grant_policy &one) {
        return [&one](const mps_grant_policy &other) { return name_of(one) == name_of(other); };
    };
    for (mps_grant_policy &one : grant.policy) {
        const auto stays = std::ranges::find_if(wanted, same(one));
        const std::uint16_t id = one.id;
        one = stays == wanted.end() ? mps_grant_policy{} : *stays;
        one.id = stays == wanted.end() ? 0 : id;
    }
    for (const mps_grant_policy &one : wanted) {
        if (std::ranges::any_of(grant.policy, same(one)))
            continue;
        const auto hole =
            std::ranges::find_if(grant.policy, [](const auto &place) { return !place.name[0]; });
        if (hole == std::end(grant.policy))
            return fail(ErrorKind::full,
                        fmt::format("at most {} policies may be allowed", MPS_GRANT_POLICIES),
                        "allow fewer of them");
        *hole = one;
        grant.last_id = grant.last_id % 65535 + 1;
        hole->id = static_cast<std::uint16_t>(grant.last_id);
    }
    grant.nr_policies = 0;
    for (std::uint32_t i = 0; i < MPS_GRANT_POLICIES; i++)
        if (grant.policy[i].name[0])
            grant.nr_policies = i + 1;
    for (const Preference &one : preferences) {
        grant.prefer[one.prefer] = 0;
        for (const std::string_view name : one.policies)
            for (std::uint32_t i = 0; i < grant.nr_policies && !grant.prefer[one.prefer]; i++)
                if (!name.empty() && name_of(grant.policy[i]) == name)
                    grant.prefer[one.prefer] = static_cast<std::uint8_t>(i + 1);
    }
    return {};
}

// ---- grants

Result<std::uint32_t> new_serial() {
    std::uint32_t serial = 0;
    while (!serial)
        if (::getrandom(&serial, sizeof serial, 0) != static_cast<ssize_t>(sizeof serial))
            return std::unexpected(system_error(errno, "choosing a number"));
    return serial;
}

// The one of this cgroup, or a blank one in a free place. Its place may be that of a cgroup that is gone.
Result<Grant> place_for(const Pins &pins, std::uint64_t cgroup, const std::string &path) {
    const auto grants = read_grants(pins);
    MPS_TRY(grants);
    for (const Grant &one : *grants)
        if (one.grant.cgroup_id == cgroup || path_of(one.grant) == path)
            return one;
    const auto used = [&](std::uint32_t index) {
        return std::ranges::any_of(*grants, [&](const Grant &one) { return one.index == index; });
    };
    Grant blank;
    while (blank.index < MPS_MAX_GRANTS && used(blank.index))
        blank.index++;
    if (blank.index == MPS_MAX_GRANTS)
        return fail(ErrorKind::full,
                    fmt::format("the applications of {} cgroups may choose already", MPS_MAX_GRANTS),
                    "'mpsched app detach --cgroup PATH' takes one off");
    return blank;
}

ApplicationGrant describe(const InstallationPaths &paths, const Grant &one) {
    ApplicationGrant result{.cgroup = path_of(one.grant)};
    for (const mps_grant_policy &policy : policies_of(one.grant))
        result.policies.push_back(name_of(policy));
    if (one.grant.max_cost != MPS_NO_COST_LIMIT)
        result.max_cost = one.grant.max_cost;
    const auto there = has_app_programs(paths, one.index);
    const auto id = cgroup_id(result.cgroup);
    if (!id)
        result.problem = "there is no such cgroup now";
    else if (*id != one.grant.cgroup_id)
        result.problem = "the cgroup was made anew; 'mpsched app attach' again";
    else if (!there || !*there)
        result.problem = "its programs are gone; 'mpsched app attach' again";
    return result;
}

// What nobody refers to any more goes. `anew`: something that was there has changed, so connections look again.
Result<void> settle(Session &session, bool anew) {
    const auto grants = read_grants(session.pins);
    MPS_TRY(grants);
    MPS_TRY(session.config.update([&](mps_config &c) {
        c.flags &= ~static_cast<std::uint32_t>(MPS_CONFIG_APPS);
        if (!grants->empty())
            c.flags |= MPS_CONFIG_APPS;
        if (!anew)
            return;
        c.choice += std::uint64_t{1} << 32;
        c.flags &= ~static_cast<std::uint32_t>(MPS_CONFIG_NEW_ONLY);
    }));
    MPS_TRY(settle_peers(session));
    MPS_TRY(session.slots().collect());
    return settle_levers(session);
}

Result<void> fill(Session &session, const ApplicationGrant &wanted, Grant &one,
                  std::vector<std::string> &warnings) {
    std::vector<mps_grant_policy> policies;
    for (const std::string &name : wanted.policies) {
        const auto policy = policy_for(session, name, warnings);
        MPS_TRY(policy);
        policies.push_back(*policy);
    }
    one.grant.max_cost = wanted.max_cost.value_or(MPS_NO_COST_LIMIT);
    return put_policies(one.grant, policies);
}

Result<ApplicationResult> grant_in(Session &session, const ApplicationGrant &wanted, std::uint64_t cgroup,
                                   const std::string &path) {
    ApplicationResult result;
    auto one = place_for(session.pins, cgroup, path);
    MPS_TRY(one);
    const mps_grant before = one->grant;
    if (!before.serial || before.cgroup_id != cgroup) {
        const auto serial = new_serial();
        MPS_TRY(serial);
        one->grant.serial = *serial;
    }
    one->grant.cgroup_id = cgroup;
    std::memset(one->grant.path, 0, sizeof one->grant.path);
    path.copy(one->grant.path, sizeof one->grant.path - 1);
    MPS_TRY(fill(session, wanted, *one, result.warnings));
    const auto there = has_app_programs(session.paths, one->index);
    MPS_TRY(there);
    result.changed = !*there || std::memcmp(&before, &one->grant, sizeof before) != 0;
    if (result.changed) {
        // What is chosen refers to the grant, so that comes first.
        MPS_TRY(write_grant(session.pins, *one));
        if (!*there || before.cgroup_id != cgroup) {
            if (auto done = attach_app_programs(session.paths, session.pins, one->index, path); !done) {
                (void)remove_app_programs(session.paths, one->index);
                (void)write_grant(session.pins, {one->index, {}});
                return std::unexpected(done.error());
            }
        }
        MPS_TRY(settle(session, before.serial != 0));
    }
    result.grant = describe(session.paths, *one);
    return result;
}

} // namespace

Result<std::string> canonical_cgroup(const std::string &path) {
    MPS_TRY(cgroup_id(path));
    return cgroup_below_mount(path);
}

Result<CgroupPlace> cgroup_place(const std::string &path) {
    auto directory = directory_of_cgroup(path);
    MPS_TRY(directory);
    return CgroupPlace{.path = cgroup_below_mount(path), .directory = std::move(*directory)};
}

Result<std::vector<ApplicationGrant>> application_grants(const Instance &instance) {
    const Instance::Impl &impl = Inside::of(instance);
    const auto call = impl.enter();
    MPS_TRY(call);
    std::vector<ApplicationGrant> result;
    const auto pins = impl.open_for_reading();
    if (!pins && pins.error().kind == ErrorKind::not_installed)
        return result;
    MPS_TRY(pins);
    const auto grants = read_grants(*pins);
    MPS_TRY(grants);
    for (const Grant &one : *grants)
        result.push_back(describe(*impl.paths(), one));
    return result;
}

Result<ApplicationResult> grant_applications(const Instance &instance, const ApplicationGrant &wanted) {
    const Instance::Impl &impl = Inside::of(instance);
    const auto call = impl.enter();
    MPS_TRY(call);
    const auto id = cgroup_id(wanted.cgroup);
    MPS_TRY(id);
    const auto path = cgroup_below_mount(wanted.cgroup);
    if (path.size() >= sizeof(mps_grant::path))
        return fail(ErrorCode::usage, fmt::format("the path '{}' is too long", path),
                    fmt::format("at most {} characters", sizeof(mps_grant::path) - 1));
    auto session = impl.open_for_changing();
    MPS_TRY(session);
    auto result = grant_in(*session, wanted, *id, path);
    if (!result)
        (void)session->slots().collect(); // what was loaded for it
    return result;
}

Result<std::vector<std::string>> revoke_applications(const Instance &instance,
                                                     const std::vector<std::string> &cgroups) {
    const Instance::Impl &impl = Inside::of(instance);
    const auto call = impl.enter();
    MPS_TRY(call);
    auto session = impl.open_for_changing();
    MPS_TRY(session);
    const auto grants = read_grants(session->pins);
    MPS_TRY(grants);
    std::vector<std::string> paths;
    for (const std::string &one : cgroups)
        paths.push_back(cgroup_below_mount(one));
    for (const std::string &path : paths)
        if (std::ranges::none_of(*grants, [&](const Grant &one) { return path_of(one.grant) == path; }))
            return fail(ErrorCode::usage, fmt::format("applications of '{}' may choose nothing anyway", path),
                        "'mpsched app list' shows those that may");
    std::vector<std::string> result;
    for (const Grant &one : *grants) {
        const std::string path = path_of(one.grant);
        if (!paths.empty() && std::ranges::find(paths, path) == paths.end())
            continue;
        // Void from here on; a program that is still running leaves its option to the kernel.
        MPS_TRY(write_grant(session->pins, {one.index, {}}));
        MPS_TRY(remove_app_programs(session->paths, one.index));
        result.push_back(path);
    }
    if (!result.empty())
        MPS_TRY(settle(*session, true));
    return result;
}

} // namespace mps
