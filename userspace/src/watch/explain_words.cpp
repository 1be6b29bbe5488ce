// SPDX-License-Identifier: MIT

#include "watch/explain_words.hpp"

#include <algorithm>
#include <limits>
#include <optional>

#include <fmt/format.h>

#include "output/text.hpp"
#include "json/reason_text.hpp"

namespace mps::watch {

namespace {

using output::Paint;
using output::Style;

// What the kernel's own scheduler goes by among subflows that are not parked: how long what waits in one takes to leave.
std::optional<std::uint64_t> linger_us(const SubflowInputs &inputs) {
    if (!inputs.pacing_rate)
        return std::nullopt;
    return static_cast<std::uint64_t>(static_cast<double>(inputs.queued_bytes) * 1e6 /
                                      static_cast<double>(inputs.pacing_rate));
}

std::string interface_of(const SubflowStatus &one) {
    return one.ifname.empty() ? fmt::format("#{}", one.ifindex) : text::printable(one.ifname);
}

// "parked: it is ahead of its share by 12 kB"
std::string verdict_text(const SubflowStatus &one, const ConnectionStatus &connection, bool left_alone,
                         const Style &style) {
    if (connection.plain)
        return "plain TCP: nothing to choose";
    if (!one.steerable)
        return style(Paint::warn, "unsteered") +
               ": its packets are not met on an attached interface, so the kernel uses it as it likes";
    if (!connection.tracked)
        return "not decided on yet";
    if (left_alone)
        return "left to the kernel, which goes by what the peers asked for";
    std::string why = one.reason ? text::printable(reason_text(*one.reason, other_of(one, connection)))
                                 : "the policy gives no reason";
    return fmt::format("{}: {}", style(one.allowed ? Paint::good : Paint::warn, verdict_of(one)), why);
}

// What stands against a subflow, or is unusual about it, in the kernel's own state.
std::vector<std::string> state_words(const SubflowStatus &one, const SubflowInputs &inputs) {
    std::vector<std::string> all;
    if (one.tcp_state != "established")
        all.push_back(one.tcp_state);
    if (one.down)
        all.emplace_back("its path is down");
    if (one.silent)
        all.emplace_back("nothing of what is under way is acknowledged");
    if (inputs.stale)
        all.emplace_back("the kernel has given it up (stale)");
    if (!inputs.usable && !inputs.stale && one.tcp_state == "established")
        all.emplace_back("the kernel may not send on it now");
    if (inputs.troubled && !one.silent)
        all.emplace_back(
            fmt::format("in recovery without progress ({})", text::count(inputs.retransmits, "time-out")));
    if (inputs.peer_backup)
        all.emplace_back("its peer asked for it to be a backup");
    if (inputs.local_backup)
        all.emplace_back("its local endpoint has the backup flag, which no policy overrules");
    if (inputs.self)
        all.emplace_back("the packet that asked for the decision arrived on it");
    return all;
}

std::string delay_text(const SubflowInputs &inputs) {
    if (!inputs.srtt_us)
        return "rtt not known yet";
    return fmt::format("rtt {}{}", text::duration(inputs.srtt_us),
                       inputs.min_rtt_us
                           ? fmt::format(" (least {}, deviation {})", text::duration(inputs.min_rtt_us),
                                         text::duration(inputs.rttvar_us))
                           : "");
}

std::string window_text(const SubflowInputs &inputs) {
    return fmt::format("window {} of {} B, {} under way{}", text::count(inputs.cwnd, "segment"),
                       inputs.mss_bytes, inputs.in_flight,
                       inputs.in_flight >= inputs.cwnd ? " (full)"
                       : inputs.slow_start             ? " (slow start)"
                                                       : "");
}

std::string queue_text(const SubflowInputs &inputs) {
    const auto linger = linger_us(inputs);
    return fmt::format("{} queued{}, pacing rate {}", text::bytes(inputs.queued_bytes),
                       linger ? fmt::format(" (leaves in {})", text::duration(*linger)) : "",
                       inputs.pacing_rate ? text::bit_rate(inputs.pacing_rate) : "not known yet");
}

std::string attributes_text(const SubflowInputs &inputs) {
    return fmt::format("weight {}, priority {}, cost {}, energy {}, {}", inputs.weight, inputs.priority,
                       inputs.cost, inputs.energy,
                       inputs.quota_left_bytes
                           ? fmt::format("{} of its quota left", text::bytes(*inputs.quota_left_bytes))
                           : "no quota");
}

// What the peer was told, and why.
std::string rx_text(const SubflowStatus &one, const SubflowInputs &inputs,
                    const ConnectionStatus &connection) {
    if (!inputs.rx_reason && one.told == "nothing")
        return {};
    SubflowStatus rx = one;
    rx.reason = inputs.rx_reason;
    std::string all = one.rx_ignored         ? "the peer was told to avoid it, and does not"
                      : one.told == "backup" ? "the peer was told to avoid it"
                      : one.told == "active" ? "the peer was told to use it"
                                             : "the peer may use it";
    if (rx.reason)
        all += ": " + text::printable(reason_text(*rx.reason, other_of(rx, connection)));
    return all;
}

std::string subflow_text(const Explanation &explanation, std::size_t i, const Style &style) {
    const ConnectionStatus &connection = explanation.connection;
    const SubflowStatus &one = connection.subflows[i];
    const SubflowInputs &inputs = explanation.inputs[i];
    std::string all = fmt::format("  {} {}  {}\n", one.id, style(Paint::bold, interface_of(one)),
                                  verdict_text(one, connection, explanation.left_alone, style));
    const auto add = [&](const std::string &line) {
        if (!line.empty())
            all += fmt::format("      {}\n", line);
    };
    add(fmt::format("{}; {}", delay_text(inputs), window_text(inputs)));
    add(queue_text(inputs));
    add(attributes_text(inputs));
    add(text::join(state_words(one, inputs), "; "));
    add(rx_text(one, inputs, connection));
    return all;
}

std::string decision_text(const Explanation &explanation) {
    if (!explanation.decided_us_ago)
        return "no decision was made about it yet: one subflow, or no packet since it was first seen\n";
    std::string all = fmt::format("decided {} ago; ", text::duration(*explanation.decided_us_ago));
    if (explanation.exact)
        all += fmt::format(
            "what the policy saw then: {} wait for a subflow, {} not acknowledged, the peer takes "
            "{} more\n",
            text::bytes(*explanation.unsent_bytes), text::bytes(*explanation.unacked_bytes),
            text::bytes(*explanation.window_bytes));
    else
        all += "what the policy saw then is not kept, so this is how it stands now\n";
    if (explanation.bit_pending)
        all += "a backup bit is still to be changed: the packet for that has not come yet\n";
    return all;
}

// Which of those that may be used the kernel's own scheduler would take for the next burst.
std::string next_text(const Explanation &explanation) {
    const SubflowStatus *best = nullptr;
    std::uint64_t least = std::numeric_limits<std::uint64_t>::max();
    for (std::size_t i = 0; i < explanation.inputs.size(); i++) {
        const SubflowInputs &inputs = explanation.inputs[i];
        const auto linger = linger_us(inputs);
        if (!inputs.usable || inputs.stale || inputs.backup || !linger || *linger >= least)
            continue;
        least = *linger;
        best = &explanation.connection.subflows[i];
    }
    if (!best)
        return {};
    return fmt::format(
        "Of those that are no backups the kernel takes the one whose queue leaves first: {}, {}.\n",
        interface_of(*best), text::duration(least));
}

Json reason_of(const std::optional<SubflowReason> &reason, const SubflowStatus &one,
               const ConnectionStatus &connection) {
    SubflowStatus like = one;
    like.reason = reason;
    return reason_json(like, other_of(like, connection));
}

Json inputs_json(const SubflowInputs &inputs, const SubflowStatus &one, const ConnectionStatus &connection) {
    const auto linger = linger_us(inputs);
    return {{"id", inputs.id},
            {"usable", inputs.usable},
            {"stale", inputs.stale},
            {"backup", inputs.backup},
            {"peer_backup", inputs.peer_backup},
            {"local_backup", inputs.local_backup},
            {"steerable", inputs.steerable},
            {"troubled", inputs.troubled},
            {"slow_start", inputs.slow_start},
            {"self", inputs.self},
            {"srtt_us", inputs.srtt_us},
            {"rttvar_us", inputs.rttvar_us},
            {"min_rtt_us", inputs.min_rtt_us},
            {"cwnd", inputs.cwnd},
            {"ssthresh", inputs.ssthresh},
            {"in_flight", inputs.in_flight},
            {"mss_bytes", inputs.mss_bytes},
            {"outstanding_bytes", inputs.outstanding_bytes},
            {"notsent_bytes", inputs.notsent_bytes},
            {"queued_bytes", inputs.queued_bytes},
            {"peer_window_bytes", inputs.peer_window_bytes},
            {"pacing_rate", inputs.pacing_rate},
            {"linger_us", linger ? Json(*linger) : Json(nullptr)},
            {"delivered", inputs.delivered},
            {"lost", inputs.lost},
            {"retransmits", inputs.retransmits},
            {"weight", inputs.weight},
            {"priority", inputs.priority},
            {"cost", inputs.cost},
            {"energy", inputs.energy},
            {"quota_left_bytes", inputs.quota_left_bytes ? Json(*inputs.quota_left_bytes) : Json(nullptr)},
            {"rx_reason", reason_of(inputs.rx_reason, one, connection)}};
}

Json number_or_null(const std::optional<std::uint64_t> &number) {
    return number ? Json(*number) : Json(nullptr);
}

} // namespace

std::string explanation_text(const Explanation &explanation, const Style &style) {
    const ConnectionStatus &connection = explanation.connection;
    std::string all = fmt::format("{}  {}\n", style(Paint::bold, fmt::format("{:08x}", connection.token)),
                                  connection.plain ? "plain TCP: the peer did not agree to MPTCP"
                                                   : "policy " + text::printable(connection.policy));
    if (!connection.rx_policy.empty() && connection.rx_policy != connection.policy)
        all += fmt::format("what the peer sends: policy {}\n", text::printable(connection.rx_policy));
    if (connection.pending)
        all += "it chooses its policy anew at its next packet\n";
    all += decision_text(explanation);
    for (std::size_t i = 0; i < connection.subflows.size(); i++)
        all += subflow_text(explanation, i, style);
    return all + next_text(explanation);
}

Json explanation_json(const Explanation &explanation) {
    const ConnectionStatus &connection = explanation.connection;
    Json all{{"connection", connection_json(connection)},
             {"decided_us_ago", number_or_null(explanation.decided_us_ago)},
             {"exact", explanation.exact},
             {"left_alone", explanation.left_alone},
             {"bit_pending", explanation.bit_pending},
             {"unsent_bytes", number_or_null(explanation.unsent_bytes)},
             {"unacked_bytes", number_or_null(explanation.unacked_bytes)},
             {"window_bytes", number_or_null(explanation.window_bytes)},
             {"inputs", Json::array()}};
    for (std::size_t i = 0; i < explanation.inputs.size(); i++)
        all["inputs"].push_back(inputs_json(explanation.inputs[i], connection.subflows[i], connection));
    return all;
}

} // namespace mps::watch
