// SPDX-License-Identifier: MIT
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/random.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <map>
#include <memory>
#include <set>

#include <fmt/format.h>

#include "base/addresses.hpp"
#include "base/try.hpp"
#include "common/prefix.hpp"
#include "instance_impl.hpp"
#include "spread/path_probe.hpp"
#include "spread/spread_map.hpp"

namespace mps {

namespace {

constexpr std::uint16_t usual_peer_port = 443;
constexpr std::uint32_t most_label = 0xfffff;
constexpr std::uint32_t most_hops = 30;

struct FreeAddresses {
    void operator()(ifaddrs *list) const { ::freeifaddrs(list); }
};

Result<HostAddress> single_address(const std::string &text) {
    const auto prefix = parse_prefix(text);
    MPS_TRY(prefix);
    if (prefix->bits != (prefix->family == 4 ? 32 : 128))
        return fail(ErrorCode::usage, fmt::format("'{}' is no single address", text),
                    "ADDRESS, without /LENGTH");
    return prefix->address;
}

std::optional<HostAddress> address_of(const sockaddr *name) {
    HostAddress address{};
    if (!name)
        return std::nullopt;
    if (name->sa_family == AF_INET) {
        std::copy(ipv4_mapped_prefix.begin(), ipv4_mapped_prefix.end(), address.begin());
        std::memcpy(address.data() + 12, &reinterpret_cast<const sockaddr_in *>(name)->sin_addr, 4);
        return address;
    }
    if (name->sa_family != AF_INET6)
        return std::nullopt;
    const in6_addr &ipv6 = reinterpret_cast<const sockaddr_in6 *>(name)->sin6_addr;
    if (IN6_IS_ADDR_LINKLOCAL(&ipv6))
        return std::nullopt;
    std::memcpy(address.data(), &ipv6, 16);
    return address;
}

// All of the interface that has the address by which the peer is reached.
Result<std::vector<HostAddress>> addresses_towards(const HostAddress &peer) {
    const auto source = parse_prefix(source_address(address_text(peer)));
    if (!source)
        return fail(ErrorCode::failed, fmt::format("there is no route to {}", address_text(peer)),
                    "'ip route get' shows routes");
    ifaddrs *list = nullptr;
    if (::getifaddrs(&list))
        return std::unexpected(system_error(errno, "listing addresses"));
    const std::unique_ptr<ifaddrs, FreeAddresses> owner(list);
    std::string interface;
    for (const ifaddrs *one = list; one; one = one->ifa_next)
        if (address_of(one->ifa_addr) == source->address)
            interface = one->ifa_name;
    std::vector<HostAddress> all;
    for (const ifaddrs *one = list; one; one = one->ifa_next) {
        const auto address = address_of(one->ifa_addr);
        if (address && one->ifa_name == interface && is_ipv4_mapped(*address) == is_ipv4_mapped(peer))
            all.push_back(*address);
    }
    return all;
}

// Ports that the kernel does not choose by itself.
std::pair<std::uint32_t, std::uint32_t> free_ports() {
    std::uint32_t low = 32768, high = 60999;
    std::ifstream("/proc/sys/net/ipv4/ip_local_port_range") >> low >> high;
    if (low >= 12'000)
        return {10'000, low - 1};
    return high <= 63'000 ? std::pair(high + 1, 65'535u) : std::pair(10'000u, 32'767u);
}

std::vector<std::uint32_t> drawn(std::uint32_t count, std::uint32_t least, std::uint32_t most) {
    std::set<std::uint32_t> values;
    while (values.size() < std::min(count, most - least + 1)) {
        std::uint32_t number = 0;
        if (::getrandom(&number, sizeof number, 0) != static_cast<ssize_t>(sizeof number))
            break;
        values.insert(least + number % (most - least + 1));
    }
    return {values.begin(), values.end()};
}

struct Prober {
    const SpreadProbeRequest &request;
    const std::function<bool()> &give_up;
    PathProbe probe;
    HostAddress peer{};
    std::uint8_t routers = 0; // between the two

    // How far it is: the least hop limit with which the peer answers, or behind the last router that does.
    Result<void> measure(const ProbePacket &like) {
        std::vector<ProbePacket> packets;
        for (std::uint32_t hops = 1; hops <= request.hops; hops++) {
            packets.push_back(like);
            packets.back().hops = static_cast<std::uint8_t>(hops);
        }
        const auto answers = probe.ask(packets, give_up);
        MPS_TRY(answers);
        for (std::size_t i = 0; i < answers->size(); i++) {
            if ((*answers)[i] == address_text(peer)) {
                routers = static_cast<std::uint8_t>(i);
                return {};
            }
            if (!(*answers)[i].empty())
                routers = static_cast<std::uint8_t>(i + 1);
        }
        return {};
    }

    // The routers of each, "" where one did not answer.
    Result<std::vector<std::string>> paths(const std::vector<ProbePacket> &like) {
        std::vector<ProbePacket> packets;
        for (const ProbePacket &one : like)
            for (std::uint8_t hops = 1; hops <= routers; hops++) {
                packets.push_back(one);
                packets.back().hops = hops;
            }
        const auto answers = probe.ask(packets, give_up);
        MPS_TRY(answers);
        std::vector<std::string> all(like.size());
        for (std::size_t i = 0; i < answers->size(); i++) {
            std::string &path = all[i / routers];
            const bool lost = (*answers)[i].empty() || (i % routers && path.empty());
            path = lost ? "" : fmt::format("{}{}{}", path, path.empty() ? "" : " ", (*answers)[i]);
        }
        return all;
    }
};

std::size_t different(const std::vector<std::string> &paths) {
    std::set<std::string> all(paths.begin(), paths.end());
    all.erase("");
    return all.size();
}

// What the fabric does with values of the other kind, and what that means for a map.
Result<std::string> problem_of(Prober &prober, std::vector<ProbePacket> packets,
                               const std::vector<std::string> &paths, bool by_port) {
    const std::uint32_t other_port = packets.front().local_port + 1u;
    if (different(paths) == 0)
        return std::string("no router answers: its ICMP errors are limited or dropped on the way");
    if (different(paths) > 1) {
        if (by_port)
            return std::string();
        for (ProbePacket &one : packets)
            one.local_port = static_cast<std::uint16_t>(other_port);
        const auto again = prober.paths(packets);
        MPS_TRY(again);
        for (std::size_t i = 0; i < paths.size(); i++)
            if (!paths[i].empty() && !(*again)[i].empty() && paths[i] != (*again)[i])
                return std::string(
                    "routers look at ports as well as labels, so no map of labels holds; without one "
                    "slow subflows find other paths");
        return std::string();
    }
    if (by_port)
        return std::string("there is one path, or routers do not look at ports");
    for (std::size_t i = 0; i < packets.size(); i++) {
        packets[i].label = packets.front().label;
        packets[i].local_port = static_cast<std::uint16_t>(other_port + i);
    }
    const auto again = prober.paths(packets);
    MPS_TRY(again);
    return std::string(
        different(*again) > 1
            ? "routers do not look at labels, but at ports: 'spread probe --by port' makes a map of those"
            : "there is one path, or routers look neither at labels nor at ports");
}

struct Probed {
    SpreadProbePair pair{};
    std::vector<std::uint32_t> values{};
    std::vector<std::string> paths{}; // of each value
};

Result<Probed> probe_pair(const SpreadProbeRequest &request, const std::function<bool()> &give_up,
                          const HostAddress &local, const HostAddress &peer) {
    const bool by_port = request.by_port || is_ipv4_mapped(peer);
    Probed result{
        .pair = {.local = address_text(local), .peer = address_text(peer), .by = by_port ? "port" : "label"}};
    const std::uint16_t peer_port = request.peer_port ? request.peer_port : usual_peer_port;
    auto probe = PathProbe::open(local, peer, peer_port);
    MPS_TRY(probe);
    Prober prober{.request = request, .give_up = give_up, .probe = std::move(*probe), .peer = peer};
    const auto [least, most] = free_ports();
    result.values = by_port ? drawn(request.values, least, most) : drawn(request.values, 1, most_label);
    std::vector<ProbePacket> packets;
    for (const std::uint32_t value : result.values)
        packets.push_back({.label = by_port ? 0 : value,
                           .local_port = static_cast<std::uint16_t>(by_port ? value : least)});
    MPS_TRY(prober.measure(packets.front()));
    result.pair.tried = static_cast<std::uint32_t>(packets.size());
    if (!prober.routers) {
        result.pair.problem =
            "no router answers: there is none, or its ICMP errors are limited or dropped on the way";
        return result;
    }
    auto paths = prober.paths(packets);
    MPS_TRY(paths);
    result.paths = std::move(*paths);
    result.pair.answered = static_cast<std::uint32_t>(
        std::ranges::count_if(result.paths, [](const auto &one) { return !one.empty(); }));
    auto problem = problem_of(prober, packets, result.paths, by_port);
    MPS_TRY(problem);
    result.pair.problem = std::move(*problem);
    result.pair.route = {.by = result.pair.by,
                         .local = result.pair.local,
                         .peer = result.pair.peer,
                         .peer_port = by_port ? peer_port : std::uint16_t{0}};
    return result;
}

// The same number for the same path in all pairs, so that subflows between different addresses keep out of each other's way.
void number_paths(std::vector<Probed> &all) {
    std::set<std::string> names;
    for (const Probed &one : all)
        names.insert(one.paths.begin(), one.paths.end());
    names.erase("");
    const std::vector<std::string> numbered(names.begin(), names.end());
    for (Probed &one : all) {
        one.pair.paths = numbered;
        if (!one.pair.problem.empty())
            continue;
        one.pair.route.paths.resize(std::min<std::size_t>(numbered.size(), MPS_SPREAD_PATHS));
        for (std::size_t i = 0; i < one.values.size(); i++) {
            const auto number =
                static_cast<std::size_t>(std::ranges::find(numbered, one.paths[i]) - numbered.begin());
            if (number < one.pair.route.paths.size() &&
                one.pair.route.paths[number].size() < MPS_SPREAD_VALUES)
                one.pair.route.paths[number].push_back(one.values[i]);
        }
    }
}

Result<void> check(const SpreadProbeRequest &request) {
    if (request.peers.empty())
        return fail(ErrorCode::usage, "no address is given to probe",
                    "the address of a host behind several paths");
    if (request.values < 2 || request.values > 1024)
        return fail(ErrorCode::usage, fmt::format("{} labels or ports cannot be tried", request.values),
                    "2..1024");
    if (request.hops < 1 || request.hops > most_hops)
        return fail(ErrorCode::usage, fmt::format("{} hops", request.hops), fmt::format("1..{}", most_hops));
    return {};
}

} // namespace

Result<std::vector<SpreadProbePair>> probe_spread(const Instance &instance,
                                                  const SpreadProbeRequest &request) {
    const Instance::Impl &impl = Inside::of(instance);
    const auto call = impl.enter();
    MPS_TRY(call);
    MPS_TRY(check(request));
    std::vector<Probed> all;
    for (const std::string &text : request.peers) {
        const auto peer = single_address(text);
        MPS_TRY(peer);
        std::vector<HostAddress> locals;
        for (const std::string &one : request.locals) {
            const auto local = single_address(one);
            MPS_TRY(local);
            locals.push_back(*local);
        }
        if (locals.empty()) {
            auto found = addresses_towards(*peer);
            MPS_TRY(found);
            locals = std::move(*found);
        }
        for (const HostAddress &local : locals) {
            if (is_ipv4_mapped(local) != is_ipv4_mapped(*peer))
                continue;
            auto probed = probe_pair(request, impl.options.give_up, local, *peer);
            MPS_TRY(probed);
            all.push_back(std::move(*probed));
        }
    }
    number_paths(all);
    std::vector<SpreadProbePair> pairs;
    for (Probed &one : all)
        pairs.push_back(std::move(one.pair));
    return pairs;
}

} // namespace mps
