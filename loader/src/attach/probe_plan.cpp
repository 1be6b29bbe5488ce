// SPDX-License-Identifier: MIT
#include "attach/probe_plan.hpp"

#include <algorithm>
#include <cstring>
#include <ranges>
#include <tuple>

namespace mps {

namespace {

bool has(const mps_probe_row &row, std::uint32_t flag) { return (row.flags & flag) != 0; }

// Jiffies wrap around.
bool is_after(std::uint32_t one, std::uint32_t other) { return static_cast<std::int32_t>(one - other) > 0; }

} // namespace

void ProbePlan::order(const mps_probe_row &row, std::uint32_t what) {
    ProbeOrder &one = orders_[row.sk];
    one = {.sk = row.sk, .what = one.what | what, .token = row.token, .ifindex = row.ifindex};
}

void ProbePlan::sort(std::span<const mps_probe_row> rows, const ProbePaths &paths, std::uint64_t now_ns) {
    connections_.clear();
    states_.clear();
    asked_.clear();
    orders_.clear();
    for (auto &[route, state] : routes_)
        state.rows.clear();
    for (const mps_probe_row &row : rows) {
        connections_[row.token].push_back(&row);
        if (!paths.contains(row.ifindex))
            continue;
        Route route{.ifindex = row.ifindex};
        std::memcpy(route.local.data(), row.local, sizeof row.local);
        std::memcpy(route.remote.data(), row.remote, sizeof row.remote);
        State &state = routes_[route];
        if (state.rows.empty() || is_after(row.heard, state.heard))
            state.heard = row.heard;
        state.rows.push_back(&row);
        states_[row.sk] = &state;
    }
    std::erase_if(routes_, [](const auto &one) { return one.second.rows.empty(); });
    // Somebody else may have probed a moment ago, and have been killed.
    for (const auto &[ifindex, metered] : paths)
        sent_ns_.try_emplace(ifindex, now_ns);
}

// What became of the probe.
void ProbePlan::hear(State &state, std::uint64_t now_ns) {
    const auto found = std::ranges::find(state.rows, state.sk, &mps_probe_row::sk);
    const Row probed = state.sk && found != state.rows.end() ? *found : nullptr;
    if (!probed) {
        state.sk = 0;
        state.waits = false;
    } else if (!state.waits || now_ns - state.probed_ns >= answer_ns) {
        if (probed->unanswered)
            state.unanswered += state.waits;
        else
            state.sk = state.unanswered = 0;
        state.waits = false;
        if (std::max(state.unanswered, probed->unanswered) >= most_unanswered)
            state.sk = state.unanswered = 0; // who sends finds out
    }
    for (const Row row : state.rows)
        if (has(*row, MPS_PROBE_BY_US) && (!state.unanswered || is_after(row->heard, state.since)))
            order(*row, MPS_PROBE_HEARD);
}

// On it, or on another one that takes the same way.
bool ProbePlan::is_heard_since(const mps_probe_row &row, std::uint32_t since) const {
    const auto state = states_.find(row.sk);
    return is_after(state == states_.end() ? row.heard : state->second->heard, since);
}

// Silent is a subflow whose peer answers on another one, and not here. A peer that answers nowhere says nothing of paths.
void ProbePlan::judge(const State &state) {
    for (const Row row : state.unanswered ? state.rows : std::vector<Row>{}) {
        if (has(*row, MPS_PROBE_IS_SILENT | MPS_PROBE_UNDER_WAY) || !has(*row, MPS_PROBE_KNOWN) ||
            is_after(row->heard, state.since))
            continue;
        const std::vector<Row> &all = connections_[row->token];
        const bool peer_is_there = std::ranges::any_of(all, [&](Row one) {
            return one != row && !has(*one, MPS_PROBE_IS_SILENT) && is_heard_since(*one, state.since);
        });
        if (peer_is_there && state.unanswered >= silent)
            order(*row, MPS_PROBE_SILENT);
        for (const Row one : all)
            if (!peer_is_there && one != row)
                asked_.insert(one->sk);
    }
}

// The one to be probed; null if there is none.
ProbePlan::Row ProbePlan::candidate(const State &state) const {
    Row best = nullptr;
    for (const Row row : state.rows) {
        const std::uint64_t least_ns = state.sk || asked_.contains(row->sk) ? answer_ns : idle_ns_;
        const bool by_others = has(*row, MPS_PROBE_IS_SILENT) && !has(*row, MPS_PROBE_BY_US);
        if (has(*row, MPS_PROBE_OWN | MPS_PROBE_UNDER_WAY) || by_others ||
            row->unanswered >= most_unanswered || row->idle_ns < least_ns ||
            (state.sk && state.sk != row->sk))
            continue;
        if (!best || row->idle_ns > best->idle_ns)
            best = row;
    }
    return best;
}

bool ProbePlan::is_due(const State &state, std::uint64_t now_ns) const {
    const Row row = candidate(state);
    if (!row || state.waits)
        return false;
    const std::uint64_t since_ns = now_ns - state.probed_ns;
    if (state.unanswered >= silent) {
        const std::uint32_t doublings = std::min(state.unanswered - silent, 6U);
        return since_ns >= std::min(idle_ns_ << doublings, std::max(longest_pause_ns, idle_ns_));
    }
    if (state.unanswered || asked_.contains(row->sk))
        return since_ns >= answer_ns;
    // Whatever goes to and fro says the same as an answer would.
    return std::ranges::none_of(state.rows, [&](Row one) {
        return one->idle_ns < idle_ns_ && !has(*one, MPS_PROBE_UNDER_WAY | MPS_PROBE_IS_SILENT);
    });
}

void ProbePlan::probe(std::uint32_t ifindex, bool metered, std::uint64_t now_ns) {
    std::uint64_t &sent_ns = sent_ns_[ifindex];
    if (now_ns - sent_ns < (metered ? metered_pause_ns : answer_ns))
        return;
    std::vector<State *> due;
    for (auto &[route, state] : routes_)
        if (route.ifindex == ifindex && is_due(state, now_ns))
            due.push_back(&state);
    // What is doubtful first, then who waits longest.
    std::ranges::sort(due, {}, [](const State *one) {
        return std::tuple(one->unanswered == 0 || one->unanswered >= silent, one->probed_ns);
    });
    for (State *state : due | std::views::take(metered ? 1 : most_at_once)) {
        const Row row = candidate(*state);
        order(*row, MPS_PROBE_SEND);
        if (!state->unanswered)
            state->since = row->now;
        state->sk = row->sk;
        state->waits = true;
        state->probed_ns = sent_ns = now_ns;
    }
}

// Nobody waits for these any more.
void ProbePlan::clean_up(std::span<const mps_probe_row> rows, const ProbePaths &paths) {
    std::set<std::uint64_t> probed;
    for (const auto &[route, state] : routes_)
        probed.insert(state.sk);
    for (const mps_probe_row &row : rows) {
        if (has(row, MPS_PROBE_OURS) && !probed.contains(row.sk))
            order(row, MPS_PROBE_END);
        if (has(row, MPS_PROBE_BY_US) && !paths.contains(row.ifindex))
            order(row, MPS_PROBE_HEARD);
    }
}

std::vector<ProbeOrder> ProbePlan::look(std::span<const mps_probe_row> rows, const ProbePaths &paths,
                                        std::uint64_t now_ns) {
    sort(rows, paths, now_ns);
    for (auto &[route, state] : routes_)
        hear(state, now_ns);
    for (const auto &[route, state] : routes_)
        judge(state);
    for (const auto &[ifindex, metered] : paths)
        probe(ifindex, metered, now_ns);
    clean_up(rows, paths);
    std::vector<ProbeOrder> all;
    for (const auto &[sk, one] : orders_)
        all.push_back(one);
    return all;
}

} // namespace mps
