// SPDX-License-Identifier: MIT

#include <algorithm>
#include <memory>
#include <optional>

#include <fmt/format.h>

#include "commands/commands.hpp"
#include "commands/reason_text.hpp"
#include "output/text.hpp"

namespace mps::cli {

namespace {

using output::Align;
using output::Paint;

// What the kernel has where nobody has set one.
constexpr std::uint32_t no_limit = 0xffffffff;

struct ConnsOptions {
    std::optional<std::string> policy;
};

// What is to become of a subflow. What nobody steers the kernel uses as it likes, whatever a policy said.
std::string_view verdict(const SubflowStatus &one) {
    return !one.steerable ? "unsteered" : one.allowed ? "allowed" : "parked";
}

// Long enough for the ACKs of several round trips of most paths.
constexpr std::uint32_t sample_ms = 200;

// How the subflow that a reason compares with is called in words.
std::string other_of(const SubflowStatus &one, const ConnectionStatus &connection) {
    if (!one.reason || !one.reason->than)
        return {};
    const auto it = std::ranges::find(connection.subflows, *one.reason->than, &SubflowStatus::id);
    if (it == connection.subflows.end())
        return {};
    // Two subflows may share an interface.
    return it->ifname.empty() || it->ifname == one.ifname ? fmt::format("subflow {}", it->id) : it->ifname;
}

Json subflow_json(const SubflowStatus &one, const ConnectionStatus &connection) {
    return {{"id", one.id},
            {"ifname", one.ifname},
            {"ifindex", one.ifindex},
            {"local", one.local},
            {"remote", one.remote},
            {"state", one.tcp_state},
            {"verdict", verdict(one)},
            {"allowed", one.steerable ? Json(one.allowed) : Json(nullptr)},
            {"usable", one.usable},
            {"stale", one.stale},
            {"steerable", one.steerable},
            {"backup", one.backup},
            {"peer_backup", one.peer_backup},
            {"local_backup", one.local_backup},
            {"srtt_us", one.srtt_us},
            {"rttvar_us", one.rttvar_us},
            {"min_rtt_us", one.min_rtt_us},
            {"cwnd", one.cwnd},
            {"ssthresh", one.ssthresh},
            {"in_flight", one.in_flight},
            {"mss_bytes", one.mss_bytes},
            {"queued_bytes", one.queued_bytes},
            {"notsent_bytes", one.notsent_bytes},
            {"bytes_acked", one.bytes_acked},
            {"acked_bytes_s", one.acked_bytes_s ? Json(*one.acked_bytes_s) : Json(nullptr)},
            {"pacing_rate", one.pacing_rate},
            {"max_pacing_rate", one.max_pacing_rate >= no_limit ? Json(nullptr) : Json(one.max_pacing_rate)},
            {"notsent_lowat", one.notsent_lowat == 0 || one.notsent_lowat == no_limit
                                  ? Json(nullptr)
                                  : Json(one.notsent_lowat)},
            {"lost", one.lost},
            {"delivered", one.delivered},
            {"reason", reason_json(one, other_of(one, connection))}};
}

// Why it is allowed or parked, and what is unusual about it.
std::string notes(const SubflowStatus &one, const ConnectionStatus &connection) {
    std::vector<std::string> all;
    if (one.reason && one.steerable)
        all.push_back(text::printable(reason_text(*one.reason, other_of(one, connection))));
    if (one.tcp_state != "established")
        all.push_back(one.tcp_state);
    if (!one.usable && one.tcp_state == "established")
        all.emplace_back(one.stale ? "stale" : "not usable");
    if (one.peer_backup)
        all.emplace_back("peer asked for backup");
    if (one.local_backup)
        all.emplace_back("backup endpoint");
    // The verdict and the kernel's bit differ while an edit is under way, or where nothing decides.
    if (one.backup && one.allowed && !one.peer_backup)
        all.emplace_back("kernel: backup");
    return text::join(all);
}

output::Table::Cell verdict_cell(const SubflowStatus &one, const ConnectionStatus &connection) {
    if (connection.plain || (!connection.tracked && one.steerable))
        return {"-"};
    return {verdict(one), one.steerable && one.allowed ? Paint::good : Paint::warn};
}

std::string steered_by(const ConnectionStatus &connection) {
    if (connection.plain)
        return "plain TCP: the peer did not agree to MPTCP";
    return text::printable(connection.policy) + (!connection.tracked ? " (not decided yet)"
                                                 : connection.pending
                                                     ? " (from its next packet on)"
                                                     : fmt::format(" (slot {})", connection.slot));
}

std::string connection_text(const ConnectionStatus &connection, const output::Style &style) {
    std::string all = fmt::format("{}  {}  {}\n", style(Paint::bold, fmt::format("{:08x}", connection.token)),
                                  steered_by(connection), text::count(connection.subflows.size(), "subflow"));
    output::Table table({{"id", Align::right},
                         {"interface"},
                         {"local"},
                         {"remote"},
                         {"verdict"},
                         {"rtt", Align::right},
                         {"cwnd", Align::right},
                         {"in flight", Align::right},
                         {"queued", Align::right},
                         {"acked", Align::right},
                         {"throughput", Align::right},
                         {"pacing rate", Align::right},
                         {"", Align::left, true}});
    for (const SubflowStatus &one : connection.subflows) {
        table.add(
            {fmt::to_string(one.id),
             one.ifname.empty() ? (one.ifindex == 0 ? "-" : fmt::format("#{}", one.ifindex)) : one.ifname,
             one.local,
             one.remote,
             verdict_cell(one, connection),
             one.srtt_us == 0 ? "-" : text::duration(one.srtt_us),
             fmt::to_string(one.cwnd),
             fmt::to_string(one.in_flight),
             text::bytes(one.queued_bytes),
             text::bytes(one.bytes_acked),
             one.acked_bytes_s ? text::bit_rate(*one.acked_bytes_s) : "-",
             one.pacing_rate == 0 ? "-" : text::bit_rate(one.pacing_rate),
             {notes(one, connection), Paint::dim}});
    }
    return all + table.render(style, 2);
}

Result<Reply> run_conns(const Context &context, const ConnsOptions &options) {
    const auto instance = context.open();
    if (!instance)
        return std::unexpected(instance.error());
    if (options.policy)
        if (const auto known = instance->policy(*options.policy); !known)
            return std::unexpected(known.error());
    const auto connections = instance->connections(sample_ms);
    if (!connections)
        return std::unexpected(connections.error());

    Reply reply{.json = Json::array(), .text = {}};
    for (const ConnectionStatus &connection : *connections) {
        if (options.policy && connection.policy != *options.policy)
            continue;
        Json one{{"token", connection.token},     {"policy", connection.policy},
                 {"slot", connection.slot},       {"tracked", connection.tracked},
                 {"pending", connection.pending}, {"plain_tcp", connection.plain},
                 {"subflows", Json::array()}};
        for (const SubflowStatus &subflow : connection.subflows)
            one["subflows"].push_back(subflow_json(subflow, connection));
        reply.json.push_back(std::move(one));
        reply.text += (reply.text.empty() ? "" : "\n") + connection_text(connection, context.style);
    }
    if (reply.text.empty())
        reply.text = options.policy ? fmt::format("no connection uses {}\n", text::printable(*options.policy))
                                    : "no MPTCP connections in this network namespace\n";
    return reply;
}

} // namespace

void setup_conns(Binder &binder) {
    auto options = std::make_shared<ConnsOptions>();
    binder.option("--policy", options->policy);
    binder.run([options](const Context &context) { return run_conns(context, *options); });
}

} // namespace mps::cli
