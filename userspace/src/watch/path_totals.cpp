// SPDX-License-Identifier: MIT

#include "watch/path_totals.hpp"

#include <algorithm>

#include "mpsched/compare.hpp"

namespace mps::watch {

namespace {

std::uint64_t per_second(std::uint64_t amount, double seconds) {
    return seconds > 0 ? static_cast<std::uint64_t>(static_cast<double>(amount) / seconds) : 0;
}

} // namespace

// Of subflows that have ended since: what they had carried in all, less what was counted while they lived.
void PathTotals::count_ended(const Sample &before, const Sample &now, const std::vector<Flow> &flows,
                             std::map<std::string, Carried> &carried) {
    if (now.closed.empty())
        return;
    std::map<std::string, Carried> ended;
    const auto add = [&](const std::string &name, std::uint64_t sent, std::uint64_t received, int sign) {
        ended[name].sent += sign * static_cast<std::int64_t>(sent);
        ended[name].received += sign * static_cast<std::int64_t>(received);
    };
    for (const ClosedBytes &one : now.closed)
        add(one.ifname, one.sent_bytes, one.received_bytes, 1);
    for (const ClosedBytes &one : before.closed)
        add(one.ifname, one.sent_bytes, one.received_bytes, -1);
    for (const ConnectionStatus &connection : before.connections)
        for (const SubflowStatus &one : connection.subflows)
            add(one.ifname, one.bytes_acked, one.bytes_received, -1);
    // Those that live on have not ended.
    for (const Flow &flow : flows)
        if (flow.before && flow.subflow->bytes_acked >= flow.before->bytes_acked)
            add(flow.before->ifname, flow.before->bytes_acked, flow.before->bytes_received, 1);
    for (const auto &[name, sums] : ended) {
        // One that ended between the two readings of a look is missing in both: it is in the sums of the next one.
        Carried &debt = debts_[name];
        const Carried all{debt.sent + sums.sent, debt.received + sums.received};
        debt = {std::min<std::int64_t>(sums.sent, 0), std::min<std::int64_t>(sums.received, 0)};
        if (all.sent > 0)
            carried[name].sent += all.sent, debt.sent = 0;
        if (all.received > 0)
            carried[name].received += all.received, debt.received = 0;
    }
}

void PathTotals::count(const Sample &before, const Sample &now, const std::vector<Flow> &flows) {
    const double seconds = static_cast<double>(now.monotonic_ns - before.monotonic_ns) / 1e9;
    std::map<std::string, Carried> carried;
    count_ended(before, now, flows, carried);
    for (const Flow &flow : flows) {
        if (flow.subflow->ifname.empty())
            continue;
        PathTotal &path = paths_[flow.subflow->ifname];
        Carried &sum = carried[flow.subflow->ifname];
        sum.sent += static_cast<std::int64_t>(flow.sent_bytes);
        sum.received += static_cast<std::int64_t>(flow.received_bytes);
        const std::string_view verdict = verdict_of(*flow.subflow);
        // As at the last look for the whole time since: exact to a look.
        if (flow.before && verdict_of(*flow.before) == "parked")
            path.parked_s += seconds;
        if (flow.before && verdict_of(*flow.before) != verdict)
            path.flips++;
    }
    for (const auto &[name, sum] : carried) {
        // Interfaces that are no paths are named by who lives there.
        const auto path = paths_.find(name);
        if (path == paths_.end())
            continue;
        path->second.sent_bytes += static_cast<std::uint64_t>(sum.sent);
        path->second.received_bytes += static_cast<std::uint64_t>(sum.received);
        path->second.sent_bytes_s = per_second(static_cast<std::uint64_t>(sum.sent), seconds);
        path->second.received_bytes_s = per_second(static_cast<std::uint64_t>(sum.received), seconds);
    }
}

void PathTotals::describe(const Sample &now) {
    std::map<std::string_view, std::pair<std::uint64_t, std::uint32_t>> delays; // sum and number
    for (const ConnectionStatus &connection : now.connections) {
        for (const SubflowStatus &one : connection.subflows) {
            if (one.ifname.empty())
                continue;
            PathTotal &path = paths_[one.ifname];
            path.subflows++;
            path.parked += verdict_of(one) == "parked";
            path.unsteered += !one.steerable;
            if (!one.srtt_us)
                continue;
            auto &[sum, number] = delays[one.ifname];
            sum += one.srtt_us;
            number++;
            path.least_rtt_us = path.least_rtt_us ? std::min(path.least_rtt_us, one.srtt_us) : one.srtt_us;
        }
    }
    for (const auto &[name, delay] : delays)
        paths_[std::string(name)].srtt_us = static_cast<std::uint32_t>(delay.first / delay.second);
}

void PathTotals::take(const Sample &before, const Sample &now, const std::vector<Flow> &flows) {
    for (const PathStatus &path : now.paths)
        paths_.try_emplace(path.name);
    for (auto &[name, path] : paths_) {
        path.sent_bytes_s = path.received_bytes_s = 0;
        path.subflows = path.parked = path.unsteered = path.srtt_us = path.least_rtt_us = 0;
    }
    // Where nothing was attached, what connections have carried until now was counted before that, or not at all.
    if (before.monotonic_ns && before.installed) {
        count(before, now, flows);
        for (const Change &change : changes_between(before.connections, now.connections)) {
            if (change.kind == Change::Kind::failover && !change.interface.empty())
                paths_[change.interface].failovers++;
        }
    }
    describe(now);
    // A modem that is numbered anew each time would leave one for each of its names.
    std::erase_if(paths_, [&](const auto &one) {
        return one.second.subflows == 0 &&
               std::ranges::find(now.paths, one.first, &PathStatus::name) == now.paths.end();
    });
}

} // namespace mps::watch
