// SPDX-License-Identifier: MIT
#include "attach/restore.hpp"

#include <thread>

#include <fmt/format.h>

#include "attach/forged_ack.hpp"
#include "base/try.hpp"
#include "common/log.hpp"
#include "instance_impl.hpp"

namespace mps {

namespace {

using Clock = std::chrono::steady_clock;

// TCP_ESTABLISHED and TCP_CLOSE_WAIT: states in which this host may still send data.
bool may_send(const mps_subflow_record &record) { return record.state == 1 || record.state == 8; }

} // namespace

Result<std::vector<KnownSubflow>> wrong_subflows(const Pins &pins, const std::set<std::uint32_t> &leaving) {
    const auto connections = known_connections(pins);
    MPS_TRY(connections);
    std::vector<KnownSubflow> wrong;
    for (const KnownConnection &connection : *connections) {
        for (const KnownSubflow &subflow : connection.subflows) {
            const bool concerned =
                leaving.contains(subflow.ifindex()) || leaving.contains(subflow.record.rx_ifindex);
            if (concerned && may_send(subflow.record) && subflow.backup() != subflow.peer_backup())
                wrong.push_back(subflow);
        }
    }
    return wrong;
}

Result<void> restore(const Pins &pins, const std::set<std::uint32_t> &leaving, int looks,
                     std::chrono::milliseconds patience, Restored &result) {
    constexpr auto pause = std::chrono::milliseconds(10);
    const auto deadline = Clock::now() + patience;
    int right = 0;
    for (int round = 0;; round++) {
        const auto wrong = wrong_subflows(pins, leaving);
        MPS_TRY(wrong);
        right = wrong->empty() ? right + 1 : 0;
        if (right >= looks)
            return {};
        if (right == 0 && round && Clock::now() >= deadline) {
            for (const KnownSubflow &subflow : *wrong) {
                result.unrestored.push_back(fmt::format("{}: backup={}, its peer asked for {}",
                                                        subflow.text(), subflow.backup() ? 1 : 0,
                                                        subflow.peer_backup() ? 1 : 0));
            }
            return {};
        }
        for (const KnownSubflow &subflow : *wrong) {
            result.touched.insert(subflow.record.sk);
            // A busy subflow has ACKs of its own, which the data path edits; a forged one would count as a
            // duplicate.
            constexpr int patient_rounds = 4;
            if (subflow.record.view.in_flight_segs && round < patient_rounds)
                continue;
            if (const auto done = inject_backup(pins, subflow, subflow.peer_backup()); !done)
                log_lines(done.error().what);
        }
        std::this_thread::sleep_for(pause);
    }
}

void restore_undone(const Pins &pins, const std::set<std::uint32_t> &interfaces) {
    if (interfaces.empty())
        return;
    Restored restored;
    wait_for_running_programs();
    (void)restore(pins, interfaces, 1, std::chrono::milliseconds(1000), restored);
}

} // namespace mps
