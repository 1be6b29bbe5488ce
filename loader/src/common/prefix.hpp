// SPDX-License-Identifier: MIT
#pragma once

#include <string_view>
#include <utility>

#include "base/prefix.hpp"
#include "mpsched/error.hpp"

namespace mps {

// As read_prefix(), with an error as the library has them. It tells of the text alone.
[[nodiscard]] inline Result<Prefix> parse_prefix(std::string_view text) {
    auto prefix = read_prefix(text);
    if (!prefix)
        return fail(ErrorCode::usage, std::move(prefix.error().what), std::move(prefix.error().hint));
    return *prefix;
}

} // namespace mps
