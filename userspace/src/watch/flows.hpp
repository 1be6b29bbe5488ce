// SPDX-License-Identifier: MIT
//
// What subflows have carried between two looks: pure.
#pragma once

#include <cstdint>
#include <vector>

#include "mpsched/instance.hpp"

namespace mps::watch {

// One subflow of the second look, which has to live as long.
struct Flow {
    const ConnectionStatus *connection = nullptr;
    const SubflowStatus *subflow = nullptr;
    const SubflowStatus *before = nullptr; // nullptr: it has come since
    std::uint64_t sent_bytes = 0, received_bytes = 0;
};

// In the order of `now`. Of a subflow that has come since all counts that it has carried.
[[nodiscard]] std::vector<Flow> flows_between(const std::vector<ConnectionStatus> &before,
                                              const std::vector<ConnectionStatus> &now);

} // namespace mps::watch
