// SPDX-License-Identifier: MIT
//
// Errors are values: every function of libmpsched that can fail returns a Result. Nothing throws across the
// library's boundary (std::bad_alloc excepted), nothing prints.
#pragma once

#include <expected>
#include <string>
#include <string_view>

namespace mps {

// The exit codes of the command line; the same numbers stand in the JSON form of an error.
enum class ErrorCode : int {
    failed = 1,        // it was a fair request and did not work
    usage = 2,         // the request itself is wrong: unknown name, value out of range
    unsupported = 3,   // not possible with this kernel, interface or version of mpsched
    not_permitted = 4, // a capability is missing
};

// One line of what happened and one of what to do next. Neither ends with a full stop or a newline.
struct Error {
    ErrorCode code = ErrorCode::failed;
    std::string what;
    std::string hint{};
    // Further lines, for people: the verifier's last words. Empty for most errors. May hold several lines.
    std::string detail{};
};

template <class T>
using Result = std::expected<T, Error>;

// Short form for `return fail(...)`.
[[nodiscard]] std::unexpected<Error> fail(ErrorCode code, std::string what, std::string hint = {},
                                          std::string detail = {});

// "ENOENT (no such file or directory)". Knows the kernel-internal 524 (ENOTSUPP), which strerror does not.
// `err` may be negative, as libbpf and the kernel return it.
[[nodiscard]] std::string errno_text(int err);

// An error for a failed system call: "WHAT: EPERM (operation not permitted)". EPERM and EACCES become
// ErrorCode::not_permitted with a hint naming the capabilities this process lacks, EOPNOTSUPP and 524 become
// ErrorCode::unsupported, everything else ErrorCode::failed.
[[nodiscard]] Error system_error(int err, std::string_view what, std::string hint = {});

} // namespace mps
