// SPDX-License-Identifier: MIT

#include <algorithm>
#include <memory>
#include <optional>

#include <fmt/format.h>

#include "commands/commands.hpp"
#include "output/text.hpp"
#include "json/documents.hpp"
#include "json/reason_text.hpp"

namespace mps::cli {

namespace {

using output::Align;
using output::Paint;

struct ConnsOptions {
    std::optional<std::string> policy;
};

// Long enough for the ACKs of several round trips of most paths.
constexpr std::uint32_t sample_ms = 200;

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
    if (one.told == "backup")
        all.emplace_back(one.rx_ignored ? "peer told to avoid it, and does not" : "peer told to avoid it");
    // The verdict and the kernel's bit differ while an edit is under way, or where nothing decides.
    if (one.backup && one.allowed && !one.peer_backup)
        all.emplace_back("kernel: backup");
    return text::join(all);
}

output::Table::Cell verdict_cell(const SubflowStatus &one, const ConnectionStatus &connection) {
    if (connection.plain || (!connection.tracked && one.steerable))
        return {"-"};
    return {verdict_of(one), one.steerable && one.allowed ? Paint::good : Paint::warn};
}

std::string steered_by(const ConnectionStatus &connection) {
    if (connection.plain)
        return "plain TCP: the peer did not agree to MPTCP";
    const std::string rx = connection.rx_policy == connection.policy
                               ? ""
                               : ", what the peer sends: " + text::printable(connection.rx_policy);
    return text::printable(connection.policy) +
           (!connection.tracked  ? " (not decided yet)"
            : connection.pending ? " (from its next packet on)"
                                 : fmt::format(" (slot {})", connection.slot)) +
           rx;
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
                         {"received", Align::right},
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
             text::bytes(one.bytes_received),
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
        reply.json.push_back(connection_json(connection));
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
