// SPDX-License-Identifier: MIT
#pragma once

#include <functional>
#include <string>

#include "mpsched/error.hpp"

struct bpf_object;

namespace mps {

// Loads an opened object by `load` (bpf_object__load(), or what a skeleton has for it), which returns 0 or a negative errno. The error bears what the
// verifier says of the program that it refused.
[[nodiscard]] Result<void> load_object(bpf_object *object, const std::string &what,
                                       const std::function<int()> &load);

} // namespace mps
