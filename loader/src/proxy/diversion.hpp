// SPDX-License-Identifier: MIT
//
// What makes packets with the mark MPS_PROXY_MARK this host's own, and the filters that set it. Of the calling thread's network namespace.
#pragma once

#include <string>
#include <vector>

#include "kernel/netlink.hpp"
#include "mpsched/error.hpp"

namespace mps {

// A rule and a route for each of both families, as far as the kernel has them.
[[nodiscard]] Result<void> add_diversion();
// None there is fine.
[[nodiscard]] Result<void> remove_diversion();

// In the ingress of an interface; makes the qdisc if there is none.
[[nodiscard]] Result<void> put_proxy_filter(const NetDevice &device, int program);
// All of them, and the qdiscs that were made for them. Names the interfaces.
[[nodiscard]] Result<std::vector<std::string>> remove_proxy_filters();

} // namespace mps
