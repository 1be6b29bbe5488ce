// SPDX-License-Identifier: MIT
//
// Programs of ours that run in this network namespace and that no pin leads to: their pins were removed or moved away by
// hand, or their bpf file system was unmounted while something else held it. Found from the kernel alone.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "mpsched/error.hpp"
#include "mpsched/instance.hpp"

namespace mps {

struct Orphan {
    std::uint32_t prog_id = 0;
    std::uint32_t ifindex = 0; // 0: on no interface (the sockops program of levers)
    std::uint32_t link_id = 0; // 0: a filter
    std::string text{};        // "mps_xdp_eth (id 12) on dsl"
};

// Of the network namespace that we are in, `cookie`. Programs whose pins are in another bpf file system that is mounted
// here are none.
[[nodiscard]] std::vector<Orphan> find_orphans(const OpenOptions &options, std::uint64_t cookie);

// Detaches them. Their subflows cannot be given back what their peers asked for: that is known by the maps that are gone.
[[nodiscard]] Result<void> remove_orphan(const Orphan &orphan);

} // namespace mps
