// SPDX-License-Identifier: MIT
// Copyright mpsched contributors
#pragma once

#include <string_view>
#include <utility>

#include "base/errno.hpp"
#include "base/files.hpp"
#include "catch.hpp"

namespace mps::test {

// A new one, or the case fails.
[[nodiscard]] inline TemporaryFolder temporary_folder(std::string_view name) {
    auto made = TemporaryFolder::make(name);
    if (!made)
        FAIL("no temporary folder: " << errno_name(made.error()));
    return std::move(*made);
}

// All that is in it, or the case fails.
[[nodiscard]] inline std::string file_text(const std::filesystem::path &path) {
    auto text = read_file(path);
    if (!text)
        FAIL(path << " cannot be read: " << errno_name(text.error()));
    return std::move(*text);
}

} // namespace mps::test
