// SPDX-License-Identifier: MIT
#pragma once

struct nlmsghdr;

namespace mps {

// A request to rtnetlink (NLM_F_ACK) whose answer is only whether it was done. 0 or an errno.
[[nodiscard]] int ask_route(nlmsghdr *request);

} // namespace mps
