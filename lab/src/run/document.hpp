// SPDX-License-Identifier: MIT
// The document that a run results in; lab/RESULTS.md describes it.
#pragma once

#include <cstdint>

#include <mpsched/lab/network.hpp>
#include <mpsched/lab/run.hpp>

#include "metrics.hpp"

namespace mps::lab {

/// The members of "scenario".
Json scenario_json(const Scenario &scenario);

/// Of a run that came to its end.
Json document(const Harvest &harvest, const Network &network, std::uint64_t seed);

} // namespace mps::lab
