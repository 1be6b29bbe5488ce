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

void PathTotals::count(const std::vector<Flow> &flows, double seconds) {
    std::map<std::string_view, std::pair<std::uint64_t, std::uint64_t>> carried;
    for (const Flow &flow : flows) {
        if (flow.subflow->ifname.empty())
            continue;
        PathTotal &path = paths_[flow.subflow->ifname];
        path.sent_bytes += flow.sent_bytes;
        path.received_bytes += flow.received_bytes;
        auto &[sent, received] = carried[flow.subflow->ifname];
        sent += flow.sent_bytes;
        received += flow.received_bytes;
        const std::string_view verdict = verdict_of(*flow.subflow);
        // As at the last look for the whole time since: exact to a look.
        if (flow.before && verdict_of(*flow.before) == "parked")
            path.parked_s += seconds;
        if (flow.before && verdict_of(*flow.before) != verdict)
            path.flips++;
    }
    for (const auto &[name, bytes] : carried) {
        PathTotal &path = paths_[std::string(name)];
        path.sent_bytes_s = per_second(bytes.first, seconds);
        path.received_bytes_s = per_second(bytes.second, seconds);
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
        count(flows, static_cast<double>(now.monotonic_ns - before.monotonic_ns) / 1e9);
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
