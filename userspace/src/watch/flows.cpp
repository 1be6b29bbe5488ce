// SPDX-License-Identifier: MIT

#include "watch/flows.hpp"

#include "mpsched/compare.hpp"

namespace mps::watch {

namespace {

// Sums of a socket never become less; one that did is another socket.
std::uint64_t growth(std::uint64_t now, std::uint64_t before) { return now >= before ? now - before : now; }

} // namespace

std::vector<Flow> flows_between(const std::vector<ConnectionStatus> &before,
                                const std::vector<ConnectionStatus> &now) {
    std::vector<Flow> flows;
    for (const ConnectionStatus &connection : now) {
        for (const SubflowStatus &one : connection.subflows) {
            const SubflowStatus *was = same_subflow(before, connection.token, one);
            flows.push_back({.connection = &connection,
                             .subflow = &one,
                             .before = was,
                             .sent_bytes = growth(one.bytes_acked, was ? was->bytes_acked : 0),
                             .received_bytes = growth(one.bytes_received, was ? was->bytes_received : 0)});
        }
    }
    return flows;
}

} // namespace mps::watch
