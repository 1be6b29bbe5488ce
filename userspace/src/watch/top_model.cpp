// SPDX-License-Identifier: MIT

#include "watch/top_model.hpp"

#include <algorithm>
#include <cctype>

#include <fmt/format.h>

#include "output/text.hpp"
#include "json/reason_text.hpp"

namespace mps::watch {

namespace {

// "12.3M", "999", "1.20G": a rate in bit/s, in seven columns at most.
std::string short_rate(std::uint64_t bytes_s) {
    double value = static_cast<double>(bytes_s) * 8;
    std::size_t unit = 0;
    constexpr std::string_view units = " kMGT";
    while (value >= 999.5 && unit + 1 < units.size()) {
        value /= 1000;
        unit++;
    }
    if (unit == 0)
        return fmt::format("{:.0f}", value);
    return fmt::format("{:.{}f}{}", value, value < 9.995 ? 2 : value < 99.95 ? 1 : 0, units[unit]);
}

std::string delay(std::uint32_t us) { return us == 0 ? "-" : text::duration(us); }

std::string interface_of(const SubflowStatus &one) {
    return one.ifname.empty() ? (one.ifindex ? fmt::format("#{}", one.ifindex) : "-") : one.ifname;
}

std::string verdict_word(const Row &row) {
    if (row.connection->plain || (!row.connection->tracked && row.subflow->steerable))
        return "-";
    return std::string(verdict_of(*row.subflow));
}

std::string subflow_note(const Row &row) {
    const SubflowStatus &one = *row.subflow;
    if (one.down)
        return "path down";
    if (one.silent)
        return "silent";
    if (one.stale)
        return "stale";
    if (one.reason && one.steerable)
        return reason_text(*one.reason, other_of(one, *row.connection));
    return one.tcp_state == "established" ? "" : one.tcp_state;
}

// Of a connection the reason of one that is parked, else of the first.
std::string connection_note(const Row &row) {
    const ConnectionStatus &connection = *row.connection;
    if (connection.plain)
        return "plain TCP";
    const auto parked = std::ranges::find_if(connection.subflows, [](const SubflowStatus &one) {
        return verdict_of(one) == "parked" && one.reason;
    });
    if (parked != connection.subflows.end())
        return fmt::format("{}: {}", interface_of(*parked),
                           reason_text(*parked->reason, other_of(*parked, connection)));
    return connection.pending ? "chooses anew" : "";
}

std::string path_state(const Row &row) {
    const PathStatus &path = *row.path;
    return path.down       ? "down"
           : !path.ifindex ? "absent"
           : path.attached ? "attached"
           : path.wanted   ? "detached"
                           : "known";
}

std::string quota_text(const Row &row) {
    const PathStatus &path = *row.path;
    if (!path.attributes.quota_bytes)
        return "-";
    return fmt::format("{} of {}", text::bytes(path.quota_used_bytes),
                       text::bytes(*path.attributes.quota_bytes));
}

double none(const Row &) { return 0; }
double sent(const Row &row) { return static_cast<double>(row.sent_bytes_s); }
double received(const Row &row) { return static_cast<double>(row.received_bytes_s); }
double rtt(const Row &row) { return row.rtt_us; }
double queued(const Row &row) { return static_cast<double>(row.queued_bytes); }
std::string sent_text(const Row &row) { return short_rate(row.sent_bytes_s); }
std::string received_text(const Row &row) { return short_rate(row.received_bytes_s); }
std::string rtt_text(const Row &row) { return delay(row.rtt_us); }
std::string queued_text(const Row &row) { return text::bytes(row.queued_bytes); }
std::string token_text(const Row &row) { return fmt::format("{:08x}", row.connection->token); }
std::string subflows_text(const Row &row) { return fmt::to_string(row.subflows); }
std::string parked_text(const Row &row) { return fmt::to_string(row.parked); }

constexpr std::array path_columns{
    TopColumn{"path", 12, false, false, none, [](const Row &row) { return row.path->name; }},
    TopColumn{"state", 8, false, false, none, path_state},
    TopColumn{"sent", 7, true, true, sent, sent_text},
    TopColumn{"received", 8, true, true, received, received_text},
    TopColumn{"rtt", 7, true, true, rtt, rtt_text},
    TopColumn{"subfl", 5, true, true, [](const Row &row) { return double(row.subflows); }, subflows_text},
    TopColumn{"parked", 6, true, true, [](const Row &row) { return double(row.parked); }, parked_text},
    TopColumn{"flips/s", 7, true, true, [](const Row &row) { return row.flips_s; },
              [](const Row &row) { return fmt::format("{:.1f}", row.flips_s); }},
    TopColumn{"quota", 0, false, true, [](const Row &row) { return double(row.path->quota_used_bytes); },
              quota_text},
};

constexpr std::array connection_columns{
    TopColumn{"token", 8, false, false, none, token_text},
    TopColumn{"policy", 14, false, false, none, [](const Row &row) { return row.connection->policy; }},
    TopColumn{"sent", 7, true, true, sent, sent_text},
    TopColumn{"received", 8, true, true, received, received_text},
    TopColumn{"rtt", 7, true, true, rtt, rtt_text},
    TopColumn{"queued", 8, true, true, queued, queued_text},
    TopColumn{"sf", 2, true, true, [](const Row &row) { return double(row.subflows); }, subflows_text},
    TopColumn{"parked", 6, true, true, [](const Row &row) { return double(row.parked); }, parked_text},
    TopColumn{"why", 0, false, false, none, connection_note},
};

constexpr std::array subflow_columns{
    TopColumn{"token", 8, false, false, none, token_text},
    TopColumn{"id", 2, true, false, [](const Row &row) { return double(row.subflow->id); },
              [](const Row &row) { return fmt::to_string(row.subflow->id); }},
    TopColumn{"interface", 9, false, false, none, [](const Row &row) { return interface_of(*row.subflow); }},
    TopColumn{"verdict", 9, false, false, none, verdict_word},
    TopColumn{"sent", 7, true, true, sent, sent_text},
    TopColumn{"received", 8, true, true, received, received_text},
    TopColumn{"rtt", 7, true, true, rtt, rtt_text},
    TopColumn{"cwnd", 4, true, true, [](const Row &row) { return double(row.subflow->cwnd); },
              [](const Row &row) { return fmt::to_string(row.subflow->cwnd); }},
    TopColumn{"queued", 8, true, true, queued, queued_text},
    TopColumn{"why", 0, false, false, none, subflow_note},
};

constexpr std::array program_columns{
    TopColumn{"program", 16, false, false, none, [](const Row &row) { return row.program->name; }},
    TopColumn{"id", 7, true, false, [](const Row &row) { return double(row.program->id); },
              [](const Row &row) { return fmt::to_string(row.program->id); }},
    TopColumn{"runs/s", 10, true, true, [](const Row &row) { return row.runs_s; },
              [](const Row &row) { return fmt::format("{:.0f}", row.runs_s); }},
    TopColumn{"ns/run", 8, true, true, [](const Row &row) { return double(row.run_ns); },
              [](const Row &row) { return fmt::to_string(row.run_ns); }},
    TopColumn{"cpu", 7, true, true, [](const Row &row) { return row.time_share; },
              [](const Row &row) { return fmt::format("{:.2f}%", row.time_share * 100); }},
    TopColumn{"", 0, false, false, none, [](const Row &) { return std::string(); }},
};

bool contains(std::string_view text, std::string_view word) {
    return !std::ranges::search(text, word, [](unsigned char a, unsigned char b) {
                return std::tolower(a) == std::tolower(b);
            }).empty();
}

bool has(const SubflowStatus &one, std::string_view filter) {
    return contains(one.ifname, filter) || contains(one.local, filter) || contains(one.remote, filter) ||
           contains(verdict_of(one), filter);
}

// What people look for: names, tokens, addresses, verdicts.
bool passes(const Row &row, std::string_view filter) {
    if (filter.empty())
        return true;
    if (row.program)
        return contains(row.program->name, filter);
    if (row.path)
        return contains(row.path->name, filter) || contains(path_state(row), filter);
    if (contains(token_text(row), filter) || contains(row.connection->policy, filter))
        return true;
    if (row.subflow)
        return has(*row.subflow, filter);
    return std::ranges::any_of(row.connection->subflows,
                               [&](const SubflowStatus &one) { return has(one, filter); });
}

std::uint64_t rate(std::uint64_t bytes, double seconds) {
    return seconds > 0 ? static_cast<std::uint64_t>(static_cast<double>(bytes) / seconds) : 0;
}

} // namespace

std::span<const TopColumn> columns_of(View view) {
    switch (view) {
    case View::paths:
        return path_columns;
    case View::connections:
        return connection_columns;
    case View::subflows:
        return subflow_columns;
    case View::programs:
        break;
    }
    return program_columns;
}

void TopModel::take(Sample sample) {
    flips_before_.clear();
    for (const auto &[name, total] : totals_.paths())
        flips_before_[name] = total.flips;
    before_ = std::move(now_);
    now_ = std::move(sample);
    seconds_ = before_.monotonic_ns ? static_cast<double>(now_.monotonic_ns - before_.monotonic_ns) / 1e9 : 0;
    flows_ = flows_between(before_.connections, now_.connections);
    totals_.take(before_, now_, flows_);
}

std::vector<Row> TopModel::path_rows() const {
    std::vector<Row> rows;
    for (const PathStatus &path : now_.paths) {
        const auto total = totals_.paths().find(path.name);
        const auto flips = flips_before_.find(path.name);
        if (total == totals_.paths().end())
            continue;
        const PathTotal &sum = total->second;
        rows.push_back({.path = &path,
                        .total = &sum,
                        .sent_bytes_s = sum.sent_bytes_s,
                        .received_bytes_s = sum.received_bytes_s,
                        .rtt_us = sum.srtt_us,
                        .subflows = sum.subflows,
                        .parked = sum.parked,
                        .flips_s = seconds_ > 0 && flips != flips_before_.end()
                                       ? static_cast<double>(sum.flips - flips->second) / seconds_
                                       : 0});
    }
    return rows;
}

std::vector<Row> TopModel::subflow_rows() const {
    std::vector<Row> rows;
    rows.reserve(flows_.size());
    for (const Flow &flow : flows_)
        rows.push_back({.connection = flow.connection,
                        .subflow = flow.subflow,
                        .sent_bytes_s = rate(flow.sent_bytes, seconds_),
                        .received_bytes_s = rate(flow.received_bytes, seconds_),
                        .queued_bytes = flow.subflow->queued_bytes,
                        .rtt_us = flow.subflow->srtt_us});
    return rows;
}

std::vector<Row> TopModel::connection_rows() const {
    std::vector<Row> rows;
    rows.reserve(now_.connections.size());
    for (const Row &one : subflow_rows()) {
        if (rows.empty() || rows.back().connection != one.connection)
            rows.push_back({.connection = one.connection});
        Row &row = rows.back();
        row.sent_bytes_s += one.sent_bytes_s;
        row.received_bytes_s += one.received_bytes_s;
        row.queued_bytes += one.queued_bytes;
        if (one.rtt_us)
            row.rtt_us = row.rtt_us ? std::min(row.rtt_us, one.rtt_us) : one.rtt_us;
        row.subflows++;
        row.parked += verdict_of(*one.subflow) == "parked";
    }
    return rows;
}

std::vector<Row> TopModel::program_rows() const {
    std::vector<Row> rows;
    for (const ProgramCost &cost : now_.programs) {
        const auto was = std::ranges::find(before_.programs, cost.id, &ProgramCost::id);
        if (was == before_.programs.end() || seconds_ <= 0)
            continue;
        const std::uint64_t runs = cost.runs - was->runs, time_ns = cost.time_ns - was->time_ns;
        rows.push_back({.program = &cost,
                        .runs_s = static_cast<double>(runs) / seconds_,
                        .time_share = static_cast<double>(time_ns) / 1e9 / seconds_,
                        .run_ns = runs ? time_ns / runs : 0});
    }
    return rows;
}

std::vector<Row> TopModel::all_rows(View view) const {
    switch (view) {
    case View::paths:
        return path_rows();
    case View::connections:
        return connection_rows();
    case View::subflows:
        return subflow_rows();
    case View::programs:
        break;
    }
    return program_rows();
}

std::vector<Row> TopModel::rows(View view, const Order &order, std::string_view filter) const {
    std::vector<Row> rows = all_rows(view);
    std::erase_if(rows, [&](const Row &row) { return !passes(row, filter); });
    const TopColumn &column = columns_of(view)[std::min(order.column, columns_of(view).size() - 1)];
    if (column.number != none) {
        std::ranges::stable_sort(rows, [&](const Row &a, const Row &b) {
            return order.most_first ? column.number(a) > column.number(b)
                                    : column.number(a) < column.number(b);
        });
        return rows;
    }
    // Texts are made once for each row, not for each comparison.
    std::vector<std::pair<std::string, Row>> texts;
    texts.reserve(rows.size());
    for (const Row &row : rows)
        texts.emplace_back(column.text(row), row);
    std::ranges::stable_sort(texts, [&](const auto &a, const auto &b) {
        return order.most_first ? a.first > b.first : a.first < b.first;
    });
    for (std::size_t i = 0; i < rows.size(); i++)
        rows[i] = texts[i].second;
    return rows;
}

double TopModel::per_second(std::string_view counter) const {
    const auto now = std::ranges::find(now_.counters, counter, &CounterValue::name);
    const auto was = std::ranges::find(before_.counters, counter, &CounterValue::name);
    if (now == now_.counters.end() || was == before_.counters.end() || seconds_ <= 0 ||
        now->value < was->value)
        return 0;
    return static_cast<double>(now->value - was->value) / seconds_;
}

double TopModel::program_share() const {
    double sum = 0;
    for (const Row &row : program_rows())
        sum += row.time_share;
    return sum;
}

} // namespace mps::watch
