// SPDX-License-Identifier: MIT

#include "http/address.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <optional>

#include <fmt/format.h>

#include "base/numbers.hpp"

namespace mps::http {

namespace {

constexpr std::string_view wanted = "an address and a port from 1 to 65535: 127.0.0.1:9464 or [::1]:9464";

std::optional<std::uint16_t> parse_port(std::string_view text) {
    const auto port = parse_number<std::uint16_t>(text);
    return port == 0 ? std::nullopt : port;
}

} // namespace

std::string Address::text() const {
    return ipv6 ? fmt::format("[{}]:{}", host, port) : fmt::format("{}:{}", host, port);
}

Result<Address> parse_address(std::string_view text) {
    const auto refuse = [&] {
        return fail(ErrorCode::usage, fmt::format("'{}' is no address to listen at", text),
                    std::string(wanted));
    };
    const std::size_t colon = text.rfind(':');
    if (colon == text.npos)
        return refuse();
    const auto port = parse_port(text.substr(colon + 1));
    std::string host(text.substr(0, colon));
    Address address{.port = port.value_or(0)};
    if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
        host = host.substr(1, host.size() - 2);
        address.ipv6 = true;
    }
    in6_addr binary{};
    if (!port || ::inet_pton(address.ipv6 ? AF_INET6 : AF_INET, host.c_str(), &binary) != 1)
        return refuse();
    std::array<char, INET6_ADDRSTRLEN> canonical{};
    ::inet_ntop(address.ipv6 ? AF_INET6 : AF_INET, &binary, canonical.data(), canonical.size());
    address.host = canonical.data();
    address.loopback = address.ipv6 ? IN6_IS_ADDR_LOOPBACK(&binary) != 0 : address.host.starts_with("127.");
    return address;
}

bool names_loopback(std::string_view host) {
    std::string_view name = host;
    if (name.starts_with('[')) {
        const std::size_t end = name.find(']');
        if (end == name.npos)
            return false;
        const std::string_view rest = name.substr(end + 1);
        return name.substr(1, end - 1) == "::1" &&
               (rest.empty() || (rest.front() == ':' && parse_port(rest.substr(1))));
    }
    if (const std::size_t colon = name.find(':'); colon != name.npos) {
        if (!parse_port(name.substr(colon + 1)))
            return false;
        name = name.substr(0, colon);
    }
    constexpr std::string_view local = "localhost";
    const bool is_local = std::ranges::equal(
        name, local, [](char a, char b) { return (a >= 'A' && a <= 'Z' ? a - 'A' + 'a' : a) == b; });
    in_addr binary{};
    return is_local ||
           (name.starts_with("127.") && ::inet_pton(AF_INET, std::string(name).c_str(), &binary) == 1);
}

} // namespace mps::http
