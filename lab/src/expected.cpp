// SPDX-License-Identifier: MIT
#include <algorithm>

#include <mpsched/lab/scenario.hpp>

namespace mps::lab {
namespace {

constexpr double megabit = 1e6 / 8; // in bytes

struct Network {
    double mbit = 0; // all paths together, at the start
    double round_trip_s = 0;
};

Network network_of(const Scenario &scenario) {
    Network found;
    for (std::size_t i = 0; i < scenario.paths.size(); ++i) {
        const auto &start = scenario.paths[i].start;
        const bool upload = scenario.workload.direction == Direction::upload;
        found.mbit += upload ? start.rate_mbit : start.down_rate_mbit;
        if (i == scenario.first_path) {
            found.round_trip_s = 2 * start.delay_ms / 1e3;
        }
    }
    return found;
}

Expected of_requests(const Workload &workload, const Network &network) {
    Expected sum;
    for (std::size_t i = 0; i < workload.sizes_bytes.size(); ++i) {
        const double each = static_cast<double>(workload.sizes_bytes[i]) / megabit;
        const double each_s = workload.gap_ms / 1e3 + network.round_trip_s + each / network.mbit;
        const double count = i < workload.counts.size() ? workload.counts[i] : workload.duration_s / each_s;
        sum.network_s += count * each_s;
        sum.megabits += count * each;
    }
    return sum;
}

Expected of_workload(const Workload &workload, const Network &network) {
    switch (workload.kind) {
    case Workload::Kind::requests:
        return of_requests(workload, network);
    case Workload::Kind::stream:
        return {.network_s = workload.duration_s, .megabits = workload.duration_s * workload.stream_mbit};
    case Workload::Kind::video: {
        const auto best = std::ranges::max_element(workload.ladder_mbit);
        const double mbit = best == workload.ladder_mbit.end() ? network.mbit : std::min(network.mbit, *best);
        return {.network_s = workload.duration_s, .megabits = workload.duration_s * mbit};
    }
    case Workload::Kind::bulk:
        break;
    }
    if (workload.bytes == 0) {
        return {.network_s = workload.duration_s, .megabits = workload.duration_s * network.mbit};
    }
    const double megabits = static_cast<double>(workload.bytes) * workload.connections / megabit;
    return {.network_s = network.round_trip_s + megabits / network.mbit, .megabits = megabits};
}

} // namespace

Expected expected(const Scenario &scenario) {
    auto found = of_workload(scenario.workload, network_of(scenario));
    found.network_s += scenario.workload.settle_ms / 1e3;
    return found;
}

} // namespace mps::lab
