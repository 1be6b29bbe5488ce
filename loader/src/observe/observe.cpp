// SPDX-License-Identifier: MIT
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <ifaddrs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <fstream>
#include <iterator>
#include <set>
#include <span>
#include <sstream>
#include <thread>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "attach/carrier.hpp"
#include "attach/hooks.hpp"
#include "attach/levers.hpp"
#include "attach/vrf.hpp"
#include "base/addresses.hpp"
#include "base/amounts.hpp"
#include "base/numbers.hpp"
#include "instance_impl.hpp"
#include "kernel/device_place.hpp"
#include "mpsched/nearest.hpp"
#include "mpsched/netns.hpp"
#include "mpsched/selector.hpp"
#include "observe/diagnose.hpp"
#include "observe/dump.hpp"
#include "pins/bpffs.hpp"
#include "pins/orphans.hpp"

namespace mps {

namespace {

constexpr std::array<std::string_view, MPS_ENERGY_MAX> energy_names{"none", "wifi", "3g", "lte", "5g"};

struct CounterRow {
    std::string_view name;
    std::string_view text;
};
constexpr CounterRow counter_rows[] = {
#define MPS_COUNTER_ROW(id, name, text) {name, text},
    MPS_COUNTERS(MPS_COUNTER_ROW)
#undef MPS_COUNTER_ROW
};
static_assert(std::size(counter_rows) == MPS_C_MAX);

struct PathField {
    std::string_view key;
    std::uint32_t min, max;
    std::uint32_t mps_path::*member;
};
// Ranges as in abi.h, struct mps_path.
constexpr PathField path_fields[] = {
    {"weight", 1, 10000, &mps_path::weight},
    {"priority", 0, 255, &mps_path::priority},
    {"cost", 0, 1000000, &mps_path::cost},
};

constexpr std::uint64_t most_quota_bytes = 1'000'000'000'000'000;
constexpr std::uint64_t most_quota_period_s = 36'600ULL * 86'400;

// A value of an attribute, or a usage error that tells the range.
Result<std::uint64_t> attribute_value(const Setting &setting, std::string_view unit_name, std::uint64_t least,
                                      std::uint64_t most, std::string_view besides = {}) {
    const Unit unit = unit_of(unit_name);
    const auto value = parse_amount(setting.value, unit);
    const bool in_range = value && *value >= 0 && static_cast<std::uint64_t>(*value) >= least &&
                          static_cast<std::uint64_t>(*value) <= most;
    if (in_range)
        return static_cast<std::uint64_t>(*value);
    const std::string_view units = units_hint(unit.measure);
    return fail(ErrorCode::usage,
                fmt::format("{}={}: {}", setting.key, setting.value,
                            value ? std::string_view("out of range") : std::string_view(value.error())),
                fmt::format("the range is {}..{}{}{}{}{}{}", least, most, unit_name.empty() ? "" : " ",
                            unit_name, besides, units.empty() ? "" : "; ", units));
}

// quota=…, quota_period=…, quota_used=…; the last one is no attribute but a number that the data path goes on from.
Result<void> set_quota(mps_path &path, std::optional<std::uint64_t> &used, const Setting &setting) {
    if (setting.key == "quota" && setting.value == "none") {
        path.quota_bytes = 0;
        return {};
    }
    if (setting.key == "quota_period") {
        const auto seconds = setting.value == "none"
                                 ? Result<std::uint64_t>(0)
                                 : attribute_value(setting, "s", 1, most_quota_period_s,
                                                   ", or none for a quota once and for all");
        if (!seconds)
            return std::unexpected(seconds.error());
        path.quota_period_s = static_cast<std::uint32_t>(*seconds);
        path.quota_since_ns = boottime_ns();
        return {};
    }
    const bool is_quota = setting.key == "quota";
    const auto bytes =
        attribute_value(setting, "bytes", is_quota, most_quota_bytes, is_quota ? ", or none" : "");
    if (!bytes)
        return std::unexpected(bytes.error());
    if (!is_quota) {
        used = *bytes;
        return {};
    }
    if (!path.quota_bytes) {
        path.quota_since_ns = boottime_ns();
        if (!used)
            used = 0;
    }
    path.quota_bytes = *bytes;
    return {};
}

Result<void> set_attribute(mps_path &path, std::optional<std::uint64_t> &used, const Setting &setting) {
    if (setting.key == "quota" || setting.key == "quota_period" || setting.key == "quota_used")
        return set_quota(path, used, setting);
    if (setting.key == "energy") {
        const auto it = std::find(energy_names.begin(), energy_names.end(), setting.value);
        if (it == energy_names.end()) {
            return fail(ErrorCode::usage, fmt::format("energy={}: unknown class", setting.value),
                        fmt::format("there are: {}", fmt::join(energy_names, ", ")));
        }
        path.energy_class = static_cast<std::uint32_t>(it - energy_names.begin());
        return {};
    }
    for (const PathField &field : path_fields) {
        if (field.key != setting.key)
            continue;
        const auto value = attribute_value(setting, "", field.min, field.max);
        if (!value)
            return std::unexpected(value.error());
        path.*field.member = static_cast<std::uint32_t>(*value);
        return {};
    }
    const std::vector<std::string> names{"weight", "priority",     "cost",      "energy",
                                         "quota",  "quota_period", "quota_used"};
    return fail(
        ErrorCode::usage, fmt::format("a path has no attribute '{}'", setting.key),
        did_you_mean(setting.key, names) +
            "there are: weight (1..10000), priority (0..255), cost (0..1000000), energy (none, wifi, 3g, lte, 5g), "
            "quota, quota_period, quota_used");
}

PathStatus path_status(const mps_path &path, std::uint64_t used_bytes = 0) {
    return PathStatus{.name = path_name(path),
                      .ifindex = path.ifindex,
                      .attached = (path.flags & MPS_PATH_ATTACHED) != 0,
                      .wanted = (path.flags & MPS_PATH_WANTED) != 0,
                      .attributes = attributes_of(path),
                      .quota_used_bytes = used_bytes};
}

Result<PathStatus> path_status(const PathTable &table, const PathEntry &entry) {
    const auto used = table.used_bytes(entry);
    if (!used)
        return std::unexpected(used.error());
    return path_status(entry.path, *used);
}

// One interface as the kernel has it; what is wrong with it goes into `problem`.
Result<InterfaceStatus> interface_status(const InstallationPaths &paths, const Pins &pins,
                                         std::uint32_t ifindex, const std::optional<mps_path> &path) {
    const auto hooks = read_hooks(paths, pins, ifindex);
    if (!hooks)
        return std::unexpected(hooks.error());
    const auto device = net_device(ifindex);
    InterfaceStatus status{.name = device ? device->name : "", .ifindex = ifindex};
    if (path)
        status.attributes = attributes_of(*path);
    if (!device) {
        status.state = InterfaceState::absent;
        return status;
    }
    const auto xdp = read_xdp(ifindex, *hooks);
    if (!xdp)
        return std::unexpected(xdp.error());
    status.layer3 = device->layer3();
    status.mode = xdp->own_mode.value_or(Mode::tc);
    status.tc_hook = hooks->tcx ? "tcx" : "clsact";
    status.tc_prog_id = hooks->tc_prog_id();
    if (xdp->own_mode)
        status.xdp_prog_id = hooks->xdp->prog_id;

    const std::string tc = pins.program_name(status.tc_prog_id);
    const std::string wanted = tc_program_name(status.layer3, xdp->own_mode ? TcRole::wakes : TcRole::whole);
    if (!path || !(path->flags & (MPS_PATH_ATTACHED | MPS_PATH_WANTED))) {
        status.problem = "half attached";
    } else if (!(path->flags & MPS_PATH_ATTACHED)) {
        status.state = InterfaceState::detached;
        status.problem = "is there, but not attached";
        return status;
    } else if (tc.empty()) {
        status.problem = "the TC program is gone";
    } else if (hooks->xdp && !xdp->own_mode) {
        status.problem =
            xdp->foreign ? fmt::format("our XDP program was replaced by {}", prog_text(xdp->foreign->prog_id))
                         : "our XDP program was taken off";
    } else if (tc != wanted) {
        status.problem = fmt::format("TC runs {} instead of {}", tc, wanted);
    } else if (path->flags & MPS_PATH_LEAVING) {
        status.problem = "half detached";
    } else if (auto vrf = vrf_problem(paths, pins, *device, status.mode); !vrf) {
        return std::unexpected(vrf.error());
    } else {
        status.problem = std::move(*vrf);
    }
    if (!status.problem.empty()) {
        status.problem += "; 'mpsched repair' puts it right";
    } else if (const auto all = net_devices()) {
        status.problem = place_problem(*device, status.mode, *all);
    }
    return status;
}

std::optional<SubflowReason> reason_of(const KnownSubflow &subflow, const KnownConnection &connection) {
    if (!subflow.known || !(connection.known->reasoned >> subflow.position & 1))
        return std::nullopt;
    const mps_reason &given = subflow.known->reason;
    SubflowReason reason{.code = given.code};
    if (given.flags & MPS_REASON_HAS_NUMBER)
        reason.number = given.number;
    if (given.other && given.other <= MPS_MAX_SUBFLOWS && (connection.known->known >> (given.other - 1) & 1))
        reason.than = connection.known->sf[given.other - 1].id;
    return reason;
}

SubflowStatus subflow_status(const KnownSubflow &subflow, const KnownConnection &connection,
                             const std::set<std::uint32_t> &attached) {
    const mps_subflow_record &record = subflow.record;
    const mps_subflow_view &view = record.view;
    const auto has = [&](std::uint32_t flag) { return (view.flags & flag) != 0; };
    // An empty set of allowed subflows means all (abi.h, struct mps_verdict).
    const bool allowed =
        !subflow.known || !connection.known->allowed || (connection.known->allowed >> subflow.position & 1);
    // The data path knows as many as it can steer, and this is none of them.
    constexpr std::uint32_t all_known = (1U << MPS_MAX_SUBFLOWS) - 1;
    const bool surplus = connection.known && connection.known->known == all_known && !subflow.known;
    return SubflowStatus{.id = view.id,
                         .ifindex = subflow.ifindex(),
                         .ifname = ifname_of(subflow.ifindex()),
                         .local = endpoint_text(record.local, record.local_port),
                         .remote = endpoint_text(record.remote, record.remote_port),
                         .tcp_state = tcp_state_text(record.state),
                         .backup = subflow.backup(),
                         .peer_backup = subflow.peer_backup(),
                         .local_backup = has(MPS_SF_LOCAL_BACKUP),
                         .allowed = allowed,
                         .usable = has(MPS_SF_USABLE),
                         .stale = has(MPS_SF_STALE),
                         .steerable = attached.contains(subflow.ifindex()) && !surplus &&
                                      !(subflow.known && subflow.known->deaf),
                         .srtt_us = view.srtt_us,
                         .rttvar_us = view.rttvar_us,
                         .min_rtt_us = view.min_rtt_us,
                         .cwnd = view.cwnd_segs,
                         .ssthresh = view.ssthresh_segs,
                         .in_flight = view.in_flight_segs,
                         .mss_bytes = view.mss_bytes,
                         .queued_bytes = view.queued_bytes,
                         .notsent_bytes = view.notsent_bytes,
                         .bytes_acked = view.bytes_acked,
                         .pacing_rate = view.pacing_rate,
                         .max_pacing_rate = record.max_pacing_rate,
                         .notsent_lowat = record.notsent_lowat,
                         .lost = view.lost_segs,
                         .delivered = view.delivered_segs,
                         .reason = reason_of(subflow, connection)};
}

std::string policy_name(const std::vector<Slot> &slots, std::uint32_t number) {
    const auto it =
        std::find_if(slots.begin(), slots.end(), [&](const Slot &s) { return s.number == number; });
    if (it == slots.end())
        return "default";
    return it->policy ? it->policy->header.name : fmt::format("slot {}", number);
}

std::vector<OwnAddress> own_addresses() {
    std::vector<OwnAddress> result;
    ifaddrs *all = nullptr;
    if (::getifaddrs(&all))
        return result;
    for (const ifaddrs *one = all; one; one = one->ifa_next) {
        const int family = one->ifa_addr ? one->ifa_addr->sa_family : AF_UNSPEC;
        if (family != AF_INET && family != AF_INET6)
            continue;
        const void *address =
            family == AF_INET
                ? static_cast<const void *>(&reinterpret_cast<const sockaddr_in *>(one->ifa_addr)->sin_addr)
                : &reinterpret_cast<const sockaddr_in6 *>(one->ifa_addr)->sin6_addr;
        std::array<char, INET6_ADDRSTRLEN> text{};
        if (::inet_ntop(family, address, text.data(), text.size()))
            result.push_back({text.data(), one->ifa_name});
    }
    ::freeifaddrs(all);
    return result;
}

// Established TCP connections of the network namespace, subflows of MPTCP included: Tcp CurrEstab of /proc/net/snmp.
std::uint32_t established_tcp() {
    std::ifstream file("/proc/net/snmp");
    std::vector<std::string> names;
    for (std::string line; std::getline(file, line);) {
        if (!line.starts_with("Tcp: "))
            continue;
        std::istringstream words(line);
        std::vector<std::string> parts{std::istream_iterator<std::string>(words), {}};
        const auto at = std::find(names.begin(), names.end(), "CurrEstab");
        if (names.empty())
            names = std::move(parts);
        else if (at != names.end() && parts.size() == names.size())
            return static_cast<std::uint32_t>(
                parse_unsigned(parts[static_cast<std::size_t>(at - names.begin())]).value_or(0));
    }
    return 0;
}

// What of the circumstances needs no installation.
Circumstances look_around() {
    Circumstances seen;
    std::ifstream file("/proc/sys/net/mptcp/enabled");
    int enabled = 1;
    seen.enabled = !(file >> enabled) || enabled != 0;
    seen.network_manager = ::access("/run/NetworkManager", F_OK) == 0;
    seen.pm = read_path_manager();
    seen.devices = net_links().value_or(std::vector<NetDevice>{});
    seen.own_addresses = own_addresses();
    seen.max_subflows = MPS_MAX_SUBFLOWS;
    return seen;
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

} // namespace

std::string energy_name(std::uint32_t energy_class) {
    return std::string(energy_class < energy_names.size() ? energy_names[energy_class] : energy_names[0]);
}

PathAttributes attributes_of(const mps_path &path) {
    return PathAttributes{.weight = path.weight,
                          .priority = path.priority,
                          .cost = path.cost,
                          .energy = energy_name(path.energy_class),
                          .quota_bytes = path.quota_bytes ? std::optional(path.quota_bytes) : std::nullopt,
                          .quota_period_s = path.quota_period_s};
}

namespace {

// What is known of an interface, or the defaults. A name that nothing is known of is `unknown`.
struct Described {
    PathEntry entry{}; // index 0: in no table yet
    bool unknown = false;
};
Result<Described> describe(const PathTable &table, const std::string &interface) {
    const auto presence = look_at_interfaces(table);
    if (!presence)
        return std::unexpected(presence.error());
    for (const PathEntry &entry : presence->entries) {
        if (path_name(entry.path) == interface)
            return Described{.entry = entry};
    }
    const auto device = net_device(interface);
    return Described{.entry = {.path = default_path(device ? device->ifindex : 0, interface)},
                     .unknown = !device};
}

std::unexpected<Error> no_such_interface(const std::string &interface) {
    return fail(ErrorCode::usage, fmt::format("there is no interface '{}'", interface),
                fmt::format("there are: {}", fmt::join(interface_names(), ", ")));
}

// Paths have changed: the data path looks anew, and counts where there is a quota.
Result<void> announce_paths(Session &session) {
    const auto all = session.path_table().entries();
    if (!all)
        return std::unexpected(all.error());
    const bool metered =
        std::any_of(all->begin(), all->end(), [](const PathEntry &e) { return e.path.quota_bytes != 0; });
    return session.config.update([&](mps_config &c) {
        c.path_epoch++;
        c.flags &= ~static_cast<std::uint32_t>(MPS_CONFIG_METERED);
        if (metered)
            c.flags |= MPS_CONFIG_METERED;
    });
}

Result<void> apply(mps_path &path, std::optional<std::uint64_t> &used, const std::vector<Setting> &settings) {
    for (const Setting &setting : settings) {
        if (auto done = set_attribute(path, used, setting); !done)
            return done;
    }
    return {};
}

} // namespace

Result<PathStatus> Instance::path(const std::string &interface, const std::vector<Setting> &settings) {
    if (auto good = check_interface_name(interface); !good)
        return std::unexpected(good.error());
    std::optional<std::uint64_t> used;
    if (settings.empty()) {
        const auto pins = impl_->open_for_reading();
        if (!pins) {
            const auto device = net_device(interface);
            if (pins.error().what != not_installed().what)
                return std::unexpected(pins.error());
            if (!device)
                return no_such_interface(interface);
            return path_status(default_path(device->ifindex, interface));
        }
        const auto described = describe(PathTable(*pins), interface);
        if (!described)
            return std::unexpected(described.error());
        if (described->unknown)
            return no_such_interface(interface);
        return path_status(PathTable(*pins), described->entry);
    }
    mps_path trial = default_path(0, interface);
    if (auto good = apply(trial, used, settings); !good)
        return std::unexpected(good.error());
    bool created = false;
    auto session = impl_->open_or_create(created);
    if (!session)
        return std::unexpected(session.error());
    const auto before = describe(session->path_table(), interface);
    if (!before)
        return std::unexpected(before.error());
    mps_path wanted = before->entry.path;
    used.reset();
    if (auto done = apply(wanted, used, settings); !done)
        return std::unexpected(done.error());
    if (used && !wanted.quota_bytes) {
        return fail(ErrorCode::usage, fmt::format("{} has no quota, so there is nothing to count", interface),
                    "give quota=BYTES, too");
    }
    // A new period begins with what the present one had used.
    if (!used && wanted.quota_bytes && before->entry.index &&
        wanted.quota_since_ns != before->entry.path.quota_since_ns) {
        const auto so_far = session->path_table().used_bytes(before->entry);
        if (!so_far)
            return std::unexpected(so_far.error());
        used = *so_far;
    }
    if (auto done = session->path_table().put(wanted); !done)
        return std::unexpected(done.error());
    const auto placed = session->path_table().find(interface);
    if (!placed)
        return std::unexpected(placed.error());
    if (!*placed)
        return fail(ErrorCode::failed, "the path does not read back as written",
                    "something else writes to our maps: try again");
    if (used) {
        if (auto done = session->path_table().set_used_bytes(**placed, *used); !done)
            return std::unexpected(done.error());
    }
    if (auto done = announce_paths(*session); !done)
        return std::unexpected(done.error());
    return path_status(session->path_table(), **placed);
}

Result<bool> Instance::forget_path(const std::string &interface) {
    auto session = impl_->open_for_changing();
    if (!session && session.error().what == not_installed().what)
        return false;
    if (!session)
        return std::unexpected(session.error());
    const auto entry = session->path_table().find(interface);
    if (!entry)
        return std::unexpected(entry.error());
    if (!*entry)
        return false;
    mps_path path = default_path((*entry)->path.ifindex, interface);
    if (!(*entry)->absent()) {
        path.flags = (*entry)->path.flags;
        path.mode = (*entry)->path.mode;
    }
    if (auto done = session->path_table().set_used_bytes(**entry, 0); !done)
        return std::unexpected(done.error());
    auto done = is_plain(path) ? session->path_table().remove(**entry)
                               : session->path_table().put(PathEntry{(*entry)->index, path});
    if (done)
        done = announce_paths(*session);
    if (!done)
        return std::unexpected(done.error());
    return true;
}

Result<Status> Instance::status() const {
    Status status{.netns_cookie = impl_->cookie, .abi = MPS_ABI_VERSION, .engine = engine_params()};
    const auto bpffs = find_trusted_bpffs(impl_->options);
    if (bpffs && *bpffs) {
        for (const Installation &one : find_installations(**bpffs, impl_->cookie)) {
            // What stands in our own place is judged below; what other versions have elsewhere is no problem
            // of ours.
            if (one.state == Installation::State::complete || one.state == Installation::State::other_abi ||
                one.current)
                continue;
            // A command that is at work now is not half-made; its repair, if it should be killed, is for the
            // next one.
            if (one.at_work)
                continue;
            add_problem(status, "pins",
                        fmt::format("{} pins at {}: {}", to_string(one.state), one.path, one.text),
                        "'mpsched repair'");
        }
    }
    for (const Orphan &orphan : find_orphans(impl_->options, impl_->cookie)) {
        status.problems.push_back(
            fmt::format("{}: it runs, but its pins are gone; 'mpsched repair' removes it", orphan.text));
    }
    const auto pins = impl_->open_for_reading();
    if (!pins) {
        if (pins.error().code == ErrorCode::not_permitted)
            return std::unexpected(pins.error());
        if (pins.error().what != not_installed().what) {
            add_problem(status, "pins", pins.error().what, pins.error().hint);
        }
        conclude(status, look_around());
        return status;
    }
    status.installed = true;
    const InstallationPaths where = *impl_->paths();
    const auto config = read_config(*pins);
    if (!config)
        return std::unexpected(config.error());
    status.engine.front().value = config->dwell_us;

    const auto presence = look_at_interfaces(PathTable(*pins));
    if (!presence)
        return std::unexpected(presence.error());
    const std::vector<PathEntry> *entries = &presence->entries;
    std::set<std::uint32_t> interfaces;
    for (const std::uint32_t ifindex : pinned_interfaces(where)) {
        // What is left of one that is gone goes with the next command that changes something.
        if (!ifname_of(ifindex).empty())
            interfaces.insert(ifindex);
    }
    for (const PathEntry &entry : *entries) {
        auto path = path_status(PathTable(*pins), entry);
        if (!path)
            return std::unexpected(path.error());
        status.paths.push_back(std::move(*path));
        if (!entry.absent() && entry.has(MPS_PATH_ATTACHED | MPS_PATH_WANTED))
            interfaces.insert(entry.path.ifindex);
    }
    for (const std::uint32_t ifindex : interfaces) {
        const auto entry = std::find_if(entries->begin(), entries->end(),
                                        [&](const PathEntry &e) { return e.path.ifindex == ifindex; });
        auto one = interface_status(where, *pins, ifindex,
                                    entry == entries->end() ? std::nullopt : std::optional(entry->path));
        if (!one)
            return std::unexpected(one.error());
        // diagnose() tells of one that is there and not attached.
        if (!one->problem.empty() && one->state == InterfaceState::attached)
            add_problem(status, "interface", fmt::format("{}: {}", one->name, one->problem), "", one->name);
        status.interfaces.push_back(std::move(*one));
    }
    for (const PathEntry &entry : *entries) {
        if (entry.absent() && entry.has(MPS_PATH_WANTED)) {
            status.interfaces.push_back({.name = path_name(entry.path),
                                         .state = InterfaceState::absent,
                                         .mode = mode_of(entry.path.mode),
                                         .attributes = attributes_of(entry.path)});
        }
    }

    const Slots table(where, *pins);
    auto policies_now = loaded_policies(table);
    if (!policies_now)
        return std::unexpected(policies_now.error());
    status.policies = std::move(*policies_now);
    const auto slots = table.read();
    if (!slots)
        return std::unexpected(slots.error());
    for (const Slot &slot : *slots) {
        if (!slot.trouble.empty())
            add_problem(status, "slot", fmt::format("slot {}: {}", slot.number, slot.trouble));
        if (slot.lacking.any())
            add_problem(status, "slot",
                        fmt::format("slot {}: its policy does not run in mode {}", slot.number,
                                    slot.lacking.tc ? "tc" : "native or generic"),
                        "'mpsched repair'");
    }
    status.new_only = (config->flags & MPS_CONFIG_NEW_ONLY) != 0;
    status.default_slot = default_slot(*config);
    status.default_policy = policy_name(*slots, status.default_slot);
    const auto rules = table.rules();
    if (!rules)
        return std::unexpected(rules.error());
    for (const mps_rule &rule : *rules) {
        if (rule.fields)
            status.rules.push_back({format_selector(rule), policy_name(*slots, rule.slot), rule.slot});
    }
    const auto levers = lever_state(where, *pins);
    if (!levers)
        return std::unexpected(levers.error());
    if (levers->on && !levers->attached) {
        add_problem(status, "levers",
                    "new subflows do without what the policy wishes to be set (lowat_bytes): the sockops "
                    "program is not attached; see 'mpsched probe'");
    }
    if (config->flags & MPS_CONFIG_LEAVING) {
        add_problem(status, "half-detached", "half detached", "'mpsched repair'");
    }
    const auto stuck = is_wake_stuck(*pins);
    if (!stuck)
        return std::unexpected(stuck.error());
    if (*stuck) {
        add_problem(
            status, "parked",
            "a parked subflow is to be opened, but no packet comes by attached interfaces that could carry that",
            "'mpsched attach --follow' lends one whenever it is needed, 'mpsched repair' once");
    }
    Circumstances seen = look_around();
    seen.installed = true;
    seen.interfaces = status.interfaces;
    auto conns = connections();
    if (!conns)
        return std::unexpected(conns.error());
    seen.connections = std::move(*conns);
    status.connections = static_cast<std::uint32_t>(seen.connections.size());
    status.max_connections = room_of(*pins);
    auto misses = read_misses(*pins);
    if (!misses)
        return std::unexpected(misses.error());
    seen.misses = std::move(*misses);
    const auto counters = stats();
    if (!counters)
        return std::unexpected(counters.error());
    seen.no_room = (*counters)[MPS_C_CONN_FULL].value;
    std::uint32_t subflows = 0;
    for (const ConnectionStatus &connection : seen.connections)
        subflows += static_cast<std::uint32_t>(connection.subflows.size());
    const std::uint32_t tcp = established_tcp();
    seen.plain_tcp = tcp > subflows ? tcp - subflows : 0;
    conclude(status, seen);
    return status;
}

namespace {

const SubflowStatus *same_subflow(const std::vector<ConnectionStatus> &connections, std::uint32_t token,
                                  const SubflowStatus &like) {
    for (const ConnectionStatus &connection : connections) {
        if (connection.token != token)
            continue;
        for (const SubflowStatus &one : connection.subflows) {
            if (one.id == like.id && one.local == like.local && one.remote == like.remote)
                return &one;
        }
    }
    return nullptr;
}

} // namespace

Result<std::vector<ConnectionStatus>> Instance::connections(std::uint32_t sample_ms) const {
    using Clock = std::chrono::steady_clock;
    if (sample_ms) {
        const auto before = connections();
        const auto then = Clock::now();
        if (!before)
            return before;
        std::this_thread::sleep_for(std::chrono::milliseconds(sample_ms));
        auto now = connections();
        const double seconds = std::chrono::duration<double>(Clock::now() - then).count();
        if (!now)
            return now;
        for (ConnectionStatus &connection : *now) {
            for (SubflowStatus &one : connection.subflows) {
                const SubflowStatus *earlier = same_subflow(*before, connection.token, one);
                if (earlier && one.bytes_acked >= earlier->bytes_acked)
                    one.acked_bytes_s = static_cast<std::uint64_t>(
                        static_cast<double>(one.bytes_acked - earlier->bytes_acked) / seconds);
            }
        }
        return now;
    }
    const auto pins = impl_->open_for_reading();
    if (!pins)
        return std::unexpected(pins.error());
    const auto known = known_connections(*pins);
    if (!known)
        return std::unexpected(known.error());
    const auto slots = Slots(*impl_->paths(), *pins).read();
    if (!slots)
        return std::unexpected(slots.error());
    const auto entries = PathTable(*pins).entries();
    if (!entries)
        return std::unexpected(entries.error());
    const auto config = read_config(*pins);
    if (!config)
        return std::unexpected(config.error());
    std::set<std::uint32_t> attached;
    for (const PathEntry &entry : *entries) {
        if (entry.path.flags & MPS_PATH_ATTACHED)
            attached.insert(entry.path.ifindex);
    }
    std::vector<ConnectionStatus> result;
    for (const KnownConnection &connection : *known) {
        ConnectionStatus status{
            .token = connection.token, .policy = "default", .tracked = connection.known.has_value()};
        if (connection.known) {
            status.slot = connection.known->slot;
            status.pending = connection.known->rule_epoch != rule_epoch(*config);
            const bool is_there = std::ranges::find(*slots, status.slot, &Slot::number) != slots->end();
            if (status.pending && (!config->nr_rules || !is_there))
                status.slot = default_slot(*config);
            status.policy = policy_name(*slots, status.slot);
        }
        for (const KnownSubflow &subflow : connection.subflows) {
            status.subflows.push_back(subflow_status(subflow, connection, attached));
            status.plain |= subflow.record.plain != 0;
        }
        result.push_back(std::move(status));
    }
    return result;
}

Result<std::vector<CounterValue>> Instance::stats() const {
    const auto pins = impl_->open_for_reading();
    if (!pins)
        return std::unexpected(pins.error());
    const int cpus = libbpf_num_possible_cpus();
    if (cpus < 1)
        return std::unexpected(system_error(cpus, "counting the processors"));
    // One value for each CPU, each rounded up to 8 bytes; the contract has compared value_size with the
    // object's.
    constexpr std::size_t words = (sizeof(mps_counters) + 7) / 8;
    static_assert(sizeof(mps_counters) == MPS_C_MAX * sizeof(std::uint64_t));
    std::vector<std::uint64_t> values(words * static_cast<std::size_t>(cpus));
    const std::uint32_t key = 0;
    if (bpf_map_lookup_elem(pins->map(MPS_MAP_COUNTERS), &key, values.data())) {
        return std::unexpected(system_error(errno, "reading the counters"));
    }
    std::vector<CounterValue> result;
    for (std::size_t i = 0; i < MPS_C_MAX; i++) {
        CounterValue counter{counter_rows[i].name, counter_rows[i].text, 0};
        for (std::size_t cpu = 0; cpu < static_cast<std::size_t>(cpus); cpu++)
            counter.value += values[cpu * words + i];
        result.push_back(counter);
    }
    return result;
}

} // namespace mps
