// SPDX-License-Identifier: MIT

#include "commands/packet_filter.hpp"

#include <algorithm>

#include <arpa/inet.h>
#include <fmt/format.h>

#include "base/numbers.hpp"
#include "base/try.hpp"
#include "output/text.hpp"

namespace mps::cli {

namespace {} // namespace

Result<std::uint32_t> token_of_word(std::string_view word) {
    const std::string_view digits = word.starts_with("0x") ? word.substr(2) : word;
    const auto value = parse_number<std::uint32_t>(digits, 16);
    if (!value)
        return usage_error(
            fmt::format("{} is no token", text::quoted(word)),
            "a token has eight hexadecimal digits; 'mpsched conns' and the end of 'decode' show them");
    return *value;
}

namespace {

Result<unsigned> subtype_of_word(const std::string &word) {
    const auto same = [&](std::string_view name) {
        return std::ranges::equal(word, name, [](unsigned char a, unsigned char b) {
            return std::toupper(a) == b || (a == '-' && b == '_');
        });
    };
    std::vector<std::string_view> names;
    for (const codec::SubtypeInfo &one : codec::subtypes()) {
        if (same(one.name))
            return one.subtype;
        names.push_back(one.name);
    }
    return usage_error(fmt::format("there is no MPTCP option {}", text::quoted(word)),
                       "they are " + text::join(names));
}

Result<codec::Endpoint> address_of_word(const std::string &word) {
    codec::Endpoint host;
    host.ipv6 = word.contains(':');
    if (inet_pton(host.ipv6 ? AF_INET6 : AF_INET, word.c_str(), host.address.data()) != 1)
        return usage_error(fmt::format("{} is no IP address", text::quoted(word)),
                           "give an address such as 192.0.2.1 or 2001:db8::1");
    return host;
}

bool is_at(const codec::Endpoint &end, const codec::Endpoint &host) {
    return end.ipv6 == host.ipv6 && end.address == host.address;
}

} // namespace

void bind_filter(Binder &binder, FilterWords &words) {
    binder.option("--connection", words.connection);
    binder.option("--option", words.options);
    binder.option("--host", words.host);
    binder.option("--port", words.port);
}

Result<PacketFilter> PacketFilter::of(const FilterWords &words) {
    PacketFilter filter;
    if (words.connection) {
        const auto token = token_of_word(*words.connection);
        MPS_TRY(token);
        filter.token = *token;
    }
    for (const std::string &word : words.options) {
        const auto subtype = subtype_of_word(word);
        MPS_TRY(subtype);
        filter.subtypes.insert(*subtype);
    }
    if (words.host) {
        const auto host = address_of_word(*words.host);
        MPS_TRY(host);
        filter.host = *host;
    }
    if (words.port) {
        const auto port = parse_number<std::uint32_t>(*words.port);
        if (!port || *port == 0 || *port > 65535)
            return usage_error(fmt::format("{} is no port", text::quoted(*words.port)),
                               "ports are 1 to 65535");
        filter.port = static_cast<std::uint16_t>(*port);
    }
    return filter;
}

void PacketFilter::resolve(const codec::Connections &known) {
    for (const codec::Connection &one : known.all())
        if (token && one.has(*token))
            numbers_.insert(one.number);
}

bool PacketFilter::wants(const codec::Segment &segment, std::span<const codec::MptcpOption> options,
                         const codec::Connection *connection) const {
    if (token && !(connection && (connection->has(*token) || numbers_.contains(connection->number))))
        return false;
    if (host && !is_at(segment.source, *host) && !is_at(segment.destination, *host))
        return false;
    if (port && segment.source.port != *port && segment.destination.port != *port)
        return false;
    return subtypes.empty() || std::ranges::any_of(options, [&](const codec::MptcpOption &option) {
               return option.has_subtype() && subtypes.contains(option.subtype());
           });
}

} // namespace mps::cli
