// SPDX-License-Identifier: MIT
//
// What `top` shows, without a terminal: looks become rows, rows are filtered and sorted, keys change how.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "mpsched/sampler.hpp"
#include "watch/flows.hpp"
#include "watch/path_totals.hpp"

namespace mps::watch {

enum class View { paths, connections, subflows, programs };
inline constexpr std::array<std::string_view, 4> view_names{"paths", "connections", "subflows", "programs"};

// One line of a table; what its view does not have is empty.
struct Row {
    const PathStatus *path = nullptr;
    const PathTotal *total = nullptr;
    const ConnectionStatus *connection = nullptr;
    const SubflowStatus *subflow = nullptr;
    const ProgramCost *program = nullptr;
    std::uint64_t sent_bytes_s = 0, received_bytes_s = 0;
    std::uint64_t queued_bytes = 0;
    std::uint32_t rtt_us = 0; // of a connection the least
    std::uint32_t subflows = 0, parked = 0;
    double flips_s = 0, runs_s = 0, time_share = 0; // of a program: of one core
    std::uint64_t run_ns = 0;
};

struct TopColumn {
    std::string_view title; // as --sort has it
    std::size_t width;      // 0: what is left of the line
    bool right;
    bool most_first; // the way in which it is sorted if nothing else is said
    // What rows are sorted by: the number, or the text where both numbers are the same.
    double (*number)(const Row &);
    std::string (*text)(const Row &);
};
[[nodiscard]] std::span<const TopColumn> columns_of(View view);

struct Order {
    std::size_t column = 0;
    bool most_first = false;
};

class TopModel {
  public:
    // The next look. Rates need two.
    void take(Sample sample);

    [[nodiscard]] const Sample &sample() const { return now_; }
    // Those that contain `filter` (upper and lower case alike), in this order. Valid until the next take().
    [[nodiscard]] std::vector<Row> rows(View view, const Order &order, std::string_view filter) const;
    // How much a counter has grown in a second; 0 if there is no such counter.
    [[nodiscard]] double per_second(std::string_view counter) const;
    // Of one core: what all programs take.
    [[nodiscard]] double program_share() const;

  private:
    [[nodiscard]] std::vector<Row> all_rows(View view) const;
    [[nodiscard]] std::vector<Row> path_rows() const;
    [[nodiscard]] std::vector<Row> subflow_rows() const;
    [[nodiscard]] std::vector<Row> connection_rows() const;
    [[nodiscard]] std::vector<Row> program_rows() const;

    Sample before_{}, now_{};
    double seconds_ = 0; // between the two; 0: there is only one
    std::vector<Flow> flows_{};
    PathTotals totals_{};
    std::map<std::string, std::uint64_t> flips_before_{};
};

} // namespace mps::watch
