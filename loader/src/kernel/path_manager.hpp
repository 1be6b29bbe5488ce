// SPDX-License-Identifier: MIT
//
// What the kernel's MPTCP path manager was told: 'ip mptcp endpoint', 'ip mptcp limits'.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace mps {

struct Endpoint {
    std::uint32_t id = 0;
    std::string address{};
    std::string ifname{};  // "" if it is bound to none
    bool orphaned = false; // bound to the index of an interface that is gone: no subflow is opened from it
    bool subflow = false, signal = false, backup = false;
};

struct PathManager {
    bool in_kernel = true; // else a daemon does it, and what is below means nothing
    std::optional<std::uint32_t>
        subflow_limit{}; // further subflows of a connection; nullopt: could not be asked
    std::vector<Endpoint> endpoints{};
};

// nullopt: the kernel does not tell, perhaps for want of rights.
[[nodiscard]] std::optional<PathManager> read_path_manager();

} // namespace mps
