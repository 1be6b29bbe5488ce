// SPDX-License-Identifier: MIT
#include "json/reason_text.hpp"

#include <algorithm>
#include <array>
#include <cstdlib>

#include <fmt/format.h>
#include <mps/policy_abi.h>

#include "json/amount_text.hpp"

namespace mps {

namespace {

struct Known {
    std::uint32_t code;
    std::string_view name;
    mps_reason_unit unit;
    std::string_view text;
};

constexpr std::array known_reasons{
#define MPS_KNOWN_REASON(id, code, name, unit, text) Known{code, name, unit, text},
    MPS_REASONS(MPS_KNOWN_REASON)
#undef MPS_KNOWN_REASON
};

const Known *find(std::uint32_t code) {
    const auto *const it = std::ranges::find(known_reasons, code, &Known::code);
    return it == known_reasons.end() ? nullptr : it;
}

// A policy may say a number below zero where it means the opposite.
std::string amount(std::int64_t number, mps_reason_unit unit) {
    const auto magnitude = static_cast<std::uint64_t>(std::abs(number));
    const std::string_view sign = number < 0 ? "-" : "";
    switch (unit) {
    case MPS_UNIT_US:
        return fmt::format("{}{}", sign, duration_text(magnitude));
    case MPS_UNIT_BYTES:
        return fmt::format("{}{}", sign, bytes_text(magnitude));
    default:
        return fmt::to_string(number);
    }
}

void replace(std::string &text, std::string_view what, std::string_view by) {
    if (const auto at = text.find(what); at != text.npos)
        text.replace(at, what.size(), by);
}

// What is in [] stays where all that it names is there.
std::string fill_in(std::string_view text, const std::string &number, std::string_view other) {
    std::string result;
    while (!text.empty()) {
        const bool optional = text.front() == '[';
        const auto end = text.find(optional ? ']' : '[');
        std::string part(
            text.substr(optional ? 1 : 0, end == text.npos ? text.npos : end - (optional ? 1 : 0)));
        text.remove_prefix(end == text.npos ? text.size() : end + (optional ? 1 : 0));
        if (optional &&
            ((part.contains("{}") && number.empty()) || (part.contains("{other}") && other.empty())))
            continue;
        replace(part, "{}", number);
        replace(part, "{other}", other);
        result += part;
    }
    return result;
}

std::string_view unit_name(mps_reason_unit unit) {
    return unit == MPS_UNIT_US ? "us" : unit == MPS_UNIT_BYTES ? "bytes" : "";
}

} // namespace

std::string reason_text(const SubflowReason &reason, std::string_view other) {
    const Known *known = find(reason.code);
    if (known == nullptr) {
        return reason.number ? fmt::format("the policy's reason {}, {}", reason.code, *reason.number)
                             : fmt::format("the policy's reason {}", reason.code);
    }
    return fill_in(known->text, reason.number ? amount(*reason.number, known->unit) : "", other);
}

std::string_view reason_name(std::uint32_t code) {
    const Known *known = find(code);
    return known ? known->name : "own";
}

nlohmann::ordered_json reason_json(const SubflowStatus &subflow, std::string_view other) {
    using Json = nlohmann::ordered_json;
    if (!subflow.reason)
        return nullptr;
    const SubflowReason &reason = *subflow.reason;
    const Known *known = find(reason.code);
    return Json{{"code", reason.code},
                {"name", known ? Json(known->name) : Json(nullptr)},
                {"number", reason.number ? Json(*reason.number) : Json(nullptr)},
                {"unit", known ? unit_name(known->unit) : ""},
                {"than", reason.than ? Json(*reason.than) : Json(nullptr)},
                {"text", reason_text(reason, other)}};
}

std::string other_of(const SubflowStatus &one, const ConnectionStatus &connection) {
    if (!one.reason || !one.reason->than)
        return {};
    const auto it = std::ranges::find(connection.subflows, *one.reason->than, &SubflowStatus::id);
    if (it == connection.subflows.end())
        return {};
    // Two subflows may share an interface.
    return it->ifname.empty() || it->ifname == one.ifname ? fmt::format("subflow {}", it->id) : it->ifname;
}

} // namespace mps
