// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace mps {

struct Capability {
    int number; // linux/capability.h
    std::string_view name;
    std::string_view need; // what mpsched does with it
};

// Those mpsched needs and this process does not have (effective set, /proc/thread-self/status).
[[nodiscard]] std::vector<Capability> missing_capabilities();

// Capabilities count in the user namespace they are held in, and BPF wants those of the initial one.
[[nodiscard]] bool in_user_namespace();

// A hint for an EPERM: names what is missing, or says that nothing is and what else refuses.
[[nodiscard]] std::string missing_capabilities_hint();

} // namespace mps
