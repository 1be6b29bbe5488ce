// SPDX-License-Identifier: MIT
// Copyright mpsched contributors
//
// What the parts of the fake loader share. See fake_loader.cpp.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "mpsched/instance.hpp"

namespace mps::fake {

// nullptr if it is not set, or empty.
const char *environment(const char *name);
void log_call(const std::string &call);
// The error that MPS_FAKE_ERROR asks for, if it does.
Result<void> wanted();
void hold();
std::string settings_text(const std::vector<Setting> &settings);
Param quantum();
PathStatus path_of(const std::string &name, std::uint32_t ifindex);

} // namespace mps::fake
