// SPDX-License-Identifier: MIT
//
// Why a connection uses the subflows that it uses: the last decision, with what the policy was shown.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "mpsched/instance.hpp"

namespace mps {

// One subflow as policies are shown it: struct mps_subflow_view of mps/policy_abi.h, whose comments tell what each member is.
struct SubflowInputs {
    std::uint32_t id = 0;
    bool usable = false, stale = false, backup = false, peer_backup = false, local_backup = false;
    bool steerable = false, troubled = false, slow_start = false;
    bool self = false; // the packet that caused the decision arrived on it
    std::uint32_t srtt_us = 0, rttvar_us = 0, min_rtt_us = 0;
    std::uint32_t cwnd = 0, ssthresh = 0, in_flight = 0; // segments
    std::uint32_t mss_bytes = 0, outstanding_bytes = 0, notsent_bytes = 0, queued_bytes = 0;
    std::uint32_t peer_window_bytes = 0;
    std::uint64_t pacing_rate = 0; // bytes/s
    std::uint32_t delivered = 0, lost = 0, retransmits = 0;
    std::uint32_t weight = 1, priority = 0, cost = 0;
    std::string energy = "none";
    std::optional<std::uint64_t> quota_left_bytes{};
    std::optional<SubflowReason> rx_reason{}; // of the verdict about what the peer sends
};

struct Explanation {
    ConnectionStatus connection{}; // with verdicts and reasons
    std::optional<std::uint64_t> decided_us_ago{};
    // These are what the policy was shown at that decision. Otherwise: what it would be shown now, since another decision
    // has taken the place where that was.
    bool exact = false;
    bool left_alone = false;  // the last verdict was to leave the kernel alone
    bool bit_pending = false; // it left a backup bit that has to be changed yet
    // Of the connection; only if exact.
    std::optional<std::uint64_t> unsent_bytes{}, unacked_bytes{}, window_bytes{};
    std::vector<SubflowInputs> inputs{}; // in the order of connection.subflows
};

// A connection that is not there is a usage error.
[[nodiscard]] MPS_API Result<Explanation> explain(const Instance &instance, std::uint32_t token);

} // namespace mps
