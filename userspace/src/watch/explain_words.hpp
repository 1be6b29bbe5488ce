// SPDX-License-Identifier: MIT
//
// Why a connection uses the subflows that it uses, in words and for programs.
#pragma once

#include <string>

#include "mpsched/explain.hpp"
#include "output/table.hpp"
#include "json/documents.hpp"

namespace mps::watch {

[[nodiscard]] std::string explanation_text(const Explanation &explanation, const output::Style &style);
[[nodiscard]] Json explanation_json(const Explanation &explanation);

} // namespace mps::watch
