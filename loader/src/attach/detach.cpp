// SPDX-License-Identifier: MIT
//
// Leaving without a trace: first every subflow gets back the backup bit that its peer asked for, then our
// programs go.
#include <algorithm>
#include <chrono>
#include <filesystem>
#include <set>

#include <bpf/bpf.h>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "apps/grants.hpp"
#include "attach/hooks.hpp"
#include "attach/idle_probes.hpp"
#include "attach/interface.hpp"
#include "attach/levers.hpp"
#include "attach/peers.hpp"
#include "attach/presence.hpp"
#include "attach/removed_endpoints.hpp"
#include "attach/restore.hpp"
#include "attach/vrf.hpp"
#include "base/try.hpp"
#include "congestion/choices.hpp"
#include "instance_impl.hpp"
#include "kernel/netns.hpp"
#include "observe/dump.hpp"
#include "options/option_rules.hpp"
#include "pins/bpffs.hpp"
#include "pins/orphans.hpp"
#include "spread/spread.hpp"

namespace mps {

namespace {

// Takes our programs off one interface. Its path stays LEAVING: whoever kills us here leaves that, and the next detach
// looks at its subflows once more.
Result<void> remove_interface(Session &session, std::uint32_t ifindex) {
    const auto entry = session.path_table().find(ifindex);
    MPS_TRY(entry);
    // Without the ATTACHED flag no more wakes are sent to it.
    if (*entry) {
        mps_path path = (*entry)->path;
        path.flags &= ~static_cast<std::uint32_t>(MPS_PATH_ATTACHED | MPS_PATH_WANTED);
        path.flags |= MPS_PATH_LEAVING;
        MPS_TRY(session.path_table().put(path));
        MPS_TRY(session.bump_path_epoch());
    }
    MPS_TRY(remove_programs(session.paths, session.pins, ifindex));
    MPS_TRY(leave_vrf(session.paths, session.pins, ifindex));

    const auto hooks = read_hooks(session.paths, session.pins, ifindex);
    MPS_TRY(hooks);
    if (hooks->any()) {
        return fail(ErrorKind::in_use,
                    fmt::format("interface {} still has programs of ours", ifname_of(ifindex)),
                    "something else attaches them: try again");
    }
    return {};
}

// Takes a path off the table, attributes that the user set excepted: it is done with.
Result<void> forget_interface(Session &session, std::uint32_t ifindex) {
    const auto entry = session.path_table().find(ifindex);
    MPS_TRY(entry);
    if (!*entry)
        return {};
    mps_path path = (*entry)->path;
    path.flags &= MPS_PATH_L3 | MPS_PATH_NEVER;
    auto done = is_plain(path) ? session.path_table().remove(ifindex) : session.path_table().put(path);
    if (!done)
        return done;
    return session.bump_path_epoch();
}

// Names to let go. What is neither there nor waited for is an error: it is mistyped.
std::vector<PathEntry> chosen_entries(const std::vector<PathEntry> &entries, const DetachRequest &request) {
    std::vector<PathEntry> chosen;
    for (const PathEntry &entry : entries) {
        const bool named = std::find(request.interfaces.begin(), request.interfaces.end(),
                                     path_name(entry.path)) != request.interfaces.end();
        if (request.all || named)
            chosen.push_back(entry);
    }
    return chosen;
}

Result<void> check_names(const std::vector<std::string> &names, const std::vector<PathEntry> &entries) {
    for (const std::string &name : names) {
        const bool known = std::any_of(entries.begin(), entries.end(),
                                       [&](const PathEntry &e) { return path_name(e.path) == name; });
        if (!known && !net_device(name)) {
            return no_such_interface(name);
        }
    }
    return {};
}

// An interface that is not there is no longer waited for.
Result<void> stop_waiting(Session &session, const PathEntry &entry) {
    mps_path path = entry.path;
    path.flags &= ~static_cast<std::uint32_t>(MPS_PATH_WANTED | MPS_PATH_GATEWAY);
    return is_plain(path) ? session.path_table().remove(entry)
                          : session.path_table().put(PathEntry{entry.index, path});
}

// Is what is pinned as links links?
Result<void> check_links(const InstallationPaths &paths, const Pins &pins) {
    for (const std::uint32_t ifindex : pinned_interfaces(paths)) {
        MPS_TRY(read_hooks(paths, pins, ifindex));
    }
    return {};
}

// For pins that cannot be trusted: no map is read, but nothing of ours stays.
Result<DetachResult> remove_blindly(const OpenOptions &options, std::uint64_t cookie,
                                    const std::string &reason) {
    const auto bpffs = find_trusted_bpffs(options);
    MPS_TRY(bpffs);
    if (!*bpffs)
        return DetachResult{};
    const auto lock = Lock::take(**bpffs, cookie, Patience(options));
    MPS_TRY(lock);
    // Filters are not pinned: found by the names of their programs.
    DetachResult result;
    if (const auto devices = net_devices()) {
        for (const NetDevice &device : *devices) {
            if (remove_filter_by_name(device.ifindex))
                result.interfaces.push_back(device.name);
        }
    }
    std::error_code error;
    for (const auto &entry : std::filesystem::directory_iterator(PinLayout(**bpffs).top, error)) {
        const std::string path = fmt::format("{}/{}{}", entry.path().string(), installed_prefix, cookie);
        // Links that somebody else holds open as well, and qdiscs of ours; what is none of these fails here.
        const InstallationPaths paths{path};
        for (const std::uint32_t ifindex : pinned_interfaces(paths)) {
            (void)remove_programs(paths, Pins{}, ifindex);
        }
        for (const NetDevice &device : net_devices().value_or(std::vector<NetDevice>{}))
            (void)remove_program(paths, Pins{}, HookId::vrf, device.ifindex);
        (void)RemovedEndpoints(paths).put_back();
        (void)end_probes(paths);
        MPS_TRY(remove_installation(path));
        std::filesystem::remove(entry.path(), error); // refuses unless it is empty
    }
    result.removed_everything = true;
    result.warnings.push_back(fmt::format("removed without restoring subflows: {}", reason));
    return result;
}

// What no pin leads to. Its interfaces and a warning go into the result.
Result<void> remove_orphans(const OpenOptions &options, std::uint64_t cookie, DetachResult &result) {
    std::set<std::string> interfaces(result.interfaces.begin(), result.interfaces.end());
    for (const Orphan &orphan : find_orphans(options, cookie)) {
        MPS_TRY(remove_orphan(orphan));
        if (orphan.ifindex && interfaces.insert(ifname_of(orphan.ifindex)).second)
            result.interfaces.push_back(ifname_of(orphan.ifindex));
        result.warnings.push_back(
            fmt::format("removed without restoring subflows, since its pins are gone: {}", orphan.text));
    }
    return {};
}

bool is_held(const PathEntry &entry) { return entry.has(MPS_PATH_ATTACHED | MPS_PATH_WANTED); }

// What one `detach` lets go.
struct Leave {
    std::vector<PathEntry> all;
    std::vector<PathEntry> chosen;
    std::set<std::uint32_t> leaving; // these have programs, or are to have them
    // Also those whose programs went without a look at their subflows: killed commands leave them.
    std::set<std::uint32_t> to_restore;
    bool everything = false;
};

Result<Leave> plan(const Session &session, const DetachRequest &request) {
    auto entries = session.path_table().entries();
    MPS_TRY(entries);
    Leave leave{.all = std::move(*entries)};
    leave.chosen = chosen_entries(leave.all, request);
    for (const PathEntry &entry : leave.chosen) {
        if (entry.absent())
            continue;
        if (is_held(entry))
            leave.leaving.insert(entry.path.ifindex);
        if (is_held(entry) || entry.has(MPS_PATH_LEAVING))
            leave.to_restore.insert(entry.path.ifindex);
    }
    // Paths that were only described go with the last interface that is let go, not by naming one that was
    // not attached.
    const auto let_go = std::ranges::count_if(leave.chosen, is_held);
    leave.everything = let_go == std::ranges::count_if(leave.all, is_held) && (request.all || let_go != 0);
    return leave;
}

// The data path parks nothing any more on what leaves. Tells of interfaces that were only waited for.
Result<void> announce(Session &session, const Leave &leave, DetachResult &result) {
    if (leave.everything) {
        MPS_TRY(session.config.update([](mps_config &c) {
            c.flags |= MPS_CONFIG_LEAVING;
            c.path_epoch++;
        }));
        MPS_TRY(release_levers(session.pins));
        MPS_TRY(replace_congestion_choices(session.paths, {}));
        MPS_TRY(remove_spread(session.paths));
    }
    for (const PathEntry &entry : leave.chosen) {
        if (!is_held(entry))
            continue;
        if (entry.absent()) {
            result.interfaces.push_back(path_name(entry.path));
            MPS_TRY(stop_waiting(session, entry));
            continue;
        }
        mps_path path = entry.path;
        path.flags |= MPS_PATH_LEAVING;
        MPS_TRY(session.path_table().put(path));
    }
    return session.bump_path_epoch();
}

// Rules about options go with their interfaces.
Result<void> drop_option_rules(Session &session, const DetachRequest &request, bool everything, bool tcx,
                               DetachResult &result) {
    const auto rules = placed_rules(session.paths);
    MPS_TRY(rules);
    std::vector<OptionRule> left;
    for (const PlacedRule &one : *rules) {
        const bool named =
            std::ranges::find(request.interfaces, one.rule.interface) != request.interfaces.end();
        if (everything || named)
            result.option_rules.push_back(option_rule_text(one.rule));
        else
            left.push_back(one.rule);
    }
    return result.option_rules.empty() ? Result<void>{} : replace_option_rules(session.paths, left, tcx);
}

// Subflows get their bits back, then programs go, then the paths.
Result<void> carry_out(Session &session, const Leave &leave, DetachResult &result) {
    Restored restored;
    MPS_TRY(restore(session.pins, leave.to_restore, 1, std::chrono::milliseconds(1000), restored));
    const auto left = take_back(
        session.pins, [&](std::uint32_t ifindex) { return leave.to_restore.contains(ifindex); },
        std::chrono::milliseconds(1000));
    MPS_TRY(left);
    for (const std::string &subflow : *left)
        result.warnings.push_back(
            fmt::format("the peer of {} still avoids it: it could not be told", subflow));
    const auto forwarded = take_back_forwarded(
        session.pins, [&](std::uint32_t ifindex) { return leave.to_restore.contains(ifindex); },
        std::chrono::milliseconds(1000));
    MPS_TRY(forwarded);
    for (const std::string &token : *forwarded)
        result.warnings.push_back(fmt::format(
            "who sends to the host of token {} still avoids a subflow: it could not be told", token));
    for (const std::uint32_t ifindex : leave.leaving) {
        result.interfaces.push_back(ifname_of(ifindex));
        MPS_TRY(remove_interface(session, ifindex));
    }
    // A packet that was inside our programs when they went may carry a last edit. The kernel acts on it when it holds the
    // subflow's socket: later, if a thread that sends was preempted while it held it. So one look is not enough.
    if (!leave.to_restore.empty()) {
        constexpr int looks = 3;
        wait_for_running_programs();
        restored.unrestored.clear();
        MPS_TRY(restore(session.pins, leave.to_restore, looks, std::chrono::milliseconds(200), restored));
    }
    for (const std::uint32_t ifindex : leave.to_restore)
        MPS_TRY(forget_interface(session, ifindex));
    result.restored = static_cast<std::uint32_t>(restored.touched.size());
    result.unrestored = std::move(restored.unrestored);
    return {};
}

// Why pins cannot be trusted, so that what stands there is to go without being read; nullopt: they can.
std::optional<std::string> why_blindly(const Instance::Impl &impl) {
    if (const auto versions = impl.check_versions(false); !versions)
        return versions.error().what;
    if (!impl.installed())
        return std::nullopt;
    const auto distrusted = [](const Error &error) { return error.code != ErrorCode::not_permitted; };
    const auto pins = open_pins(*impl.paths());
    if (!pins)
        return distrusted(pins.error()) ? std::optional(pins.error().what) : std::nullopt;
    const auto links = check_links(*impl.paths(), *pins);
    if (!links && distrusted(links.error()))
        return links.error().what;
    return std::nullopt;
}

// Names of interfaces that went while they were attached are known to the installation only.
std::vector<PathEntry> known_entries(const Instance::Impl &impl) {
    const auto pins = impl.installed() ? impl.open_for_reading() : std::unexpected(not_installed());
    if (!pins)
        return {};
    auto presence = look_at_interfaces(PathTable(*pins));
    return presence ? std::move(presence->entries) : std::vector<PathEntry>{};
}

Result<DetachResult> detach_pinned(const Instance::Impl &impl, const DetachRequest &request) {
    if (!request.all && request.interfaces.empty())
        return fail(ErrorCode::usage, "no interface is given", "name interfaces, or --all");
    MPS_TRY(impl.check_versions(true));
    if (request.all) {
        if (const auto reason = why_blindly(impl))
            return remove_blindly(impl.options, impl.cookie, *reason);
    }
    MPS_TRY(check_names(request.interfaces, known_entries(impl)));

    DetachResult result;
    auto session = impl.open_for_changing();
    // Nothing there is what was asked for.
    if (!session && session.error().kind == ErrorKind::not_installed)
        return result;
    MPS_TRY(session);
    const auto leave = plan(*session, request);
    MPS_TRY(leave);
    MPS_TRY(announce(*session, *leave, result));
    MPS_TRY(drop_option_rules(*session, request, leave->everything, impl.has_tcx(), result));
    MPS_TRY(RemovedEndpoints(session->paths).put_back());
    MPS_TRY(end_probes(session->paths));
    MPS_TRY(carry_out(*session, *leave, result));
    if (!leave->everything)
        return result;
    for (const PathEntry &entry : leave->all) {
        if (!has_default_attributes(entry.path))
            result.forgotten.push_back(path_name(entry.path));
    }
    const auto grants = read_grants(session->pins);
    for (const Grant &one : grants ? *grants : std::vector<Grant>{})
        result.warnings.push_back(fmt::format("applications of {} can choose no more", path_of(one.grant)));
    const auto bpffs = find_bpffs(impl.options);
    MPS_TRY(impl.remove_all(bpffs.value_or("")));
    result.removed_everything = true;
    return result;
}

} // namespace

Result<DetachResult> Instance::detach(const DetachRequest &request) {
    const auto call = impl_->enter();
    MPS_TRY(call);
    if (!request.all)
        return detach_pinned(*impl_, request);
    // In a place that others may write to nothing is read or removed; what runs is found all the same.
    const auto place = find_trusted_bpffs(impl_->options);
    if (!place && place.error().code == ErrorCode::not_permitted)
        return std::unexpected(place.error());
    auto result = place ? detach_pinned(*impl_, request) : Result<DetachResult>(DetachResult{});
    if (!result)
        return result;
    if (!place)
        result->warnings.push_back(fmt::format("{}; {}", place.error().what, place.error().hint));
    MPS_TRY(remove_orphans(impl_->options, impl_->cookie, *result));
    return result;
}

} // namespace mps
