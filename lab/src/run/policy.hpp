// SPDX-License-Identifier: MIT
// Which policy a run is under.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <mpsched/lab/error.hpp>
#include <mpsched/lab/run.hpp>
#include <mpsched/lab/scenario.hpp>

namespace mps::lab {

/// What RunOptions::policy means in a scenario.
struct Policy {
    std::string name;
    std::string kind = "kernel";      ///< or "alone", "mpsched"
    std::optional<std::size_t> alone; ///< the one path that is used
    std::map<std::string, std::string> params;
    std::vector<std::string> steered; ///< hosts that run mpsched
    std::string file = {};            ///< of a policy that is not built in, as given
    std::string sha256 = {};
};

/// Asks mpsched for the name of a policy that is a file.
Result<Policy> read_policy(const Scenario &scenario, const RunOptions &options);

} // namespace mps::lab
