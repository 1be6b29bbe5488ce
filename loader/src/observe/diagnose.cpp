// SPDX-License-Identifier: MIT
#include "observe/diagnose.hpp"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <map>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/addresses.hpp"
#include "base/clock.hpp"
#include "base/try.hpp"
#include "kernel/device_place.hpp"
#include "pins/live_config.hpp"

namespace mps {

namespace {

using Severity = Diagnosis::Severity;

// Fewer, or older: late packets of connections that were closed, as any host has them.
constexpr std::uint64_t few_packets = 10;
constexpr std::uint64_t long_ago_ms = 60'000;
constexpr std::size_t examples = 3;

std::string counted(std::size_t number, std::string_view noun) {
    return fmt::format("{} {}{}", number, noun, number == 1 ? "" : "s");
}

std::string listed(const std::set<std::string> &all) {
    std::vector<std::string> some(all.begin(), all.end());
    const bool more = some.size() > examples;
    some.resize(std::min(some.size(), examples));
    return fmt::format("{}{}", fmt::join(some, ", "), more ? ", …" : "");
}

bool is_attached(const Circumstances &seen, const std::string &name) {
    return std::any_of(seen.interfaces.begin(), seen.interfaces.end(), [&](const InterfaceStatus &i) {
        return i.name == name && i.state == InterfaceState::attached;
    });
}

// ---- MPTCP itself

void judge_endpoints(const Circumstances &seen, std::vector<Diagnosis> &found) {
    if (!seen.pm || !seen.pm->in_kernel)
        return;
    const auto &endpoints = seen.pm->endpoints;
    const auto subflows = static_cast<std::uint32_t>(
        std::count_if(endpoints.begin(), endpoints.end(), [](const Endpoint &e) { return e.subflow; }));
    if (seen.pm->subflow_limit == 0) {
        found.push_back({Severity::problem, "no-subflows-allowed", "",
                         "the limit of further subflows is 0: every connection has one",
                         "the kernel's path manager neither opens nor accepts any",
                         "'ip mptcp limits set subflows 8'"});
    } else if (endpoints.empty()) {
        found.push_back(
            {Severity::note, "no-endpoints", "", "there is no MPTCP endpoint",
             "the kernel's path manager opens subflows from addresses that it was told, so this host opens no "
             "further ones; what peers open is steered all the same",
             "'ip mptcp endpoint add ADDRESS dev IFACE subflow' for each path but the first"});
    } else if (seen.pm->subflow_limit && subflows > *seen.pm->subflow_limit) {
        found.push_back({Severity::note, "few-subflows-allowed", "",
                         fmt::format("{} subflow endpoints, but the limit of further subflows is {}",
                                     subflows, *seen.pm->subflow_limit),
                         "the others are not used",
                         fmt::format("'ip mptcp limits set subflows {}'", subflows)});
    }
}

// An interface that comes back has another index; the endpoint stays with the old one.
void judge_orphans(const Circumstances &seen, std::vector<Diagnosis> &found) {
    if (!seen.pm || !seen.pm->in_kernel)
        return;
    for (const Endpoint &one : seen.pm->endpoints) {
        if (one.orphaned)
            found.push_back(
                {Severity::problem, "orphaned-endpoint", "",
                 fmt::format("endpoint {} ({}) is bound to an interface that is gone", one.id, one.address),
                 "the kernel opens no subflow from it, also when an interface of the same name is back",
                 fmt::format("'ip mptcp endpoint delete id {}', and add it again", one.id)});
    }
}

void judge_removed(const Circumstances &seen, std::vector<Diagnosis> &found) {
    for (const Endpoint &one : seen.removed_endpoints)
        found.push_back(
            {Severity::note, "removed-endpoint", one.ifname,
             fmt::format("endpoint {} ({}) is removed and added in turns", one.id, one.address),
             "its path went silent, and --close-silent or [failover] closes such paths until they answer",
             "'mpsched repair' puts it back if nobody follows any more"});
}

void judge_backup_flags(const Circumstances &seen, std::vector<Diagnosis> &found) {
    std::map<std::string, std::string> flagged; // local address -> what to do
    const std::string_view nm = seen.network_manager
                                    ? "; where NetworkManager made it, take 'backup' out of the profile: "
                                      "'nmcli connection modify NAME connection.mptcp-flags …'"
                                    : "";
    for (const Endpoint &one : seen.pm ? seen.pm->endpoints : std::vector<Endpoint>{}) {
        if (!one.backup)
            continue;
        flagged[one.address] = one.ifname;
        found.push_back({Severity::note, "backup-endpoint", one.ifname,
                         fmt::format("endpoint {} ({}{}{}) has the flag 'backup'", one.id, one.address,
                                     one.ifname.empty() ? "" : " dev ", one.ifname),
                         "the kernel uses its subflows only when nothing else works, whatever a policy says",
                         fmt::format("'ip mptcp endpoint change id {} nobackup'{}", one.id, nm)});
    }
    std::set<std::string> others;
    for (const ConnectionStatus &connection : seen.connections) {
        for (const SubflowStatus &one : connection.subflows) {
            if (one.local_backup && !flagged.contains(one.local.substr(0, one.local.rfind(':'))))
                others.insert(one.local);
        }
    }
    if (!others.empty())
        found.push_back(
            {Severity::note, "backup-subflow", "",
             fmt::format("subflows were opened as backups: {}", listed(others)),
             "the kernel uses them only when nothing else works, whatever a policy says; the endpoint has "
             "changed since, or another path manager (mptcpd) opened them",
             "new connections go by the endpoint's flags of now: 'ip mptcp endpoint show'"});
}

// ---- connections

void judge_kinds(const Circumstances &seen, std::vector<Diagnosis> &found) {
    std::set<std::string> plain;
    std::size_t single = 0, multi = 0;
    for (const ConnectionStatus &one : seen.connections) {
        if (one.plain)
            plain.insert(one.subflows.empty() ? "?" : one.subflows.front().remote);
        else
            (one.subflows.size() > 1 ? multi : single)++;
    }
    if (!plain.empty())
        found.push_back(
            {Severity::note, "plain-tcp", "",
             fmt::format("MPTCP sockets that fell back to plain TCP, to {}", listed(plain)),
             "the listener there does not ask for MPTCP, has it switched off, or something in between takes the "
             "option out of the SYN",
             "start the server with 'mptcpize run', or with a socket of IPPROTO_MPTCP; 'nstat -az MPTcpExt*' "
             "tells how it fell back"});
    if (single && seen.interfaces.size() > 1)
        found.push_back(
            {Severity::note, "one-subflow", "",
             fmt::format("{} of {} MPTCP connections have one subflow: there is nothing to choose", single,
                         single + multi),
             "they are young, the peer accepts no more, or no endpoint is on another path",
             "'ip mptcp endpoint show', 'ip mptcp limits show' on both hosts; 'ip mptcp monitor' shows joins"});
    if (seen.connections.empty() && seen.plain_tcp && seen.installed)
        found.push_back({Severity::note, "no-mptcp", "",
                         fmt::format("no MPTCP connection, though there are {}",
                                     counted(seen.plain_tcp, "TCP connection")),
                         "applications get MPTCP only if they ask for it",
                         "'mptcpize run COMMAND', or IPPROTO_MPTCP"});
}

void judge_unsteered(const Circumstances &seen, std::vector<Diagnosis> &found) {
    struct Sum {
        std::size_t subflows = 0, connections = 0;
    };
    std::map<std::string, Sum> sums;
    std::size_t crowded = 0;
    for (const ConnectionStatus &connection : seen.connections) {
        // One subflow alone leaves nothing to be steered.
        if (connection.subflows.size() < 2)
            continue;
        crowded += connection.subflows.size() > seen.max_subflows;
        std::map<std::string, std::size_t> here;
        for (const SubflowStatus &one : connection.subflows) {
            if (!one.steerable && one.tcp_state == "established")
                here[one.ifname]++;
        }
        for (const auto &[name, subflows] : here) {
            sums[name].subflows += subflows;
            sums[name].connections++;
        }
    }
    for (const auto &[name, sum] : sums) {
        const std::string which =
            fmt::format("{} of {}", counted(sum.subflows, "subflow"), counted(sum.connections, "connection"));
        if (name.empty()) {
            found.push_back({Severity::note, "unsteered", "",
                             fmt::format("{}: unsteered, no interface is known", which),
                             "no packet of them was met yet, or their interface is gone",
                             "they are used as the kernel likes"});
        } else if (is_attached(seen, name)) {
            found.push_back(
                {Severity::problem, "unheard", name,
                 fmt::format("{} on {}: unsteered, although it is attached", which, name),
                 "the kernel receives packets of them that are not met there: they come through another device, "
                 "or their addresses are translated",
                 fmt::format("'mpsched probe' tells which device to attach instead of {}", name)});
        } else {
            found.push_back({Severity::problem, "unsteered", name,
                             fmt::format("{} on {}, which is not attached: unsteered", which, name),
                             "the kernel uses them as it likes; policies only see that they exist",
                             fmt::format("'mpsched attach {}'", name)});
        }
    }
    if (crowded)
        found.push_back(
            {Severity::note, "many-subflows", "",
             fmt::format("{} have more than {} subflows", counted(crowded, "connection"), seen.max_subflows),
             "those beyond are unsteered", "'ip mptcp limits' on both hosts bounds them"});
}

// ---- packets without a socket

struct Reason {
    Severity severity = Severity::note;
    std::string why{};
    std::string next{};
};

const OwnAddress *owner_of(const Circumstances &seen, const std::string &address) {
    const auto found = std::find_if(seen.own_addresses.begin(), seen.own_addresses.end(),
                                    [&](const OwnAddress &own) { return own.address == address; });
    return found == seen.own_addresses.end() ? nullptr : &*found;
}

// For an address that a device on top of this one has.
std::optional<Reason> reason_above(const Circumstances &seen, const OwnAddress *owner,
                                   const NetDevice *device) {
    if (!owner || !device)
        return std::nullopt;
    for (const auto &[ifindex, name] : devices_above(*device, seen.devices)) {
        if (name == owner->device)
            return Reason{
                Severity::problem,
                fmt::format(
                    "{0} is an address of {1}, which stands on {2}: sockets that are bound to {1} are not "
                    "found there",
                    owner->address, name, device->name),
                fmt::format("'mpsched attach {}'", name)};
    }
    return std::nullopt;
}

Reason reason_bound(const SubflowStatus &subflow) {
    return {Severity::problem,
            fmt::format("there is a socket {} - {}, but bound to another device, such as a VRF",
                        subflow.local, subflow.remote),
            "attach the device that the socket is bound to, in mode tc"};
}

Reason reason_translated(const SubflowStatus &subflow, const Misses &miss) {
    return {
        Severity::problem,
        fmt::format("NAT on this host: on the wire it is {}, the socket has {}", miss.local, subflow.local),
        "sockets are looked up before addresses are translated back: exempt MPTCP from NAT on this host "
        "(iptables, nftables, conntrack), or bind to the address that is on the wire"};
}

Reason reason_without_socket(const OwnAddress *owner, const Misses &miss) {
    if (owner)
        return {
            Severity::note,
            fmt::format("{} is an address of this host, but no socket has this connection: it was closed, "
                        "belongs to another network namespace, or is translated for one behind this host",
                        miss.local_address),
            "nothing, if connections work; NAT for hosts behind this one is steered on those hosts"};
    return {Severity::note,
            fmt::format("{} is no address of this host: traffic that it forwards", miss.local_address),
            "nothing: connections are steered on the hosts where they end"};
}

Reason reason_of(const Circumstances &seen, const Misses &miss, const NetDevice *device) {
    if (device) {
        const Place place = place_of(*device, seen.devices);
        if (!place.what.empty())
            return {Severity::problem, place.what, place.next};
    }
    const OwnAddress *owner = owner_of(seen, miss.local_address);
    if (const auto above = reason_above(seen, owner, device))
        return *above;
    // All subflows of a connection may go to one address of the peer, so the one with both addresses comes first.
    const SubflowStatus *translated = nullptr;
    for (const ConnectionStatus &connection : seen.connections) {
        for (const SubflowStatus &one : connection.subflows) {
            if (one.remote != miss.remote)
                continue;
            if (one.local == miss.local)
                return reason_bound(one);
            if (!one.steerable) // the packets of another one are met, so they are not translated
                translated = &one;
        }
    }
    return translated ? reason_translated(*translated, miss) : reason_without_socket(owner, miss);
}

void judge_misses(const Circumstances &seen, std::vector<Diagnosis> &found) {
    for (const Misses &miss : seen.misses) {
        if (miss.packets < few_packets || miss.age_ms > long_ago_ms)
            continue;
        const auto device = std::find_if(seen.devices.begin(), seen.devices.end(),
                                         [&](const NetDevice &d) { return d.ifindex == miss.ifindex; });
        if (device == seen.devices.end())
            continue;
        const Reason reason = reason_of(seen, miss, &*device);
        found.push_back(
            {reason.severity, "no-socket", device->name,
             fmt::format("{}: {} MPTCP packets found no socket, the last one {} s ago, from {} to {}",
                         device->name, miss.packets, miss.age_ms / 1000, miss.remote, miss.local),
             reason.why, reason.next});
    }
}

void judge_interfaces(const Circumstances &seen, std::vector<Diagnosis> &found) {
    for (const InterfaceStatus &one : seen.interfaces) {
        if (one.state == InterfaceState::absent)
            found.push_back(
                {Severity::note, "absent", one.name, fmt::format("{} is absent", one.name),
                 "its attributes wait for it; it is attached when it is back, if somebody follows it",
                 "'mpsched attach --follow' attaches it at once when it is back, 'mpsched repair' then"});
        else if (one.state == InterfaceState::detached)
            found.push_back({Severity::problem, "detached", one.name,
                             fmt::format("{} is there, but not attached", one.name),
                             "it was gone, or somebody took our programs off",
                             "'mpsched repair' attaches it"});
    }
    if (!seen.installed)
        found.push_back({Severity::note, "not-attached", "",
                         "mpsched is not attached in this network namespace",
                         "the kernel schedules as always", "'mpsched attach IFACE…'"});
}

std::array<std::uint8_t, 16> mapped(const __be32 (&words)[4], bool is_ipv6) {
    std::array<std::uint8_t, 16> address{};
    if (is_ipv6) {
        std::memcpy(address.data(), words, 16);
    } else {
        std::copy(ipv4_mapped_prefix.begin(), ipv4_mapped_prefix.end(), address.begin());
        std::memcpy(address.data() + 12, words, 4);
    }
    return address;
}

} // namespace

Result<std::vector<Misses>> read_misses(const Pins &pins) {
    const int cpus = libbpf_num_possible_cpus();
    if (cpus < 1)
        return std::unexpected(system_error(cpus, "counting the processors"));
    const auto entries = PathTable(pins).entries();
    MPS_TRY(entries);
    const std::uint64_t now = monotonic_ns();
    std::vector<mps_miss> values(static_cast<std::size_t>(cpus));
    std::vector<Misses> result;
    for (const PathEntry &entry : *entries) {
        if (bpf_map_lookup_elem(pins.map(MPS_MAP_MISSES), &entry.index, values.data()))
            return std::unexpected(system_error(errno, "reading what found no socket"));
        Misses sum{.ifindex = entry.path.ifindex};
        std::uint64_t last = 0;
        for (const mps_miss &one : values) {
            if (!one.packets || one.ifindex != entry.path.ifindex)
                continue;
            sum.packets += one.packets;
            if (one.last_ns < last)
                continue;
            last = one.last_ns;
            const auto remote = mapped(one.saddr, one.is_ipv6), local = mapped(one.daddr, one.is_ipv6);
            sum.remote_address = address_text(remote);
            sum.local_address = address_text(local);
            sum.remote = endpoint_text(remote, ntohs(one.sport));
            sum.local = endpoint_text(local, ntohs(one.dport));
        }
        sum.age_ms = now > last ? (now - last) / 1'000'000 : 0;
        if (sum.packets)
            result.push_back(std::move(sum));
    }
    return result;
}

std::vector<Diagnosis> diagnose(const Circumstances &seen) {
    std::vector<Diagnosis> found;
    // A gateway needs none of its own.
    const bool own = seen.interfaces.empty() ||
                     std::ranges::any_of(seen.interfaces,
                                         [](const InterfaceStatus &one) { return one.role == Role::host; });
    if (own && !seen.enabled)
        found.push_back(
            {Severity::problem, "mptcp-off", "", "MPTCP is switched off in this network namespace",
             "new sockets are plain TCP (net.mptcp.enabled is 0)", "'sysctl -w net.mptcp.enabled=1'"});
    judge_interfaces(seen, found);
    judge_unsteered(seen, found);
    judge_misses(seen, found);
    if (seen.no_room)
        found.push_back(
            {Severity::problem, "table-full", "",
             fmt::format("{} found no room in the table at first: not steered meanwhile",
                         counted(seen.no_room, "connection")),
             "it has been full of connections that live",
             "'mpsched detach --all', then 'mpsched attach IFACE… --max-connections NUMBER' makes it larger"});
    if (own) {
        judge_endpoints(seen, found);
        judge_kinds(seen, found);
    }
    judge_gateway(seen, found);
    judge_orphans(seen, found);
    judge_removed(seen, found);
    judge_backup_flags(seen, found);
    std::stable_partition(found.begin(), found.end(),
                          [](const Diagnosis &f) { return f.severity == Severity::problem; });
    return found;
}

} // namespace mps
