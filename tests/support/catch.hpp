// SPDX-License-Identifier: MIT
// Copyright mpsched contributors
//
// The one Catch2 header of our tests: version 2 (Debian 12) and 3 (Debian 13) look the same behind it,
// also Approx with and without Catch::.
#pragma once

#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
using Catch::Approx;
#else
#include <catch2/catch.hpp>
namespace Catch {
using Catch::Detail::Approx;
} // namespace Catch
#endif

#include <string>

namespace mps::test {

/// Ends the running test case as skipped. Call it from the test's own thread only, outside REQUIRE_THROWS.
/// A failed check before it wins. The pair (test name, reason) must be allowed in tests/allowed-skips.txt,
/// else the run fails: a test that silently stopped running is worse than one that fails.
[[noreturn]] void skip(const std::string &reason);

} // namespace mps::test
