// SPDX-License-Identifier: MIT
// The [workload] of a scenario.
#pragma once

#include <mpsched/lab/scenario.hpp>

#include "section.hpp"

namespace mps::lab {

Workload read_workload(const toml::table &table, Mistakes &mistakes);

} // namespace mps::lab
