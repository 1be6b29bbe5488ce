// SPDX-License-Identifier: MIT
//
// What the page shows of one look. Pure.
#pragma once

#include "metrics/exposition.hpp"
#include "json/documents.hpp"

namespace mps::web {

// So many connections, those that carry most. A page with ten thousand helps nobody.
inline constexpr std::size_t most_connections = 50;

[[nodiscard]] Json view(const metrics::Look &look, const metrics::Facts &facts);

} // namespace mps::web
