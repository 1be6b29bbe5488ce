// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <string_view>

#include "mpsched/error.hpp"

namespace mps {

// The error for an object the kernel or libbpf refused to load. `verifier_log` may be empty; then libbpf's
// last warnings take its place. The complete log goes to the log sink.
[[nodiscard]] Error load_error(int err, const std::string &what, std::string_view verifier_log,
                               std::string_view libbpf_warnings);

} // namespace mps
