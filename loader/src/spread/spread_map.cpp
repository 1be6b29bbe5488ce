// SPDX-License-Identifier: MIT
#include "spread/spread_map.hpp"

#include <arpa/inet.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <set>
#include <sstream>
#include <tuple>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/addresses.hpp"
#include "base/fd.hpp"
#include "base/numbers.hpp"
#include "base/try.hpp"
#include "common/prefix.hpp"

namespace mps {

namespace {

constexpr std::uint32_t most_label = 0xfffff;
constexpr std::string_view any = "any";
constexpr std::string_view no_values = "-"; // a path that no value is known to take

Result<std::vector<std::uint32_t>> parse_values(std::string_view text, std::uint32_t most) {
    std::vector<std::uint32_t> values;
    if (text == no_values)
        return values;
    while (!text.empty()) {
        const std::size_t comma = std::min(text.find(','), text.size());
        const auto value = parse_unsigned(text.substr(0, comma));
        if (!value || *value < 1 || *value > most)
            return fail(ErrorCode::usage, fmt::format("'{}' is none of 1..{}", text.substr(0, comma), most));
        values.push_back(static_cast<std::uint32_t>(*value));
        text.remove_prefix(std::min(comma + 1, text.size()));
    }
    if (values.empty() || values.size() > MPS_SPREAD_VALUES)
        return fail(ErrorCode::usage, fmt::format("a path has 1 to {} values, this one has {}",
                                                  MPS_SPREAD_VALUES, values.size()));
    return values;
}

// "1:3,17": the paths of a route in their order.
Result<void> parse_path(SpreadRoute &route, const std::string &word) {
    const std::size_t colon = std::min(word.find(':'), word.size());
    const auto number = parse_unsigned(std::string_view(word).substr(0, colon));
    if (colon == word.size() || !number || *number != route.paths.size() + 1)
        return fail(ErrorCode::usage, fmt::format("'{}' is not path {}", word, route.paths.size() + 1),
                    "paths are written NUMBER:VALUE[,VALUE…] and numbered from 1");
    if (*number > MPS_SPREAD_PATHS)
        return fail(ErrorCode::usage, fmt::format("more than {} paths", MPS_SPREAD_PATHS), "leave some out");
    auto values =
        parse_values(std::string_view(word).substr(colon + 1), route.by == "label" ? most_label : UINT16_MAX);
    MPS_TRY(values);
    route.paths.push_back(std::move(*values));
    return {};
}

Result<void> check_addresses(SpreadRoute &route) {
    const auto peer = parse_prefix(route.peer);
    MPS_TRY(peer);
    route.peer = peer->text();
    if (route.local == any)
        return {};
    const auto local = parse_prefix(route.local);
    MPS_TRY(local);
    route.local = local->text();
    if (local->family != peer->family)
        return fail(ErrorCode::usage,
                    fmt::format("'{}' and '{}' are of different families", route.local, route.peer));
    if (peer->bits != (peer->family == 4 ? 32 : 128))
        return fail(ErrorCode::usage, fmt::format("'{}' is no single address", route.peer),
                    "for a prefix of peers the local address is 'any'");
    return {};
}

Result<SpreadRoute> parse_route(std::istringstream &words) {
    SpreadRoute route;
    words >> route.by;
    if (route.by != "label" && route.by != "port")
        return fail(ErrorCode::usage, fmt::format("there is no kind '{}'", route.by),
                    "a line begins with label or port");
    words >> route.local >> route.peer;
    MPS_TRY(check_addresses(route));
    std::string word;
    if (route.by == "port") {
        words >> word;
        const auto port = parse_unsigned(word);
        if (!port || *port < 1 || *port > UINT16_MAX)
            return fail(ErrorCode::usage, fmt::format("'{}' is no port of the peer", word),
                        "port LOCAL PEER PORT 1:SOURCE_PORT[,…] 2:…");
        route.peer_port = static_cast<std::uint16_t>(*port);
    } else if (route.peer.find(':') == route.peer.npos) {
        return fail(ErrorCode::usage, fmt::format("'{}': IPv4 has no flow labels", route.peer), "use port");
    }
    while (words >> word)
        MPS_TRY(parse_path(route, word));
    if (std::ranges::all_of(route.paths, [](const auto &values) { return values.empty(); }))
        return fail(ErrorCode::usage, "the line names no path", "1:VALUE[,VALUE…] 2:…");
    return route;
}

auto order(const SpreadRoute &route) { return std::tie(route.by, route.peer, route.peer_port, route.local); }

void put_prefix(std::uint8_t *to, const Prefix &prefix) {
    std::memcpy(to, prefix.address.data(), prefix.address.size());
}

std::uint32_t bits_of(const Prefix &prefix) { return prefix.family == 4 ? 96u + prefix.bits : prefix.bits; }

constexpr std::uint32_t bits_before_addresses = 32;

Result<SpreadEntry> entry_of(const SpreadRoute &route) {
    SpreadEntry entry{};
    auto &[key, value] = entry;
    key.by = route.by == "label" ? MPS_SPREAD_BY_LABEL : MPS_SPREAD_BY_PORT;
    key.peer_port = htons(route.peer_port);
    const auto peer = parse_prefix(route.peer);
    MPS_TRY(peer);
    put_prefix(key.peer, *peer);
    key.bits = bits_before_addresses + bits_of(*peer);
    if (route.local != any) {
        const auto local = parse_prefix(route.local);
        MPS_TRY(local);
        put_prefix(key.local, *local);
        key.bits = bits_before_addresses + 128 + bits_of(*local);
    }
    value.nr = static_cast<std::uint32_t>(route.paths.size());
    for (std::size_t i = 0; i < route.paths.size(); i++) {
        value.path[i].nr = static_cast<std::uint32_t>(route.paths[i].size());
        value.usable |= route.paths[i].empty() ? 0u : 1u << i;
        std::ranges::copy(route.paths[i], value.path[i].value);
    }
    return entry;
}

std::string prefix_text(const std::uint8_t *address, std::uint32_t bits) {
    Prefix prefix;
    std::memcpy(prefix.address.data(), address, prefix.address.size());
    const bool ipv4 = bits >= 96 && is_ipv4_mapped(prefix.address);
    prefix.family = ipv4 ? 4 : 6;
    prefix.bits = static_cast<std::uint8_t>(ipv4 ? bits - 96 : bits);
    return prefix.text();
}

} // namespace

std::string source_address(const std::string &peer) {
    const auto prefix = parse_prefix(peer);
    if (!prefix)
        return {};
    sockaddr_in6 name{.sin6_family = AF_INET6, .sin6_port = htons(9)};
    std::memcpy(&name.sin6_addr, prefix->address.data(), 16);
    const Fd socket(::socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    socklen_t length = sizeof name;
    // Connecting a UDP socket sends nothing.
    if (!socket || ::connect(socket.get(), reinterpret_cast<const sockaddr *>(&name), sizeof name) ||
        ::getsockname(socket.get(), reinterpret_cast<sockaddr *>(&name), &length))
        return {};
    std::array<std::uint8_t, 16> address;
    std::memcpy(address.data(), &name.sin6_addr, address.size());
    return address_text(address);
}

Result<SpreadMap> parse_spread_map(const std::string &text, const std::string &name) {
    SpreadMap map;
    std::istringstream lines(text);
    std::size_t number = 0;
    for (std::string line; std::getline(lines, line);) {
        number++;
        std::istringstream words(line.substr(0, line.find('#')));
        if ((words >> std::ws).eof())
            continue;
        auto route = parse_route(words);
        if (!route)
            return fail(ErrorCode::usage, fmt::format("{}:{}: {}", name, number, route.error().what),
                        route.error().hint);
        const auto same = [&](const SpreadRoute &one) { return order(one) == order(*route); };
        if (std::ranges::any_of(map.routes, same))
            return fail(ErrorCode::usage,
                        fmt::format("{}:{}: there is a line for these addresses already", name, number),
                        "one line has all of their paths");
        map.routes.push_back(std::move(*route));
    }
    if (map.routes.size() > MPS_SPREAD_ROUTES / 2)
        return fail(ErrorKind::full, fmt::format("{}: {} lines", name, map.routes.size()),
                    fmt::format("at most {}", MPS_SPREAD_ROUTES / 2));
    std::ranges::sort(map.routes, {}, order);
    return map;
}

Result<SpreadMap> read_spread_map(const std::string &file) {
    std::ifstream stream(file);
    const std::string text{std::istreambuf_iterator<char>(stream), {}};
    if (!stream)
        return fail(ErrorCode::usage, fmt::format("{} cannot be read: {}", file, errno_text(errno)),
                    "'mpsched spread probe HOST --save FILE' writes a map");
    return parse_spread_map(text, file);
}

std::string format_spread_map(const SpreadMap &map) {
    std::string text;
    for (const SpreadRoute &route : map.routes) {
        text += fmt::format("{} {} {}", route.by, route.local, route.peer);
        if (route.by == "port")
            text += fmt::format(" {}", route.peer_port);
        for (std::size_t i = 0; i < route.paths.size(); i++)
            text += fmt::format(" {}:{}", i + 1,
                                route.paths[i].empty() ? std::string(no_values)
                                                       : fmt::format("{}", fmt::join(route.paths[i], ",")));
        text += "\n";
    }
    return text;
}

Result<std::vector<SpreadEntry>> spread_entries(const SpreadMap &map) {
    std::vector<SpreadEntry> entries;
    for (const SpreadRoute &route : map.routes) {
        auto entry = entry_of(route);
        MPS_TRY(entry);
        entries.push_back(*entry);
        if (route.by == "port" && route.local != any && source_address(route.peer) == route.local) {
            std::memset(entry->first.local, 0, sizeof entry->first.local);
            entry->first.bits = MPS_SPREAD_KEY_BITS;
            entries.push_back(*entry);
        }
    }
    return entries;
}

SpreadMap spread_map(const std::vector<SpreadEntry> &entries) {
    SpreadMap map;
    constexpr std::array<std::uint8_t, 16> unknown{};
    for (const auto &[key, value] : entries) {
        const bool exact = key.bits > bits_before_addresses + 128;
        if (exact && !std::memcmp(key.local, unknown.data(), unknown.size()))
            continue;
        SpreadRoute route{.by = key.by == MPS_SPREAD_BY_LABEL ? "label" : "port",
                          .local = std::string(any),
                          .peer_port = ntohs(key.peer_port)};
        route.peer = prefix_text(key.peer, exact ? 128 : key.bits - bits_before_addresses);
        if (exact)
            route.local = prefix_text(key.local, key.bits - bits_before_addresses - 128);
        for (std::uint32_t i = 0; i < std::min<std::uint32_t>(value.nr, MPS_SPREAD_PATHS); i++) {
            const mps_spread_path &path = value.path[i];
            route.paths.emplace_back(path.value,
                                     path.value + std::min<std::uint32_t>(path.nr, MPS_SPREAD_VALUES));
        }
        map.routes.push_back(std::move(route));
    }
    std::ranges::sort(map.routes, {}, order);
    return map;
}

} // namespace mps
