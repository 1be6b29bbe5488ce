// SPDX-License-Identifier: MIT

#include "commands/trace_lines.hpp"

#include <algorithm>
#include <ctime>

#include <fmt/format.h>

#include "codec/text.hpp"
#include "commands/option_json.hpp"
#include "output/text.hpp"
#include "json/reason_text.hpp"

namespace mps::cli {

namespace {

using output::Paint;
using output::Style;

// "14:03:05.123456"
std::string clock_text(std::uint64_t time_ns) {
    const auto seconds = static_cast<std::time_t>(time_ns / 1000000000);
    std::tm parts{};
    localtime_r(&seconds, &parts);
    return fmt::format("{:02}:{:02}:{:02}.{:06}", parts.tm_hour, parts.tm_min, parts.tm_sec,
                       time_ns / 1000 % 1000000);
}

std::string epoch_text(std::uint64_t time_ns) {
    return fmt::format("{}.{:09}", time_ns / 1000000000, time_ns % 1000000000);
}

std::string token_text(std::uint32_t token) { return fmt::format("{:08x}", token); }

std::string ours_text(TracePacket::Ours ours) {
    switch (ours) {
    case TracePacket::Ours::inserted:
        return " (MP_PRIO is ours)";
    case TracePacket::Ours::rewritten:
        return " (MP_PRIO changed by us)";
    case TracePacket::Ours::wake:
        return " (our wake)";
    case TracePacket::Ours::nothing:
        break;
    }
    return "";
}

// How a subflow that a reason compares with is called: by its interface.
std::string other_name(const TraceVerdict &verdict, const TraceVerdict::Subflow &one) {
    if (!one.reason || !one.reason->than)
        return "";
    const auto found = std::ranges::find(verdict.subflows, *one.reason->than, &TraceVerdict::Subflow::id);
    return found == verdict.subflows.end() || found->interface.empty()
               ? fmt::format("subflow {}", *one.reason->than)
               : found->interface;
}

std::string subflow_text(const TraceVerdict &verdict, const TraceVerdict::Subflow &one, const Style &style) {
    std::string all =
        fmt::format("{} {} {}", one.id,
                    one.interface.empty() ? fmt::format("#{}", one.ifindex) : text::printable(one.interface),
                    style(one.allowed ? Paint::good : Paint::warn, one.allowed ? "allowed" : "parked"));
    std::vector<std::string> notes;
    if (one.reason)
        notes.push_back(text::printable(reason_text(*one.reason, other_name(verdict, one))));
    if (one.told_backup)
        notes.push_back(fmt::format("{} {}", *one.told_backup ? "made a backup" : "made active",
                                    one.by_wake ? "by a wake" : "by an edit"));
    if (one.peer_backup)
        notes.emplace_back("peer asked for backup");
    return notes.empty() ? all : fmt::format("{} ({})", all, text::join(notes, "; "));
}

Json reason_of(const TraceVerdict &verdict, const TraceVerdict::Subflow &one) {
    SubflowStatus status;
    status.reason = one.reason;
    return reason_json(status, other_name(verdict, one));
}

} // namespace

std::string trace_text(const TracePacket &packet, const codec::Segment &segment,
                       std::span<const codec::MptcpOption> options, const Style &style) {
    std::string who = packet.token ? token_text(*packet.token) : "-";
    if (packet.subflow)
        who += fmt::format("/{}", *packet.subflow);
    std::string all = fmt::format("{}  {} {} {}  {} > {} {}", style(Paint::dim, clock_text(packet.time_ns)),
                                  text::printable(packet.interface), packet.outgoing ? "out" : "in",
                                  style(Paint::bold, who), codec::endpoint_text(segment.source),
                                  codec::endpoint_text(segment.destination),
                                  style(Paint::dim, "[" + codec::flags_text(segment) + "]"));
    for (std::size_t i = 0; i < options.size(); i++)
        all += (i == 0 ? "  " : "; ") + codec::option_text(options[i]);
    return all + style(Paint::warn, ours_text(packet.ours)) + "\n";
}

Json trace_json(const TracePacket &packet, const codec::Segment &segment,
                std::span<const codec::MptcpOption> options) {
    Json all{
        {"event", "packet"},
        {"time", epoch_text(packet.time_ns)},
        {"interface", packet.interface},
        {"direction", packet.outgoing ? "out" : "in"},
        {"token", packet.token ? Json(*packet.token) : Json(nullptr)},
        {"subflow", packet.subflow ? Json(*packet.subflow) : Json(nullptr)},
        {"ours", packet.ours == TracePacket::Ours::nothing ? Json(nullptr) : Json(to_string(packet.ours))}};
    all.update(segment_json(segment));
    all["options"] = Json::array();
    for (const codec::MptcpOption &option : options)
        all["options"].push_back(option_json(option));
    return all;
}

std::string trace_text(const TraceVerdict &verdict, const Style &style) {
    std::vector<std::string> subflows;
    for (const TraceVerdict::Subflow &one : verdict.subflows)
        subflows.push_back(subflow_text(verdict, one, style));
    return fmt::format("{}  {}  {}{}: {}\n", style(Paint::dim, clock_text(verdict.time_ns)),
                       style(Paint::bold, token_text(verdict.token)), text::printable(verdict.policy),
                       verdict.left_alone ? ", left to the kernel" : "", text::join(subflows));
}

Json trace_json(const TraceVerdict &verdict) {
    Json all{{"event", "verdict"},       {"time", epoch_text(verdict.time_ns)}, {"token", verdict.token},
             {"policy", verdict.policy}, {"left_alone", verdict.left_alone},    {"subflows", Json::array()}};
    for (const TraceVerdict::Subflow &one : verdict.subflows)
        all["subflows"].push_back({{"id", one.id},
                                   {"interface", one.interface},
                                   {"verdict", one.allowed ? "allowed" : "parked"},
                                   {"peer_backup", one.peer_backup},
                                   {"told_backup", one.told_backup ? Json(*one.told_backup) : Json(nullptr)},
                                   {"by_wake", one.by_wake},
                                   {"reason", reason_of(verdict, one)}});
    return all;
}

} // namespace mps::cli
