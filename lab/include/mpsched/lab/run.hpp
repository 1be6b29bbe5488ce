// SPDX-License-Identifier: MIT
// One run of a scenario under one policy. lab/RESULTS.md describes what comes out.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include <nlohmann/json.hpp>

#include <mpsched/lab/error.hpp>
#include <mpsched/lab/scenario.hpp>

namespace mps::lab {

struct RunOptions {
    std::string policy = "default"; ///< "default", "alone:PATH", or one that mpsched knows
    std::map<std::string, std::string> params = {};
    std::uint64_t seed = 1;
    std::string mpsched = "mpsched"; ///< the binary, for policies
};

using Json = nlohmann::ordered_json;

/// Errors have EINVAL for usage, EPROTONOSUPPORT where the kernel lacks something.
Result<Json> run_scenario(const Scenario &scenario, const RunOptions &options);

/// The document of a run that failed. `scenario` may be null.
Json failed_run(const Scenario *scenario, const RunOptions &options, const Error &error, int code);

/// Times by rank: the smallest that so many percent do not exceed. `sorted` must not be empty.
double percentile(const std::vector<double> &sorted, double percent);

/// At least what is out of order at each moment, from how far subflows are ahead of the connection. Duplicates
/// that arrived put it ahead for good, so only what vanishes later was out of order.
std::vector<std::int64_t> out_of_order(const std::vector<std::int64_t> &ahead);

} // namespace mps::lab
