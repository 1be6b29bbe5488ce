// SPDX-License-Identifier: MIT
//
// Which idle subflows are probed when, and what follows from no answer: see docs/architecture.md. Pure: the clock and what the kernel tells of
// subflows (bpf/src/probe.bpf.c) come in, orders for it come out.
#pragma once

#include <mps/probe_abi.h>

#include <array>
#include <compare>
#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <vector>

namespace mps {

// By interface: does what it carries cost?
using ProbePaths = std::map<std::uint32_t, bool>;

struct ProbeOrder {
    std::uint64_t sk = 0;
    std::uint32_t what = 0; // enum mps_probe_order
    std::uint32_t token = 0;
    std::uint32_t ifindex = 0;
};

class ProbePlan {
  public:
    static constexpr std::uint64_t second_ns = 1'000'000'000;
    static constexpr std::uint64_t answer_ns =
        second_ns * 9 / 10; // until the next look, which may come a little early
    static constexpr std::uint64_t metered_pause_ns = 10 * second_ns;
    static constexpr std::uint32_t most_at_once = 10; // a second, over a path that costs nothing
    static constexpr std::uint32_t silent = 2;        // so many without an answer: one may be lost
    static constexpr std::uint64_t longest_pause_ns = 60 * second_ns; // while nothing answers
    // The kernel closes a socket after 127 (MAX_TCP_KEEPCNT), which nothing would open again. It takes more than an hour until here.
    static constexpr std::uint32_t most_unanswered = 100;

    // A path is probed when nothing was sent or received over it between two addresses for so long.
    explicit ProbePlan(std::uint32_t idle_s) : idle_ns_(idle_s * second_ns) {}

    // To be called about once a second, not more often. `now_ns` is CLOCK_MONOTONIC. One order for each subflow, at most.
    [[nodiscard]] std::vector<ProbeOrder> look(std::span<const mps_probe_row> rows, const ProbePaths &paths,
                                               std::uint64_t now_ns);

  private:
    using Row = const mps_probe_row *;

    // What goes between two addresses takes the same way, whichever connection it belongs to.
    struct Route {
        std::uint32_t ifindex = 0;
        std::array<std::uint8_t, 16> local{}, remote{};
        auto operator<=>(const Route &) const = default;
    };
    struct State {
        std::uint64_t sk = 0; // of the subflow that is probed; 0: none
        std::uint64_t probed_ns = 0;
        bool waits = false;           // it may still answer
        std::uint32_t unanswered = 0; // in a row
        std::uint32_t since = 0;      // jiffies, before the first of these
        // Of this look:
        std::vector<Row> rows{};
        std::uint32_t heard = 0; // jiffies, the latest of all rows
    };

    void sort(std::span<const mps_probe_row> rows, const ProbePaths &paths, std::uint64_t now_ns);
    void hear(State &state, std::uint64_t now_ns);
    void judge(const State &state);
    [[nodiscard]] bool is_heard_since(const mps_probe_row &row, std::uint32_t since) const;
    void probe(std::uint32_t ifindex, bool metered, std::uint64_t now_ns);
    void clean_up(std::span<const mps_probe_row> rows, const ProbePaths &paths);
    [[nodiscard]] bool is_due(const State &state, std::uint64_t now_ns) const;
    [[nodiscard]] Row candidate(const State &state) const;
    void order(const mps_probe_row &row, std::uint32_t what);

    std::uint64_t idle_ns_;
    std::map<Route, State> routes_{};
    std::map<std::uint32_t, std::uint64_t>
        sent_ns_{}; // by interface: the last probe, or when it was first seen
    // Of one look:
    std::map<std::uint32_t, std::vector<Row>> connections_{}; // by token
    std::map<std::uint64_t, const State *> states_{};         // by sk
    std::set<std::uint64_t> asked_{}; // subflows that are to show whether their peer is there at all
    std::map<std::uint64_t, ProbeOrder> orders_{};
};

} // namespace mps
