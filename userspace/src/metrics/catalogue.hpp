// SPDX-License-Identifier: MIT
//
// The one list of metrics that mpschedd serves: what it writes and docs/metrics.md are made from it.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace mps::metrics {

enum class Type { counter, gauge };

struct Metric {
    std::string name;
    Type type;
    std::string_view labels; // "interface, direction"
    std::string text;        // what it means, with its unit
};

[[nodiscard]] std::string_view to_string(Type type);
// In the order in which they are written. Those of the data path's counters are last.
[[nodiscard]] std::span<const Metric> catalogue();
// The name under which a counter of `mpsched stats` is served.
[[nodiscard]] std::string counter_metric(std::string_view counter);

} // namespace mps::metrics
