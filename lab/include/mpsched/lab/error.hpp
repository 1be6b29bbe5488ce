// SPDX-License-Identifier: MIT
// Errors of the laboratory are values: what happened, and what to do next. Nothing in mps::lab throws across
// its API.
#pragma once

#include <expected>
#include <string>
#include <string_view>

namespace mps::lab {

struct Error {
    std::string what;      ///< one line, already names the object and the errno where there is one
    std::string hint = {}; ///< one line saying what to do next; may be empty
    int err = 0;           ///< errno behind it, 0 if none
};

template <class T = void>
using Result = std::expected<T, Error>;

/// Builds "cannot OP OBJECT: words (ENAME)". A hint for the usual causes (no rights, kernel without MPTCP) is
/// added when none is given.
std::unexpected<Error> os_error(std::string_view op, std::string_view object, int err,
                                std::string_view hint = {});

std::unexpected<Error> fail(std::string what, std::string hint = {}, int err = 0);

} // namespace mps::lab
