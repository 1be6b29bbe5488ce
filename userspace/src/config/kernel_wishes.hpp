// SPDX-License-Identifier: MIT
//
// What `cc use` and `spread on` do, as mpsched.toml asks for it: read, planned, written down. Neither needs an attached interface. And settings
// of the kernel, which mpschedd alone looks after.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "config/desired.hpp"
#include "config/plan.hpp"
#include "config/sections.hpp"

namespace mps::config {

void read_congestion(const Section &section, std::vector<CongestionWish> &wishes,
                     std::vector<Problem> &problems);
// Paths of files are from `folder`.
void read_spread(const Section &section, const std::string &folder, std::optional<SpreadWish> &wish,
                 std::vector<Problem> &problems);

void read_kernel(const Section &section, std::vector<KernelSetting> &settings,
                 std::vector<Problem> &problems);

void plan_congestion(const Desired &desired, const Facts &facts, Plan &plan);
void plan_spread(const Desired &desired, const Facts &facts, Plan &plan);

void export_congestion(const std::vector<CongestionRule> &rules, std::vector<Section> &sections);
void export_spread(const SpreadStatus &status, std::vector<Section> &sections);

} // namespace mps::config
