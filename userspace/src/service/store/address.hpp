// SPDX-License-Identifier: MIT
//
// Where a store is and which key of it is followed: etcd:https://192.0.2.1:2379,https://192.0.2.2:2379/mpsched/branch
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "mpsched/error.hpp"

namespace mps::service::store {

struct Address {
    std::vector<std::string> endpoints{}; // "https://192.0.2.1:2379": members of one cluster
    std::string key{};                    // "mpsched/branch"
    std::string text{};                   // as it was written
};

[[nodiscard]] Result<Address> parse_address(std::string_view text);

// Where a host reports what it made of the key.
[[nodiscard]] std::string report_key(const Address &address, std::string_view node);

} // namespace mps::service::store
