// SPDX-License-Identifier: MIT
//
// What is different between two looks at the connections: pure. Both are sorted by token, as connections() gives them.
#pragma once

#include <vector>

#include "mpsched/instance.hpp"

namespace mps {

// What is different in the second look, connection by connection.
[[nodiscard]] MPS_API std::vector<Change> changes_between(const std::vector<ConnectionStatus> &before,
                                                          const std::vector<ConnectionStatus> &now);

// The same subflow at another look; nullptr if it is not there. An id is given again when a subflow has gone: the addresses tell.
[[nodiscard]] MPS_API const SubflowStatus *same_subflow(const std::vector<ConnectionStatus> &all,
                                                        std::uint32_t token, const SubflowStatus &like);

// Says in `now` (SubflowStatus::acked_bytes_s) by how much what was acknowledged has grown since `before`, so many seconds ago.
MPS_API void add_rates(const std::vector<ConnectionStatus> &before, std::vector<ConnectionStatus> &now,
                       double seconds);

} // namespace mps
