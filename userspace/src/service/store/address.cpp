// SPDX-License-Identifier: MIT

#include "service/store/address.hpp"

#include "base/try.hpp"

#include <array>

#include <fmt/format.h>

namespace mps::service::store {

namespace {

constexpr std::string_view kind = "etcd:";
constexpr std::string_view example = "etcd:https://192.0.2.1:2379/mpsched/branch";

std::unexpected<Error> wrong(std::string what) {
    return fail(ErrorCode::usage, std::move(what), fmt::format("write it as in {}", example));
}

// Nothing that is meant for this host alone passes a network.
bool is_loopback(std::string_view host) {
    constexpr std::array<std::string_view, 3> all = {"127.0.0.1", "[::1]", "localhost"};
    for (const std::string_view one : all)
        if (host == one || host.starts_with(fmt::format("{}:", one)))
            return true;
    return false;
}

Result<void> check_endpoint(std::string_view endpoint) {
    constexpr std::string_view plain = "http://", safe = "https://";
    const bool is_plain = endpoint.starts_with(plain);
    if (!is_plain && !endpoint.starts_with(safe))
        return wrong(fmt::format("'{}' does not begin with https://", endpoint));
    const std::string_view host = endpoint.substr(is_plain ? plain.size() : safe.size());
    if (host.empty() || host.find_first_of("@?# \t\\\"") != host.npos)
        return wrong(fmt::format("'{}' is no address of a store", endpoint));
    if (is_plain && !is_loopback(host))
        return fail(ErrorCode::usage,
                    fmt::format("{}: without TLS whoever is on the way can decide for this host", endpoint),
                    "use https://, with --watch-ca for a certificate authority of your own");
    return {};
}

} // namespace

Result<Address> parse_address(std::string_view text) {
    Address address{.text = std::string(text)};
    if (!text.starts_with(kind))
        return wrong(fmt::format("'{}' is no store that mpschedd knows", text));
    std::string_view rest = text.substr(kind.size());
    for (;;) {
        const std::size_t scheme = rest.find("://");
        const std::size_t end = scheme == rest.npos ? rest.npos : rest.find_first_of(",/", scheme + 3);
        if (end == rest.npos)
            return wrong(fmt::format("'{}' names no key", text));
        const std::string_view endpoint = rest.substr(0, end);
        MPS_TRY(check_endpoint(endpoint));
        address.endpoints.emplace_back(endpoint);
        const bool more = rest[end] == ',';
        rest.remove_prefix(end + 1);
        if (!more)
            break;
    }
    if (rest.empty() || rest.size() > 512 || rest.ends_with('/'))
        return wrong(fmt::format("'{}' names no key", text));
    address.key = rest;
    return address;
}

std::string report_key(const Address &address, std::string_view node) {
    return fmt::format("{}/nodes/{}", address.key, node);
}

} // namespace mps::service::store
