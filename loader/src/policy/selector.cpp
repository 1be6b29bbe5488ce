// SPDX-License-Identifier: MIT
#include "policy/selector.hpp"

#include <mps/abi.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/addresses.hpp"
#include "base/numbers.hpp"
#include "base/try.hpp"
#include "kernel/cgroup.hpp"
#include "kernel/netlink.hpp"
#include "kernel/netns.hpp"
#include "mpsched/nearest.hpp"
#include "policy/names.hpp"

namespace mps {

namespace {

constexpr std::string_view syntax_hint =
    "parts: remote=ADDR[/PREFIX][:PORT] local=ADDR[/PREFIX][:PORT] rport=PORT lport=PORT host=NAME "
    "mark=VALUE[/MASK] user=NAME command=NAME unit=NAME cgroup=PATH dev=IFACE, separated by commas";

std::unexpected<Error> bad_part(std::string_view part, std::string_view reason,
                                std::string_view hint = syntax_hint) {
    return fail(ErrorCode::usage, fmt::format("selector part '{}': {}", part, reason), std::string(hint));
}

struct Endpoint {
    bool has_address = false;
    bool has_port = false;
    std::array<std::uint8_t, 16> address{};
    std::uint8_t prefix = 0;
    std::uint16_t port = 0;
};

Result<std::uint16_t> parse_port(std::string_view part, std::string_view text) {
    const auto port = parse_unsigned(text);
    if (!port || *port < 1 || *port > 65535)
        return bad_part(part, fmt::format("'{}' is no port (1..65535)", text));
    return static_cast<std::uint16_t>(*port);
}

// Host bits below the prefix would never match anything the data path masks: they are cleared.
void clear_host_bits(std::array<std::uint8_t, 16> &address, unsigned prefix) {
    for (unsigned bit = prefix; bit < 128; bit++) {
        address[bit / 8] = static_cast<std::uint8_t>(address[bit / 8] & ~(0x80u >> bit % 8));
    }
}

// Names have a part of their own, since their addresses change.
std::string address_hint(const std::string &host) {
    return is_host_name(host) ? fmt::format("a name is host={}, its port rport=PORT", host)
                              : std::string(syntax_hint);
}

// ADDR[/PREFIX][:PORT]; an IPv6 address with port stands in brackets, its prefix inside or behind them.
Result<Endpoint> parse_endpoint(std::string_view part, std::string_view text) {
    Endpoint endpoint;
    std::string host(text);
    std::string_view port;
    if (text.starts_with('[')) {
        const std::size_t close = text.find(']');
        if (close == text.npos)
            return bad_part(part, "']' is missing");
        const std::string_view rest = text.substr(close + 1);
        const std::size_t colon = std::min(rest.find(':'), rest.size());
        if (colon > 0 && rest[0] != '/')
            return bad_part(part, fmt::format("'{}' after ']' is not :PORT", rest));
        host = fmt::format("{}{}", text.substr(1, close - 1), rest.substr(0, colon));
        port = rest.substr(colon);
    } else if (std::count(text.begin(), text.end(), ':') == 1) {
        host.resize(text.find(':'));
        port = text.substr(host.size());
    }
    if (!port.empty()) {
        const auto number = parse_port(part, port.substr(1));
        MPS_TRY(number);
        endpoint.port = *number;
        endpoint.has_port = true;
    }
    if (host == "*") {
        if (!endpoint.has_port)
            return bad_part(part, "'*' alone selects nothing");
        return endpoint;
    }

    std::string prefix_digits;
    const std::size_t slash = host.find('/');
    const bool has_prefix = slash != host.npos;
    if (has_prefix) {
        prefix_digits = host.substr(slash + 1);
        host.resize(slash);
    }
    unsigned width = 32;
    if (inet_pton(AF_INET, host.c_str(), endpoint.address.data() + 12) == 1) {
        std::copy(ipv4_mapped_prefix.begin(), ipv4_mapped_prefix.end(), endpoint.address.begin());
    } else if (inet_pton(AF_INET6, host.c_str(), endpoint.address.data()) == 1) {
        width = 128;
    } else {
        return bad_part(part, fmt::format("'{}' is no IP address", host), address_hint(host));
    }
    unsigned prefix = width;
    if (has_prefix) {
        const auto number = parse_unsigned(prefix_digits);
        if (!number || *number > width) {
            return bad_part(part, fmt::format("'{}' is no prefix length (0..{})", prefix_digits, width));
        }
        prefix = static_cast<unsigned>(*number);
    }
    prefix += 128 - width;
    clear_host_bits(endpoint.address, prefix);
    endpoint.prefix = static_cast<std::uint8_t>(prefix);
    endpoint.has_address = true;
    return endpoint;
}

// "#7": an interface index or cgroup id that has no name any more.
std::optional<std::uint64_t> parse_raw_id(std::string_view text) {
    if (!text.starts_with('#'))
        return std::nullopt;
    return parse_unsigned(text.substr(1));
}

// Each of these reads the value of one kind of part, writes it into the rule and tells which fields it is about.
using Fields = std::uint32_t;

Result<Fields> parse_address(mps_rule &rule, std::string_view part, std::string_view value, bool remote) {
    const auto endpoint = parse_endpoint(part, value);
    MPS_TRY(endpoint);
    Fields fields = 0;
    if (endpoint->has_address) {
        fields |= remote ? MPS_RULE_REMOTE : MPS_RULE_LOCAL;
        std::memcpy(remote ? rule.remote : rule.local, endpoint->address.data(), endpoint->address.size());
        (remote ? rule.remote_prefix : rule.local_prefix) = endpoint->prefix;
    }
    if (endpoint->has_port) {
        fields |= remote ? MPS_RULE_REMOTE_PORT : MPS_RULE_LOCAL_PORT;
        (remote ? rule.remote_port : rule.local_port) = endpoint->port;
    }
    return fields;
}

Result<Fields> parse_port_alone(mps_rule &rule, std::string_view part, std::string_view value, bool remote) {
    const auto port = parse_port(part, value);
    MPS_TRY(port);
    (remote ? rule.remote_port : rule.local_port) = *port;
    return static_cast<Fields>(remote ? MPS_RULE_REMOTE_PORT : MPS_RULE_LOCAL_PORT);
}

Result<Fields> parse_mark(mps_rule &rule, std::string_view part, std::string_view value) {
    const std::size_t slash = value.find('/');
    const auto mark = parse_unsigned(value.substr(0, slash));
    const auto mask = slash == value.npos ? std::optional<std::uint64_t>(UINT32_MAX)
                                          : parse_unsigned(value.substr(slash + 1));
    if (!mark || !mask || *mark > UINT32_MAX || *mask > UINT32_MAX)
        return bad_part(part, "a mark is VALUE or VALUE/MASK, each of 32 bits");
    if (*mark & ~*mask)
        return bad_part(part, "the value has bits outside of the mask, so nothing would match");
    rule.mark = static_cast<std::uint32_t>(*mark);
    rule.mark_mask = static_cast<std::uint32_t>(*mask);
    return static_cast<Fields>(MPS_RULE_MARK);
}

Result<Fields> parse_cgroup(mps_rule &rule, std::string_view value) {
    const auto raw = parse_raw_id(value);
    const auto id = raw ? Result<std::uint64_t>(*raw) : cgroup_id(value);
    MPS_TRY(id);
    rule.cgroup_id = *id;
    return static_cast<Fields>(MPS_RULE_CGROUP);
}

Result<Fields> parse_device(mps_rule &rule, std::string_view part, std::string_view value) {
    if (const auto raw = parse_raw_id(value); raw && *raw <= UINT32_MAX) {
        rule.ifindex = static_cast<std::uint32_t>(*raw);
    } else {
        const auto device = net_device(value);
        if (!device)
            return bad_part(part, "there is no such interface",
                            fmt::format("there are: {}", fmt::join(interface_names(), ", ")));
        rule.ifindex = device->ifindex;
    }
    return static_cast<Fields>(MPS_RULE_IFINDEX);
}

Result<Fields> parse_user(mps_rule &rule, std::string_view part, std::string_view value) {
    const auto uid = user_id(value);
    if (!uid)
        return bad_part(part, "there is no such user", "a name, or a number: 'getent passwd' lists them");
    rule.uid = *uid;
    return static_cast<Fields>(MPS_RULE_USER);
}

// Into a rule: the name for who reads it, and its digest for the data path.
std::uint64_t put_name(char (&to)[MPS_RULE_NAME_LEN], std::string_view name) {
    std::memset(to, 0, sizeof to);
    std::memcpy(to, name.data(), std::min(name.size(), sizeof to - 1));
    return name_digest(to);
}

Result<Fields> parse_unit(mps_rule &rule, std::string_view part, std::string_view value) {
    const auto name = unit_name(value);
    if (!name)
        return bad_part(part, "no unit that has processes can be called so",
                        "as 'systemctl status' has it: nginx.service, user-1000.slice, session-3.scope; "
                        "without an ending a service");
    if (unit_cgroup(*name).size() >= MPS_RULE_NAME_LEN)
        return bad_part(
            part, "the name is too long",
            fmt::format("at most {} characters; cgroup=PATH has no such limit", MPS_RULE_NAME_LEN - 1));
    put_name(rule.unit_name, *name);
    char group[MPS_RULE_NAME_LEN];
    rule.unit = put_name(group, unit_cgroup(*name));
    return static_cast<Fields>(MPS_RULE_UNIT);
}

Result<Fields> parse_command(mps_rule &rule, std::string_view part, std::string_view value) {
    if (!is_command_name(value))
        return bad_part(part, "no command can be called so", "a name as 'ps -o comm' has it, without a path");
    if (value.size() >= MPS_COMMAND_LEN)
        return bad_part(
            part, fmt::format("the kernel keeps {} characters of a command's name", MPS_COMMAND_LEN - 1),
            fmt::format("command={}", value.substr(0, MPS_COMMAND_LEN - 1)));
    std::memcpy(rule.command, value.data(), value.size());
    return static_cast<Fields>(MPS_RULE_COMMAND);
}

Result<Fields> parse_host(mps_rule &rule, std::string_view part, std::string_view value) {
    if (!is_host_name(value))
        return bad_part(part, "no host can be called so",
                        "a name as DNS or /etc/hosts has it; addresses are remote=ADDR");
    if (value.size() >= MPS_RULE_NAME_LEN)
        return bad_part(part, "the name is too long",
                        fmt::format("at most {} characters", MPS_RULE_NAME_LEN - 1));
    std::string name(value);
    std::ranges::transform(name, name.begin(),
                           [](char c) { return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c; });
    rule.host = put_name(rule.host_name, name);
    return static_cast<Fields>(MPS_RULE_HOST);
}

Result<Fields> parse_value(mps_rule &rule, std::string_view part, std::string_view key,
                           std::string_view value) {
    if (key == "remote" || key == "local")
        return parse_address(rule, part, value, key == "remote");
    if (key == "rport" || key == "lport")
        return parse_port_alone(rule, part, value, key == "rport");
    if (key == "mark")
        return parse_mark(rule, part, value);
    if (key == "cgroup")
        return parse_cgroup(rule, value);
    if (key == "dev")
        return parse_device(rule, part, value);
    if (key == "host")
        return parse_host(rule, part, value);
    if (key == "user")
        return parse_user(rule, part, value);
    if (key == "command")
        return parse_command(rule, part, value);
    if (key == "unit")
        return parse_unit(rule, part, value);
    const std::vector<std::string> keys{"remote", "local",   "rport", "lport",  "host", "mark",
                                        "user",   "command", "unit",  "cgroup", "dev"};
    return bad_part(part, fmt::format("'{}' is not known", key),
                    did_you_mean(key, keys) + std::string(syntax_hint));
}

Result<void> parse_part(mps_rule &rule, std::string_view part) {
    const std::size_t equals = part.find('=');
    if (equals == part.npos)
        return bad_part(part, "there is no '='");
    const auto fields = parse_value(rule, part, part.substr(0, equals), part.substr(equals + 1));
    MPS_TRY(fields);
    if (rule.fields & *fields)
        return bad_part(part, "said twice");
    rule.fields |= *fields;
    return {};
}

std::string prefix_text(const std::uint8_t (&address)[16], unsigned prefix) {
    const std::span<const std::uint8_t, 16> bytes(address);
    // ::ffff:0:0/95 and shorter prefixes are IPv6 ones, whatever the address looks like.
    if (is_ipv4_mapped(bytes) && prefix >= 96) {
        return prefix == 128 ? address_text(bytes) : fmt::format("{}/{}", address_text(bytes), prefix - 96);
    }
    return prefix == 128 ? address_text(bytes) : fmt::format("{}/{}", address_text(bytes), prefix);
}

std::string side_text(std::string_view key, bool has_address, const std::uint8_t (&address)[16],
                      unsigned prefix, bool has_port, std::uint16_t port) {
    if (!has_address)
        return fmt::format("{}={}", key == "remote" ? "rport" : "lport", port);
    const std::string text = prefix_text(address, prefix);
    if (!has_port)
        return fmt::format("{}={}", key, text);
    return text.find(':') == text.npos ? fmt::format("{}={}:{}", key, text, port)
                                       : fmt::format("{}=[{}]:{}", key, text, port);
}

} // namespace

Result<mps_rule> parse_selector(std::string_view text) {
    mps_rule rule{};
    if (text.empty())
        return fail(ErrorCode::usage, "the selector is empty", std::string(syntax_hint));
    while (true) {
        const std::size_t comma = text.find(',');
        const auto done = parse_part(rule, text.substr(0, comma));
        MPS_TRY(done);
        if (comma == text.npos)
            break;
        text.remove_prefix(comma + 1);
    }
    return rule;
}

std::string format_selector(const mps_rule &rule) {
    const auto has = [&](std::uint32_t field) { return (rule.fields & field) != 0; };
    std::vector<std::string> parts;
    if (has(MPS_RULE_REMOTE) || has(MPS_RULE_REMOTE_PORT)) {
        parts.push_back(side_text("remote", has(MPS_RULE_REMOTE), rule.remote, rule.remote_prefix,
                                  has(MPS_RULE_REMOTE_PORT), rule.remote_port));
    }
    if (has(MPS_RULE_LOCAL) || has(MPS_RULE_LOCAL_PORT)) {
        parts.push_back(side_text("local", has(MPS_RULE_LOCAL), rule.local, rule.local_prefix,
                                  has(MPS_RULE_LOCAL_PORT), rule.local_port));
    }
    if (has(MPS_RULE_HOST))
        parts.push_back(fmt::format("host={}", rule.host_name));
    if (has(MPS_RULE_MARK)) {
        parts.push_back(rule.mark_mask == UINT32_MAX
                            ? fmt::format("mark={:#x}", rule.mark)
                            : fmt::format("mark={:#x}/{:#x}", rule.mark, rule.mark_mask));
    }
    if (has(MPS_RULE_USER))
        parts.push_back(fmt::format("user={}", user_name(rule.uid)));
    if (has(MPS_RULE_COMMAND))
        parts.push_back(fmt::format("command={}", rule.command));
    if (has(MPS_RULE_UNIT))
        parts.push_back(fmt::format("unit={}", rule.unit_name));
    if (has(MPS_RULE_CGROUP)) {
        const auto path = cgroup_path(rule.cgroup_id);
        parts.push_back(path ? fmt::format("cgroup={}", *path) : fmt::format("cgroup=#{}", rule.cgroup_id));
    }
    if (has(MPS_RULE_IFINDEX)) {
        const std::string name = ifname_of(rule.ifindex);
        parts.push_back(name.empty() ? fmt::format("dev=#{}", rule.ifindex) : fmt::format("dev={}", name));
    }
    return fmt::format("{}", fmt::join(parts, ","));
}

bool same_selector(const mps_rule &a, const mps_rule &b) {
    mps_rule left = a;
    mps_rule right = b;
    left.slot = right.slot = 0;
    left.rx_slot = right.rx_slot = 0;
    return std::memcmp(&left, &right, sizeof left) == 0;
}

} // namespace mps
