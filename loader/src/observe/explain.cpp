// SPDX-License-Identifier: MIT
#include "mpsched/explain.hpp"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>

#include <fmt/format.h>

#include "base/clock.hpp"
#include "base/try.hpp"
#include "instance_impl.hpp"
#include "observe/dump.hpp"

namespace mps {

namespace {

using namespace std::chrono_literals;

// How often to look for the last decision's view before another one takes its place.
constexpr int tries = 40;

SubflowInputs inputs_of(const mps_subflow_view &view) {
    const auto has = [&](std::uint32_t flag) { return (view.flags & flag) != 0; };
    return {.id = view.id,
            .usable = has(MPS_SF_USABLE),
            .stale = has(MPS_SF_STALE),
            .backup = has(MPS_SF_BACKUP),
            .peer_backup = has(MPS_SF_PEER_BACKUP),
            .local_backup = has(MPS_SF_LOCAL_BACKUP),
            .steerable = has(MPS_SF_STEERABLE),
            .troubled = has(MPS_SF_TROUBLED),
            .slow_start = has(MPS_SF_SLOW_START),
            .self = has(MPS_SF_SELF),
            .srtt_us = view.srtt_us,
            .rttvar_us = view.rttvar_us,
            .min_rtt_us = view.min_rtt_us,
            .cwnd = view.cwnd_segs,
            .ssthresh = view.ssthresh_segs,
            .in_flight = view.in_flight_segs,
            .mss_bytes = view.mss_bytes,
            .outstanding_bytes = view.outstanding_bytes,
            .notsent_bytes = view.notsent_bytes,
            .queued_bytes = view.queued_bytes,
            .peer_window_bytes = view.snd_wnd_bytes,
            .pacing_rate = view.pacing_rate,
            .delivered = view.delivered_segs,
            .lost = view.lost_segs,
            .retransmits = view.retransmits,
            .weight = view.weight,
            .priority = view.priority,
            .cost = view.cost,
            .energy = energy_name(view.energy_class),
            .quota_left_bytes =
                view.quota_left_bytes == UINT64_MAX ? std::nullopt : std::optional(view.quota_left_bytes)};
}

// The views that each processor's last decision was made on.
Result<std::vector<mps_view>> last_views(const Pins &pins) {
    const int cpus = libbpf_num_possible_cpus();
    if (cpus < 1)
        return std::unexpected(system_error(cpus, "counting the processors"));
    static_assert(sizeof(mps_scratch) % 8 == 0);
    std::vector<mps_scratch> all(static_cast<std::size_t>(cpus));
    const std::uint32_t zero = 0;
    if (bpf_map_lookup_elem(pins.map(MPS_MAP_SCRATCH), &zero, all.data()))
        return std::unexpected(system_error(errno, "reading the last decisions"));
    std::vector<mps_view> views;
    for (const mps_scratch &one : all)
        views.push_back(one.view);
    return views;
}

// That of this decision. Reading it twice the same tells that it was not being overwritten.
Result<std::optional<mps_view>> view_of(const Pins &pins, std::uint32_t token, std::uint64_t decided_ns) {
    const auto once = last_views(pins);
    MPS_TRY(once);
    const auto twice = last_views(pins);
    MPS_TRY(twice);
    for (std::size_t cpu = 0; cpu < once->size(); cpu++) {
        const mps_view &view = (*once)[cpu];
        if (view.token == token && view.now_us == decided_ns / 1000 && view.direction == MPS_DIRECTION_TX &&
            std::memcmp(&view, &(*twice)[cpu], sizeof view) == 0)
            return view;
    }
    return std::nullopt;
}

struct Found {
    KnownConnection known{};
    std::optional<mps_view> view{};
};

Result<Found> find(const Pins &pins, std::uint32_t token) {
    const auto all = known_connections(pins);
    MPS_TRY(all);
    const auto it = std::ranges::find(*all, token, &KnownConnection::token);
    if (it == all->end())
        return fail(ErrorCode::usage, fmt::format("there is no MPTCP connection {:08x}", token),
                    "'mpsched conns' shows those that there are");
    Found found{.known = *it};
    if (it->known && it->known->decided_ns) {
        auto view = view_of(pins, token, it->known->decided_ns);
        MPS_TRY(view);
        found.view = *view;
    }
    return found;
}

// What the iterator does not know: the data path fills it in from its own tables.
void add_path(SubflowInputs &inputs, const KnownSubflow &subflow, const std::vector<PathEntry> &paths,
              const PathTable &table) {
    inputs.peer_backup = subflow.peer_backup();
    const auto it = std::ranges::find_if(
        paths, [&](const PathEntry &entry) { return entry.path.ifindex == subflow.ifindex(); });
    if (!subflow.ifindex() || it == paths.end())
        return;
    const PathAttributes attributes = attributes_of(it->path);
    inputs.weight = attributes.weight;
    inputs.priority = attributes.priority;
    inputs.cost = attributes.cost;
    inputs.energy = attributes.energy;
    inputs.quota_left_bytes.reset();
    if (attributes.quota_bytes)
        inputs.quota_left_bytes =
            *attributes.quota_bytes - std::min(*attributes.quota_bytes, table.used_bytes(*it).value_or(0));
}

SubflowInputs inputs_now(const KnownSubflow &subflow, const std::vector<PathEntry> &paths,
                         const PathTable &table) {
    SubflowInputs inputs = inputs_of(subflow.record.view);
    inputs.steerable = subflow.known && !subflow.known->deaf;
    inputs.troubled |= subflow.known && subflow.known->silent;
    add_path(inputs, subflow, paths, table);
    return inputs;
}

std::vector<SubflowInputs> all_inputs(const Found &found, const std::vector<PathEntry> &paths,
                                      const PathTable &table) {
    std::vector<SubflowInputs> all;
    for (const KnownSubflow &subflow : found.known.subflows) {
        const bool shown = found.view && subflow.known && (found.view->present >> subflow.position & 1);
        SubflowInputs inputs =
            shown ? inputs_of(found.view->sf[subflow.position]) : inputs_now(subflow, paths, table);
        inputs.id = subflow.record.view.id;
        if (subflow.rx_position)
            inputs.rx_reason = reason_of(found.known.peer->conn, *subflow.rx_position);
        all.push_back(std::move(inputs));
    }
    return all;
}

} // namespace

Result<Explanation> explain(const Instance &instance, std::uint32_t token) {
    const Instance::Impl &impl = Inside::of(instance);
    const auto call = impl.enter();
    MPS_TRY(call);
    const auto pins = impl.open_for_reading();
    MPS_TRY(pins);
    auto found = find(*pins, token);
    MPS_TRY(found);
    for (int i = 1; i < tries && found->known.known && !found->view; i++) {
        std::this_thread::sleep_for(1ms);
        found = find(*pins, token);
        MPS_TRY(found);
    }
    const auto connections = connections_of({found->known}, *impl.paths(), *pins);
    MPS_TRY(connections);
    const PathTable table(*pins);
    const auto paths = table.entries();
    MPS_TRY(paths);
    Explanation answer{.connection = connections->front(), .exact = found->view.has_value()};
    if (found->known.known && found->known.known->decided_ns) {
        const mps_conn &conn = *found->known.known;
        answer.decided_us_ago = (monotonic_ns() - conn.decided_ns) / 1000;
        answer.left_alone = conn.restored != 0;
        answer.bit_pending = conn.settled == 0;
    }
    if (found->view) {
        answer.unsent_bytes = found->view->unsent_bytes;
        answer.unacked_bytes = found->view->unacked_bytes;
        answer.window_bytes = found->view->window_bytes;
    }
    answer.inputs = all_inputs(*found, *paths, table);
    return answer;
}

} // namespace mps
