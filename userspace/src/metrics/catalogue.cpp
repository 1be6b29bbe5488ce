// SPDX-License-Identifier: MIT

#include "metrics/catalogue.hpp"

#include <vector>

#include <fmt/format.h>
#include <mps/datapath_abi.h>

namespace mps::metrics {

namespace {

std::vector<Metric> make() {
    using enum Type;
    constexpr std::string_view none = "";
    constexpr std::string_view path = "interface";
    std::vector<Metric> all{
        {"mpsched_path_bytes_total", counter, "interface, direction",
         "bytes of MPTCP subflows, without headers and retransmissions: acknowledged by the peer (sent) or received"},
        {"mpsched_path_bytes_per_second", gauge, "interface, direction",
         "the same between the last two looks"},
        {"mpsched_path_rtt_seconds", gauge, path,
         "smoothed round trip, the mean of its subflows; absent while none is known"},
        {"mpsched_path_least_rtt_seconds", gauge, path, "the least smoothed round trip of its subflows"},
        {"mpsched_path_subflows", gauge, "interface, verdict",
         "subflows: allowed, parked, or unsteered (the kernel uses them as it likes)"},
        {"mpsched_path_parked_seconds_total", counter, path,
         "time for which its subflows were parked, the sum over them"},
        {"mpsched_path_flips_total", counter, path,
         "verdicts about its subflows that were others than at the look before"},
        {"mpsched_path_failovers_total", counter, path,
         "subflows in use that were lost while others of their connection carried on"},
        {"mpsched_path_attached", gauge, path, "1: packets are met there"},
        {"mpsched_path_down", gauge, path, "1: it has lost its carrier or its address"},
        {"mpsched_path_link_info", gauge, "interface, type", "1: the kind of its link"},
        {"mpsched_path_carrier", gauge, path, "1: its link is there"},
        {"mpsched_path_link_bytes_per_second", gauge, path,
         "the rate of a token bucket that is its qdisc, else the speed of its link; absent where nobody knows"},
        {"mpsched_path_signal_dbm", gauge, path,
         "what a wireless station receives from its access point; absent elsewhere"},
        {"mpsched_path_metered", gauge, path,
         "1: NetworkManager calls it metered; 0: it does not; absent where it says nothing"},
        {"mpsched_path_weight", gauge, path, "the attribute weight"},
        {"mpsched_path_priority", gauge, path, "the attribute priority; lower is preferred"},
        {"mpsched_path_cost", gauge, path, "the attribute cost"},
        {"mpsched_path_quota_bytes", gauge, path, "what it may carry in a period; absent without a quota"},
        {"mpsched_path_quota_used_bytes", gauge, path,
         "what of that it has carried: IP packets in both directions"},
        {"mpsched_path_quota_left_bytes", gauge, path, "what of that is left"},
        {"mpsched_connections", gauge, "policy",
         "MPTCP connections, by the policy that decides about what this host sends"},
        {"mpsched_plain_connections", gauge, none,
         "connections whose peer did not agree to MPTCP: plain TCP"},
        {"mpsched_subflows", gauge, "verdict, reason",
         "subflows by the last verdict and the policy's reason for it; 'none': it gave none, 'own': one that only it knows"},
        {"mpsched_policy_info", gauge, "direction, policy",
         "1: the policy of all connections without a rule, for what this host sends (tx) and what peers send (rx)"},
        {"mpsched_program_runs_total", counter, "program",
         "runs of a BPF program of ours; only with 'programs = true'"},
        {"mpsched_program_seconds_total", counter, "program",
         "time that these took, with the policies that the program calls; only with 'programs = true'"},
        {"mpsched_installed", gauge, none, "1: something is attached, or has attributes"},
        {"mpsched_build_info", gauge, "version", "1"},
        {"mpsched_config_info", gauge, "revision", "1: the revision of mpsched.toml that is in force"},
        {"mpsched_config_refused", gauge, none,
         "1: the files as they are now have a mistake, and an earlier revision is in force"},
        {"mpsched_objects_failed", gauge, none, "objects of the files that could not be brought into force"},
        {"mpsched_quota_ledger_problem", gauge, none, "1: what paths have carried cannot be written down"},
        {"mpsched_looks_total", counter, "result", "looks at paths and connections: good or failed"},
        {"mpsched_look_seconds", gauge, none, "what the last look took"},
        {"mpsched_look_timestamp_seconds", gauge, none,
         "when the last good look ended, in seconds since 1970"},
    };
    const auto add = [&](std::string_view name, std::string_view text) {
        all.push_back({counter_metric(name), counter, none, std::string(text)});
    };
#define MPS_COUNTER_METRIC(id, name, text) add(name, text);
    MPS_COUNTERS(MPS_COUNTER_METRIC)
#undef MPS_COUNTER_METRIC
    return all;
}

} // namespace

std::string_view to_string(Type type) { return type == Type::counter ? "counter" : "gauge"; }

std::span<const Metric> catalogue() {
    static const std::vector<Metric> all = make();
    return all;
}

std::string counter_metric(std::string_view counter) {
    return fmt::format("mpsched_datapath_{}_total", counter);
}

} // namespace mps::metrics
