// SPDX-License-Identifier: MIT
#include "mpsched/check.hpp"

#include <mps/abi.h>

#include <algorithm>

#include <fmt/format.h>

#include "base/try.hpp"
#include "common/amounts.hpp"
#include "instance_impl.hpp"
#include "observe/path_attributes.hpp"
#include "policy/names.hpp"
#include "policy/policy_source.hpp"
#include "policy/policy_switch.hpp"
#include "policy/selector.hpp"

namespace mps {

namespace {

Result<CheckedPolicy> describe_checked(OpenedPolicy &opened, const std::vector<Setting> &settings) {
    if (auto taken = name_is_taken(opened))
        return std::unexpected(*taken);
    MPS_TRY(opened.object.set(settings));
    return CheckedPolicy{.name = opened.name(),
                         .builtin = opened.builtin(),
                         .sha256 = opened.builtin() ? "" : opened.origin.sha256,
                         .rx = opened.object.header().rx,
                         .params = values_of(opened.object.params())};
}

// One part with what it looks up replaced by a number, which stands for itself.
Result<std::string> without_lookup(std::string_view part) {
    if (part.starts_with("dev=") && !part.starts_with("dev=#")) {
        MPS_TRY(check_interface_name(std::string(part.substr(4))));
        return "dev=#1";
    }
    if (part.starts_with("user=") && is_user_name(part.substr(5)))
        return "user=0";
    return part.starts_with("cgroup=") && part != "cgroup=" ? "cgroup=#1" : std::string(part);
}

} // namespace

Result<PathChange> parse_path_settings(const std::vector<Setting> &settings) {
    return parse_path_change(settings);
}

Result<CheckedPolicy> check_policy(const std::string &name_or_file, const std::vector<Setting> &said) {
    std::vector<Setting> settings = said;
    add_preset(name_or_file, settings);
    if (auto refused = refusal(name_or_file, {}))
        return std::unexpected(*refused);
    const auto parts = split(settings);
    MPS_TRY(parts);
    if (parts->dwell_us)
        return fail(ErrorCode::usage, "dwell_us is a parameter of the engine, not of a policy",
                    "it is the same for all connections");
    if (is_file_name(name_or_file)) {
        auto opened = open_policy_file(name_or_file);
        MPS_TRY(opened);
        return describe_checked(*opened, settings);
    }
    const BuiltinPolicy *builtin = find_builtin(resolve_policy_name(name_or_file));
    if (!builtin)
        return unknown_policy(name_or_file, {});
    auto opened = open_builtin(*builtin);
    MPS_TRY(opened);
    return describe_checked(*opened, settings);
}

Result<std::vector<Param>> check_engine(const std::vector<Setting> &settings) {
    const auto parts = split(settings);
    MPS_TRY(parts);
    std::vector<Param> params = engine_params();
    if (!parts->policy.empty())
        return fail(ErrorCode::usage,
                    fmt::format("the engine has no parameter '{}'", parts->policy.front().key),
                    fmt::format("there is: {}", params.front().name));
    if (parts->dwell_us)
        params.front().value = *parts->dwell_us;
    return params;
}

Result<void> check_selector(std::string_view text) {
    std::string plain;
    for (bool first = true; first || !text.empty(); first = false) {
        const std::size_t comma = std::min(text.find(','), text.size());
        const auto part = without_lookup(text.substr(0, comma));
        MPS_TRY(part);
        plain += (first ? "" : ",") + *part;
        if (comma == text.size())
            break;
        text.remove_prefix(comma + 1);
        if (text.empty())
            plain += ',';
    }
    MPS_TRY(parse_selector(plain));
    return {};
}

Result<std::uint32_t> parse_max_connections(std::string_view text) {
    const auto amount = parse_amount(text, Unit{});
    if (amount && *amount >= MPS_LEAST_CONNS && *amount <= MPS_MOST_CONNS)
        return static_cast<std::uint32_t>(*amount);
    return fail(ErrorCode::usage,
                fmt::format("--max-connections={}: {}", text, amount ? "out of range" : amount.error()),
                fmt::format("from {} to {}", MPS_LEAST_CONNS, MPS_MOST_CONNS));
}

Result<std::uint32_t> parse_probe_idle(std::string_view text) {
    const auto amount = parse_amount(text, Unit{});
    if (amount && *amount >= 1 && *amount <= longest_probe_idle_s)
        return static_cast<std::uint32_t>(*amount);
    return fail(ErrorCode::usage,
                fmt::format("--probe-idle={}: {}", text, amount ? "out of range" : amount.error()),
                fmt::format("seconds, from 1 to {}", longest_probe_idle_s));
}

Result<std::string> Instance::canonical_selector(const std::string &selector) const {
    const auto call = impl_->enter();
    MPS_TRY(call);
    const auto rule = parse_selector(selector);
    MPS_TRY(rule);
    return format_selector(*rule);
}

} // namespace mps
