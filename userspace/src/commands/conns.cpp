// SPDX-License-Identifier: MIT

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>

#include <fmt/format.h>
#include <poll.h>

#include <mpsched/gateway.hpp>

#include "base/try.hpp"
#include "cli/stop_signal.hpp"
#include "commands/commands.hpp"
#include "commands/numbers.hpp"
#include "mpsched/compare.hpp"
#include "output/clock.hpp"
#include "output/redraw.hpp"
#include "output/text.hpp"
#include "proxy/clients.hpp"
#include "json/documents.hpp"
#include "json/reason_text.hpp"

namespace mps::cli {

namespace {

using output::Align;
using output::Paint;

struct ConnsOptions {
    std::optional<std::string> policy, watch;
};

// Long enough for the ACKs of several round trips of most paths.
constexpr std::uint32_t sample_ms = 200;

// Why it is allowed or parked, and what is unusual about it.
std::string notes(const SubflowStatus &one, const ConnectionStatus &connection) {
    std::vector<std::string> all;
    if (one.reason && one.steerable)
        all.push_back(text::printable(reason_text(*one.reason, other_of(one, connection))));
    if (one.tcp_state != "established")
        all.push_back(text::printable(one.tcp_state));
    if (!one.usable && one.tcp_state == "established")
        all.emplace_back(one.stale ? "stale" : "not usable");
    if (one.down)
        all.emplace_back("path down");
    if (one.silent)
        all.emplace_back("silent");
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

std::string connection_text(const ConnectionStatus &connection, const proxy::Client *client,
                            const output::Style &style) {
    std::string all = fmt::format(
        "{}  {}  {}{}\n", style(Paint::bold, fmt::format("{:08x}", connection.token)), steered_by(connection),
        text::count(connection.subflows.size(), "subflow"),
        client ? fmt::format("  for {} (proxy {})", client->address, text::printable(client->proxy)) : "");
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

std::string way_text(const ForwardedWay &way) { return way.bytes_s ? text::bit_rate(*way.bytes_s) : "-"; }

// From the one host to the other and back: both halves that meet here.
std::string round_trip(const ForwardedSubflow &one) {
    return one.up.srtt_us && one.down.srtt_us ? text::duration(one.up.srtt_us + one.down.srtt_us) : "-";
}

// What the ends are told, where that is not all there is.
std::string told_text(const ForwardedSubflow &one) {
    std::vector<std::string> all;
    if (!one.up.allowed)
        all.emplace_back(one.up.ignored ? "up: parked, and used all the same" : "up: parked");
    if (!one.down.allowed)
        all.emplace_back(one.down.ignored ? "down: parked, and used all the same" : "down: parked");
    return text::join(all);
}

std::string forwarded_text(const ForwardedConnection &connection, const output::Style &style) {
    std::string all = fmt::format("{}  forwarded, to {:08x}  up: {}, down: {}  {}\n",
                                  style(Paint::bold, fmt::format("{:08x}", connection.initiator_token)),
                                  connection.responder_token, text::printable(connection.up_policy),
                                  text::printable(connection.down_policy),
                                  text::count(connection.subflows.size(), "subflow"));
    output::Table table({{"id", Align::right},
                         {"interface"},
                         {"initiator"},
                         {"responder"},
                         {"rtt", Align::right},
                         {"up", Align::right},
                         {"down", Align::right},
                         {"up now", Align::right},
                         {"down now", Align::right},
                         {"sent again", Align::right},
                         {"out of order", Align::right},
                         {"", Align::left, true}});
    for (const ForwardedSubflow &one : connection.subflows)
        table.add({fmt::to_string(one.id),
                   one.ifname.empty() ? fmt::format("#{}", one.ifindex) : one.ifname,
                   one.initiator,
                   one.responder,
                   round_trip(one),
                   text::bytes(one.up.bytes),
                   text::bytes(one.down.bytes),
                   way_text(one.up),
                   way_text(one.down),
                   text::bytes(one.up.again_bytes + one.down.again_bytes),
                   text::bytes(one.up.late_bytes + one.down.late_bytes),
                   {told_text(one), Paint::dim}});
    return all + table.render(style, 2);
}

Json json_of(const ConnectionStatus &connection, const proxy::Client *client) {
    Json one = connection_json(connection);
    one["client"] = client ? Json{{"address", client->address}, {"proxy", client->proxy}} : Json();
    return one;
}

Reply tell(const Context &context, const ConnsOptions &options,
           const std::vector<ConnectionStatus> &connections,
           const std::vector<ForwardedConnection> &forwarded) {
    Reply reply{.json = Json::array(), .text = {}};
    const auto clients = proxy::Clients::look(context.globals.netns, reply.warnings);
    for (const ConnectionStatus &connection : connections) {
        if (options.policy && connection.policy != *options.policy)
            continue;
        const proxy::Client *client = clients.of(connection);
        reply.json.push_back(json_of(connection, client));
        reply.text += (reply.text.empty() ? "" : "\n") + connection_text(connection, client, context.style);
    }
    for (const ForwardedConnection &connection : forwarded) {
        if (options.policy)
            break;
        reply.json.push_back(forwarded_json(connection));
        reply.text += (reply.text.empty() ? "" : "\n") + forwarded_text(connection, context.style);
    }
    if (reply.text.empty())
        reply.text = options.policy ? fmt::format("no connection uses {}\n", text::printable(*options.policy))
                                    : "no MPTCP connections in this network namespace\n";
    return reply;
}

// Again and again until a signal; throughputs are those since the look before.
Result<Reply> watch_conns(const Context &context, const ConnsOptions &options, const Instance &instance,
                          std::chrono::milliseconds interval) {
    using Clock = std::chrono::steady_clock;
    const StopSignal stop;
    output::Redraw screen(context.globals.json, context.globals.json_form);
    auto now = instance.connections(sample_ms);
    for (auto looked_at = Clock::now();;) {
        MPS_TRY(now);
        const auto forwarded = instance.forwarded(sample_ms);
        MPS_TRY(forwarded);
        Reply reply = tell(context, options, *now, *forwarded);
        if (!(screen.json() ? screen.write(Json{{"time", output::clock_for_programs()},
                                                {"connections", std::move(reply.json)}})
                            : screen.write(output::clock_for_people(), reply.text)))
            break;
        pollfd waiting{.fd = stop.fd(), .events = POLLIN, .revents = 0};
        if (::poll(&waiting, 1, static_cast<int>(interval.count())) > 0)
            break;
        const auto before = std::move(*now);
        const auto then = looked_at;
        now = instance.connections();
        looked_at = Clock::now();
        if (now)
            add_rates(before, *now, std::chrono::duration<double>(looked_at - then).count());
    }
    if (screen.failed())
        return fail(ErrorCode::failed, "cannot write to standard output", "see whether its device is full");
    return Reply{.json = {}, .text = {}, .streamed = true};
}

Result<Reply> run_conns(const Context &context, const ConnsOptions &options) {
    std::optional<std::chrono::milliseconds> interval;
    if (options.watch) {
        const auto given = seconds_of_word(*options.watch, "--watch", std::chrono::milliseconds(100));
        MPS_TRY(given);
        interval = *given;
    }
    const auto instance = context.open();
    MPS_TRY(instance);
    if (options.policy)
        if (const auto known = instance->policy(*options.policy); !known)
            return std::unexpected(known.error());
    if (interval)
        return watch_conns(context, options, *instance, *interval);
    const auto connections = instance->connections(sample_ms);
    MPS_TRY(connections);
    const auto forwarded = instance->forwarded(sample_ms);
    MPS_TRY(forwarded);
    return tell(context, options, *connections, *forwarded);
}

} // namespace

void setup_conns(Binder &binder) {
    auto options = std::make_shared<ConnsOptions>();
    binder.option("--policy", options->policy);
    binder.option("--watch", options->watch);
    binder.run([options](const Context &context) { return run_conns(context, *options); });
}

} // namespace mps::cli
