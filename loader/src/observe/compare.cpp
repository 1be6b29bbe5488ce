// SPDX-License-Identifier: MIT
#include "mpsched/compare.hpp"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace mps {

namespace {

const ConnectionStatus *find(const std::vector<ConnectionStatus> &all, std::uint32_t token) {
    const auto it = std::ranges::lower_bound(all, token, {}, &ConnectionStatus::token);
    return it == all.end() || it->token != token ? nullptr : &*it;
}

// An id is given again when a subflow has gone; the addresses tell whether it is the same.
const SubflowStatus *find(const ConnectionStatus &connection, const SubflowStatus &like) {
    const auto it = std::ranges::find_if(connection.subflows, [&](const SubflowStatus &one) {
        return one.id == like.id && one.local == like.local && one.remote == like.remote;
    });
    return it == connection.subflows.end() ? nullptr : &*it;
}

Change of_subflow(Change::Kind kind, std::uint32_t token, const SubflowStatus &one) {
    return {.kind = kind,
            .token = token,
            .subflow = one.id,
            .interface = one.ifname,
            .now = kind == Change::Kind::subflow_left ? std::string() : std::string(verdict_of(one))};
}

bool is_lost(const SubflowStatus &one) { return one.silent || one.stale || one.down; }

bool is_in_use(const SubflowStatus &one) {
    return one.tcp_state == "established" && one.usable && verdict_of(one) != "parked" && !is_lost(one);
}

// Of a subflow that was in use: why it is lost; "" if it is not.
std::string_view loss_of(const SubflowStatus *now) {
    if (now == nullptr || now->tcp_state != "established")
        return "gone";
    return now->down ? "down" : now->silent ? "silent" : now->stale ? "stale" : "";
}

// The interfaces of those that are in use.
std::vector<std::string> carriers(const ConnectionStatus &connection) {
    std::vector<std::string> names;
    for (const SubflowStatus &one : connection.subflows) {
        const std::string name = one.ifname.empty() ? fmt::format("subflow {}", one.id) : one.ifname;
        if (is_in_use(one) && std::ranges::find(names, name) == names.end())
            names.push_back(name);
    }
    return names;
}

// Where subflows that were in use are lost and others are in use now. Where nobody was at the first look they were lost before it, and
// the others have been opened since.
void find_failovers(const ConnectionStatus &before, const ConnectionStatus &now,
                    std::vector<Change> &changes) {
    const std::vector<std::string> others = carriers(now);
    if (others.empty())
        return;
    const bool nobody_before = carriers(before).empty();
    for (const SubflowStatus &one : before.subflows) {
        const bool was_used = is_in_use(one) || (nobody_before && is_lost(one));
        const std::string_view why = was_used ? loss_of(find(now, one)) : "";
        if (!why.empty())
            changes.push_back({.kind = Change::Kind::failover,
                               .token = now.token,
                               .subflow = one.id,
                               .interface = one.ifname,
                               .now = fmt::format("{}", fmt::join(others, ", ")),
                               .why = std::string(why)});
    }
}

void compare(const ConnectionStatus &before, const ConnectionStatus &now, std::vector<Change> &changes) {
    if (before.policy != now.policy)
        changes.push_back({.kind = Change::Kind::policy, .token = now.token, .now = now.policy});
    for (const SubflowStatus &one : before.subflows) {
        if (!find(now, one))
            changes.push_back(of_subflow(Change::Kind::subflow_left, now.token, one));
    }
    for (const SubflowStatus &one : now.subflows) {
        const SubflowStatus *earlier = find(before, one);
        if (!earlier)
            changes.push_back(of_subflow(Change::Kind::subflow_joined, now.token, one));
        else if (verdict_of(*earlier) != verdict_of(one))
            changes.push_back(of_subflow(Change::Kind::verdict, now.token, one));
    }
    find_failovers(before, now, changes);
}

} // namespace

std::string_view to_string(Change::Kind kind) {
    switch (kind) {
    case Change::Kind::connection_begun:
        return "connection-begun";
    case Change::Kind::connection_ended:
        return "connection-ended";
    case Change::Kind::subflow_joined:
        return "subflow-joined";
    case Change::Kind::subflow_left:
        return "subflow-left";
    case Change::Kind::verdict:
        return "verdict";
    case Change::Kind::failover:
        return "failover";
    case Change::Kind::policy:
        break;
    }
    return "policy";
}

std::vector<Change> changes_between(const std::vector<ConnectionStatus> &before,
                                    const std::vector<ConnectionStatus> &now) {
    std::vector<Change> changes;
    for (const ConnectionStatus &one : before) {
        if (!find(now, one.token))
            changes.push_back({.kind = Change::Kind::connection_ended, .token = one.token});
    }
    for (const ConnectionStatus &one : now) {
        if (const ConnectionStatus *earlier = find(before, one.token))
            compare(*earlier, one, changes);
        else
            changes.push_back(
                {.kind = Change::Kind::connection_begun, .token = one.token, .now = one.policy});
    }
    return changes;
}

const SubflowStatus *same_subflow(const std::vector<ConnectionStatus> &all, std::uint32_t token,
                                  const SubflowStatus &like) {
    const ConnectionStatus *connection = find(all, token);
    return connection ? find(*connection, like) : nullptr;
}

void add_rates(const std::vector<ConnectionStatus> &before, std::vector<ConnectionStatus> &now,
               double seconds) {
    if (seconds <= 0)
        return;
    for (ConnectionStatus &connection : now) {
        for (SubflowStatus &one : connection.subflows) {
            const SubflowStatus *was = same_subflow(before, connection.token, one);
            if (was && one.bytes_acked >= was->bytes_acked)
                one.acked_bytes_s = static_cast<std::uint64_t>(
                    static_cast<double>(one.bytes_acked - was->bytes_acked) / seconds);
        }
    }
}

} // namespace mps
