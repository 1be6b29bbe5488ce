// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

namespace mps
{

/// A policy whose compiled object travels inside the binary.
struct BuiltinPolicy {
	std::string_view name;
	std::span<const std::byte> object;
};

/// In the order of schedulers/CMakeLists.txt. The data lives as long as the program.
std::span<const BuiltinPolicy> builtin_policies();

} // namespace mps
