// SPDX-License-Identifier: MIT
//
// Our congestion controls as the kernel has them. A registration needs no pin: it lives until it is taken back, and is found
// by its map.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.hpp"
#include "mpsched/error.hpp"

namespace mps {

struct RegisteredCongestion {
    std::string name{};
    std::uint32_t id = 0;
    bool registered = false; // else it was taken back, and lives for those that have it
    std::uint64_t users = 0;
    Fd map{};
};

// Those of ours, in the order of their ids.
[[nodiscard]] Result<std::vector<RegisteredCongestion>> registered_congestion();
// Reads state and users again.
[[nodiscard]] Result<void> look_again(RegisteredCongestion &one);

[[nodiscard]] bool is_builtin_congestion(std::string_view name);
// "lia" and "mps_lia" are "mps_lia", "all" is all. A name that is none is a usage error that lists them.
[[nodiscard]] Result<std::vector<std::string>> congestion_names(const std::vector<std::string> &words);

[[nodiscard]] Result<void> register_congestion(std::string_view name, bool rdonly_cast);
[[nodiscard]] Result<void> unregister_congestion(const RegisteredCongestion &one);

} // namespace mps
