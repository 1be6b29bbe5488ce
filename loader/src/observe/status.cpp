// SPDX-License-Identifier: MIT
#include <algorithm>
#include <set>

#include <fmt/format.h>

#include "attach/carrier.hpp"
#include "attach/hooks.hpp"
#include "attach/interface.hpp"
#include "attach/levers.hpp"
#include "attach/presence.hpp"
#include "attach/removed_endpoints.hpp"
#include "attach/vrf.hpp"
#include "base/addresses.hpp"
#include "base/try.hpp"
#include "instance_impl.hpp"
#include "kernel/device_place.hpp"
#include "observe/diagnose.hpp"
#include "observe/path_attributes.hpp"
#include "pins/bpffs.hpp"
#include "pins/orphans.hpp"
#include "policy/hosts.hpp"
#include "policy/selector.hpp"

namespace mps {

namespace {

// What is not at TC as the table of hooks wants it; "": nothing.
std::string hook_problem(const Pins &pins, const Hooks &hooks, const NetDevice &device, Mode mode,
                         Role role) {
    for (const HookProgram *one : wanted_on(device, mode, role)) {
        const Hook &hook = hook_of(one->hook);
        if (!hook.filter || !hook.of_interface)
            continue;
        const std::string there = pins.program_name(hooks.at(hook.id).prog_id());
        const std::string wanted = program_name(*one, device);
        if (there.empty() && !(hook.id == HookId::out && lacks_egress(hooks, device.ifindex)))
            return one->lack.empty() ? fmt::format("the program at {} is gone", hook.name)
                                     : fmt::format("{}: our program at {} is missing", one->lack, hook.name);
        if (!there.empty() && there != wanted)
            return fmt::format("{} runs {} instead of {}", hook.name, there, wanted);
    }
    return {};
}

// One interface as the kernel has it; what is wrong with it goes into `problem`.
Result<InterfaceStatus> interface_status(const InstallationPaths &paths, const Pins &pins,
                                         std::uint32_t ifindex, const std::optional<mps_path> &path) {
    const auto hooks = read_hooks(paths, pins, ifindex);
    MPS_TRY(hooks);
    const auto device = net_device(ifindex);
    InterfaceStatus status{.name = device ? device->name : "", .ifindex = ifindex};
    if (path)
        status.attributes = attributes_of(*path);
    if (!device) {
        status.state = InterfaceState::absent;
        return status;
    }
    const auto xdp = read_xdp(ifindex, *hooks);
    MPS_TRY(xdp);
    status.layer3 = device->layer3();
    status.role = path ? role_of(*path) : Role::host;
    status.mode = xdp->own_mode.value_or(Mode::tc);
    status.tc_hook = hooks->in.link ? "tcx" : "clsact";
    status.tc_prog_id = hooks->in.prog_id();
    status.out_prog_id = hooks->out.prog_id();
    if (xdp->own_mode)
        status.xdp_prog_id = hooks->xdp.prog_id();

    if (!path || !(path->flags & (MPS_PATH_ATTACHED | MPS_PATH_WANTED))) {
        status.problem = "half attached";
    } else if (!(path->flags & MPS_PATH_ATTACHED)) {
        status.state = InterfaceState::detached;
        status.problem = "is there, but not attached";
        return status;
    } else if (hooks->xdp.link && !xdp->own_mode && hooks->in.prog_id()) {
        status.problem =
            xdp->foreign ? fmt::format("our XDP program was replaced by {}", prog_text(xdp->foreign->prog_id))
                         : "our XDP program was taken off";
    } else if (std::string wrong = hook_problem(pins, *hooks, *device, status.mode, status.role);
               !wrong.empty()) {
        status.problem = std::move(wrong);
    } else if (path->flags & MPS_PATH_LEAVING) {
        status.problem = "half detached";
    } else if (status.role == Role::host) {
        auto vrf = vrf_problem(paths, pins, *device, status.mode);
        MPS_TRY(vrf);
        status.problem = std::move(*vrf);
    }
    if (!status.problem.empty()) {
        status.problem += "; 'mpsched repair' puts it right";
    } else if (const auto all = net_devices(); all && status.role == Role::host) {
        status.problem = place_problem(*device, status.mode, *all);
    }
    return status;
}

void conclude(Status &status, const Circumstances &seen) {
    for (Diagnosis &one : diagnose(seen))
        status.findings.push_back(std::move(one));
    std::stable_partition(status.findings.begin(), status.findings.end(),
                          [](const Diagnosis &f) { return f.severity == Diagnosis::Severity::problem; });
    for (const Diagnosis &one : status.findings) {
        auto &lines = one.severity == Diagnosis::Severity::problem ? status.problems : status.notes;
        lines.push_back(one.next.empty() ? one.what : fmt::format("{}; {}", one.what, one.next));
    }
}

void add_problem(Status &status, const char *id, const std::string &what, const std::string &next = {},
                 const std::string &subject = {}) {
    status.findings.push_back({Diagnosis::Severity::problem, id, subject, what, "", next});
}

// Installations of other places, and programs without pins.
void see_leftovers(const Instance::Impl &impl, Status &status) {
    const auto bpffs = find_trusted_bpffs(impl.options);
    if (bpffs && *bpffs) {
        for (const Installation &one : find_installations(**bpffs, impl.cookie)) {
            // What stands in our own place is judged below; what other versions have elsewhere is no problem
            // of ours. A command that is at work now is not half-made; its repair, if it should be killed, is for the
            // next one.
            if (one.state == Installation::State::complete || one.state == Installation::State::other_abi ||
                one.current || one.at_work)
                continue;
            add_problem(status, "pins",
                        fmt::format("{} pins at {}: {}", to_string(one.state), one.path, one.text),
                        "'mpsched repair'");
        }
    }
    for (const Orphan &orphan : find_orphans(impl.options, impl.cookie)) {
        status.problems.push_back(
            fmt::format("{}: it runs, but its pins are gone; 'mpsched repair' removes it", orphan.text));
    }
}

// Interfaces with programs of ours, or that are to have them.
std::set<std::uint32_t> concerned_interfaces(const InstallationPaths &where,
                                             const std::vector<PathEntry> &entries) {
    std::set<std::uint32_t> interfaces;
    for (const std::uint32_t ifindex : pinned_interfaces(where)) {
        // What is left of one that is gone goes with the next command that changes something.
        if (!ifname_of(ifindex).empty())
            interfaces.insert(ifindex);
    }
    for (const PathEntry &entry : entries) {
        if (!entry.absent() && entry.has(MPS_PATH_ATTACHED | MPS_PATH_WANTED))
            interfaces.insert(entry.path.ifindex);
    }
    return interfaces;
}

Result<void> see_interfaces(const InstallationPaths &where, const Pins &pins, const mps_config &config,
                            Status &status) {
    const auto presence = look_at_interfaces(PathTable(pins));
    MPS_TRY(presence);
    const std::vector<PathEntry> &entries = presence->entries;
    for (const PathEntry &entry : entries) {
        auto path = path_status(PathTable(pins), entry);
        MPS_TRY(path);
        path->down = is_down(entry, config);
        status.paths.push_back(std::move(*path));
    }
    for (const std::uint32_t ifindex : concerned_interfaces(where, entries)) {
        const auto entry =
            std::ranges::find_if(entries, [&](const PathEntry &e) { return e.path.ifindex == ifindex; });
        auto one = interface_status(where, pins, ifindex,
                                    entry == entries.end() ? std::nullopt : std::optional(entry->path));
        MPS_TRY(one);
        // diagnose() tells of one that is there and not attached.
        if (!one->problem.empty() && one->state == InterfaceState::attached)
            add_problem(status, "interface", fmt::format("{}: {}", one->name, one->problem), "", one->name);
        if (one->problem.empty() && one->state == InterfaceState::attached && !one->out_prog_id) {
            status.findings.push_back(
                {Diagnosis::Severity::note, "peers", one->name,
                 fmt::format("{}: what peers send is not steered: it has no egress of its own", one->name),
                 "", ""});
        }
        status.interfaces.push_back(std::move(*one));
    }
    for (const PathEntry &entry : entries) {
        if (entry.absent() && entry.has(MPS_PATH_WANTED)) {
            status.interfaces.push_back({.name = path_name(entry.path),
                                         .state = InterfaceState::absent,
                                         .mode = mode_of(entry.path.mode),
                                         .role = role_of(entry.path),
                                         .attributes = attributes_of(entry.path)});
        }
    }
    return {};
}

// A host without an address makes its rule one for nothing; old addresses may be others' by now.
std::vector<std::string> see_host(const Pins &pins, const mps_rule &rule, Status &status) {
    if (!(rule.fields & MPS_RULE_HOST))
        return {};
    constexpr std::uint32_t old_s = 600;
    const KnownHost known = known_host(pins, rule.host);
    const std::string next = fmt::format(
        "'mpsched attach --follow' and mpschedd look it up again; 'getent ahosts {}' asks the same",
        rule.host_name);
    const std::uint64_t age_s = boottime_ns() / 1'000'000'000 - known.seen_s;
    if (known.addresses.empty())
        add_problem(status, "host",
                    fmt::format("no address of {} is known: its rule is for nothing", rule.host_name), next);
    else if (age_s > old_s)
        status.findings.push_back({Diagnosis::Severity::note, "host", rule.host_name,
                                   fmt::format("the addresses of {} were last confirmed {} minutes ago",
                                               rule.host_name, age_s / 60),
                                   "", next});
    std::vector<std::string> texts;
    for (const HostAddress &address : known.addresses)
        texts.push_back(address_text(address));
    return texts;
}

Result<void> see_policies(const InstallationPaths &where, const Pins &pins, const mps_config &config,
                          Status &status) {
    const Slots table(where, pins);
    auto policies_now = loaded_policies(table);
    MPS_TRY(policies_now);
    status.policies = std::move(*policies_now);
    const auto slots = table.read();
    MPS_TRY(slots);
    for (const Slot &slot : *slots) {
        if (!slot.trouble.empty())
            add_problem(status, "slot", fmt::format("slot {}: {}", slot.number, slot.trouble));
        if (slot.lacking.any())
            add_problem(status, "slot",
                        fmt::format("slot {}: its policy does not run in mode {}", slot.number,
                                    slot.lacking.tc ? "tc" : "native or generic"),
                        "'mpsched repair'");
    }
    status.new_only = (config.flags & MPS_CONFIG_NEW_ONLY) != 0;
    status.default_slot = default_slot(config);
    status.default_policy = policy_in_slot(*slots, status.default_slot);
    status.rx_default_slot = config.rx_slot;
    status.rx_default_policy = policy_in_slot(*slots, config.rx_slot);
    const auto rules = table.rules();
    MPS_TRY(rules);
    for (const mps_rule &rule : *rules) {
        if (!rule.fields)
            continue;
        status.rules.push_back(rule_status(rule, *slots));
        status.rules.back().addresses = see_host(pins, rule, status);
    }
    return {};
}

// What a killed command left, and what cannot be carried out.
Result<void> see_unfinished(const InstallationPaths &where, const Pins &pins, const mps_config &config,
                            Status &status) {
    const auto levers = lever_state(where, pins);
    MPS_TRY(levers);
    if (levers->on && !levers->attached) {
        add_problem(status, "levers",
                    "new subflows do without what the policy wishes to be set (lowat_bytes): the sockops "
                    "program is not attached; see 'mpsched probe'");
    }
    if (config.flags & MPS_CONFIG_LEAVING) {
        add_problem(status, "half-detached", "half detached", "'mpsched repair'");
    }
    const auto stuck = is_wake_stuck(pins);
    MPS_TRY(stuck);
    if (*stuck) {
        add_problem(
            status, "parked",
            "a parked subflow is to be opened, but no packet comes by attached interfaces that could carry that",
            "'mpsched attach --follow' lends one whenever it is needed, 'mpsched repair' once");
    }
    return {};
}

Result<void> see_connections(const Instance &instance, const InstallationPaths &paths, const Pins &pins,
                             Status &status) {
    Circumstances seen = look_around();
    seen.installed = true;
    seen.interfaces = status.interfaces;
    auto removed = RemovedEndpoints(paths).all();
    MPS_TRY(removed);
    seen.removed_endpoints = std::move(*removed);
    auto conns = instance.connections();
    MPS_TRY(conns);
    seen.connections = std::move(*conns);
    status.connections = static_cast<std::uint32_t>(seen.connections.size());
    status.max_connections = room_of(pins);
    auto misses = read_misses(pins);
    MPS_TRY(misses);
    seen.misses = std::move(*misses);
    const auto counters = instance.stats();
    MPS_TRY(counters);
    seen.no_room = (*counters)[MPS_C_CONN_FULL].value;
    seen.forwarding.connections = (*counters)[MPS_C_GW_CONNS].value;
    seen.forwarding.half_seen = (*counters)[MPS_C_GW_UNSEEN].value;
    seen.forwarding.no_room = (*counters)[MPS_C_GW_FULL].value;
    std::uint32_t subflows = 0;
    for (const ConnectionStatus &connection : seen.connections)
        subflows += static_cast<std::uint32_t>(connection.subflows.size());
    const std::uint32_t tcp = established_tcp();
    seen.plain_tcp = tcp > subflows ? tcp - subflows : 0;
    conclude(status, seen);
    return {};
}

} // namespace

RuleStatus rule_status(const mps_rule &rule, const std::vector<Slot> &slots) {
    const auto name_of = [&](std::uint32_t slot) {
        return slot == MPS_SLOT_OPEN ? std::string() : policy_in_slot(slots, slot);
    };
    return {.selector = format_selector(rule),
            .policy = name_of(rule.slot),
            .slot = rule.slot,
            .rx_policy = name_of(rule.rx_slot),
            .rx_slot = rule.rx_slot};
}

Result<Status> Instance::status() const {
    const auto call = impl_->enter();
    MPS_TRY(call);
    Status status{.netns_cookie = impl_->cookie, .abi = MPS_ABI_VERSION, .engine = engine_params()};
    see_leftovers(*impl_, status);
    const auto pins = impl_->open_for_reading();
    if (!pins) {
        if (pins.error().code == ErrorCode::not_permitted)
            return std::unexpected(pins.error());
        if (pins.error().kind != ErrorKind::not_installed)
            add_problem(status, "pins", pins.error().what, pins.error().hint);
        conclude(status, look_around());
        return status;
    }
    status.installed = true;
    const InstallationPaths where = *impl_->paths();
    const auto config = read_config(*pins);
    MPS_TRY(config);
    status.engine.front().value = config->dwell_us;
    MPS_TRY(see_interfaces(where, *pins, *config, status));
    MPS_TRY(see_policies(where, *pins, *config, status));
    MPS_TRY(see_unfinished(where, *pins, *config, status));
    MPS_TRY(see_connections(*this, where, *pins, status));
    return status;
}

} // namespace mps
