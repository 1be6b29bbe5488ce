// SPDX-License-Identifier: MIT
#include "observe/stats.hpp"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <cerrno>
#include <iterator>

#include "base/try.hpp"
#include "instance_impl.hpp"

namespace mps {

namespace {

struct CounterRow {
    std::string_view name;
    std::string_view text;
};
constexpr CounterRow counter_rows[] = {
#define MPS_COUNTER_ROW(id, name, text) {name, text},
    MPS_COUNTERS(MPS_COUNTER_ROW)
#undef MPS_COUNTER_ROW
};
static_assert(std::size(counter_rows) == MPS_C_MAX);

} // namespace

Result<std::vector<CounterValue>> read_counters(const Pins &pins) {
    const int cpus = libbpf_num_possible_cpus();
    if (cpus < 1)
        return std::unexpected(system_error(cpus, "counting the processors"));
    // One value for each CPU, each rounded up to 8 bytes; the contract has compared value_size with the
    // object's.
    constexpr std::size_t words = (sizeof(mps_counters) + 7) / 8;
    static_assert(sizeof(mps_counters) == MPS_C_MAX * sizeof(std::uint64_t));
    std::vector<std::uint64_t> values(words * static_cast<std::size_t>(cpus));
    const std::uint32_t key = 0;
    if (bpf_map_lookup_elem(pins.map(MPS_MAP_COUNTERS), &key, values.data())) {
        return std::unexpected(system_error(errno, "reading the counters"));
    }
    std::vector<CounterValue> result;
    for (std::size_t i = 0; i < MPS_C_MAX; i++) {
        CounterValue counter{counter_rows[i].name, counter_rows[i].text, 0};
        for (std::size_t cpu = 0; cpu < static_cast<std::size_t>(cpus); cpu++)
            counter.value += values[cpu * words + i];
        result.push_back(counter);
    }
    return result;
}

Result<std::vector<CounterValue>> Instance::stats() const {
    const auto call = impl_->enter();
    MPS_TRY(call);
    const auto pins = impl_->open_for_reading();
    MPS_TRY(pins);
    return read_counters(*pins);
}

} // namespace mps
