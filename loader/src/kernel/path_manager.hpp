// SPDX-License-Identifier: MIT
//
// What the kernel's MPTCP path manager was told: 'ip mptcp endpoint', 'ip mptcp limits'.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "mpsched/error.hpp"

namespace mps {

struct Endpoint {
    std::uint32_t id = 0;
    std::string address{};
    std::uint32_t ifindex = 0; // of the interface it is bound to; 0: none
    std::string ifname{};      // "" if it is bound to none
    bool orphaned = false; // bound to the index of an interface that is gone: no subflow is opened from it
    bool subflow = false, signal = false, backup = false;
    std::uint32_t flags = 0; // MPTCP_PM_ADDR_FLAG_*, linux/mptcp.h
};

struct PathManager {
    bool in_kernel = true; // else a daemon does it, and what is below means nothing
    std::optional<std::uint32_t>
        subflow_limit{}; // further subflows of a connection; nullopt: could not be asked
    std::vector<Endpoint> endpoints{};
};

// nullopt: the kernel does not tell, perhaps for want of rights.
[[nodiscard]] std::optional<PathManager> read_path_manager();

// As 'ip mptcp endpoint add' and 'ip mptcp endpoint delete' do. With the last the kernel closes all subflows from that address and sends
// again elsewhere what they had under way (mptcp_pm_nl_del_addr_doit(), net/mptcp/pm_kernel.c). An endpoint that is there
// already, or is not there any more, is no error.
[[nodiscard]] Result<void> add_endpoint(const Endpoint &endpoint);
[[nodiscard]] Result<void> remove_endpoint(const Endpoint &endpoint);

} // namespace mps
