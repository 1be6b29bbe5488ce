// SPDX-License-Identifier: MIT
//
// mpschedd: keeps a network namespace as mpsched.toml says, and follows its interfaces. It only manages what commands manage as
// well; without it everything goes on as it is.
#pragma once

#include <string>

#include "mpsched/error.hpp"
#include "service/store/follower.hpp"

namespace mps::service {

struct Options {
    std::string config{};
    std::string netns{};
    std::string state{}; // folder for what outlives a reboot
    store::Options watch{};
};

// Until SIGTERM or SIGINT.
[[nodiscard]] Result<void> run(const Options &options);

} // namespace mps::service
