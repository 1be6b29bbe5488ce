// SPDX-License-Identifier: MIT
#include <mpsched/lab/transfer.hpp>

#include <algorithm>
#include <numeric>

namespace mps::lab {

std::uint64_t TransferResult::bytes() const {
    return std::accumulate(connections.begin(), connections.end(), std::uint64_t{0},
                           [](std::uint64_t sum, const ConnectionResult &c) { return sum + c.bytes; });
}

double TransferResult::seconds() const {
    return connections.empty() ? 0 : std::ranges::max(connections, {}, &ConnectionResult::seconds).seconds;
}

double TransferResult::mbit_per_s() const {
    return seconds() > 0 ? static_cast<double>(bytes()) * 8 / 1e6 / seconds() : 0;
}

bool TransferResult::verified() const {
    return !connections.empty() && std::ranges::all_of(connections, &ConnectionResult::verified);
}

bool TransferResult::any_fallback() const {
    return std::ranges::any_of(connections, &ConnectionResult::fallback);
}

std::size_t TransferResult::errors() const {
    return static_cast<std::size_t>(
        std::ranges::count_if(connections, [](const ConnectionResult &c) { return c.error.has_value(); }));
}

std::size_t TransferResult::min_subflows() const {
    return connections.empty()
               ? 0
               : std::ranges::min(connections, {}, &ConnectionResult::max_subflows).max_subflows;
}

std::vector<std::uint64_t> TransferResult::bytes_per_path(const Network &network) const {
    std::vector<std::uint64_t> per_path(network.path_count(), 0);
    for (const auto &connection : connections) {
        for (const auto &subflow : connection.subflows) {
            if (const auto path = network.path_of(subflow.local_address)) {
                per_path[*path] += std::max(subflow.bytes_acked, subflow.bytes_received);
            }
        }
    }
    return per_path;
}

} // namespace mps::lab
