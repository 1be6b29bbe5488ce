// SPDX-License-Identifier: MIT
#pragma once

#include <mpsched/lab/error.hpp>

#include "catch.hpp"

namespace mps::lab::test {

/// The value of a Result that has to be there; else the test fails with the error's text.
template <class T>
T must(Result<T> result) {
    if (!result) {
        FAIL(result.error().what << "\n" << result.error().hint);
    }
    if constexpr (!std::is_void_v<T>) {
        return std::move(*result);
    }
}

} // namespace mps::lab::test
