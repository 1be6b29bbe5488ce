// SPDX-License-Identifier: MIT
//
// Errors are values: every function of libmpsched that can fail returns a Result. Nothing throws across the
// library's boundary (std::bad_alloc excepted), nothing prints.
#pragma once

#include <expected>
#include <string>
#include <string_view>

#include "mpsched/export.h"

namespace mps {

// The exit codes of the command line; the same numbers stand in the JSON form of an error.
enum class ErrorCode : int {
    failed = 1,        // it was a fair request and did not work
    usage = 2,         // the request itself is wrong: unknown name, value out of range
    unsupported = 3,   // not possible with this kernel, interface or version of mpsched
    not_permitted = 4, // a capability is missing
};

// What a program can act upon; texts are for people and may change. The first four say no more than the code does.
enum class ErrorKind {
    failed,
    usage,
    unsupported,
    not_permitted,
    not_installed,     // nothing is attached in this network namespace
    no_such_interface, // there is no interface of this name
    no_such_netns,     // there is no network namespace of this name
    no_such_policy,    // neither built in nor loaded, or loaded where it has to be
    no_such_rule,      // no rule has this selector
    busy,              // another mpsched changes this network namespace and does not come to an end
    in_use,            // something else has the place, or refers to what is to go
    full,              // every slot, rule or path is taken
    refused,           // by the kernel's verifier
    other_version,     // another version of mpsched is at work in this network namespace
};

// "not-installed", as in the JSON form of an error.
[[nodiscard]] MPS_API std::string_view to_string(ErrorKind kind);
[[nodiscard]] MPS_API ErrorCode code_of(ErrorKind kind);

// The kind that says no more than the code.
[[nodiscard]] constexpr ErrorKind plain_kind(ErrorCode code) {
    switch (code) {
    case ErrorCode::usage:
        return ErrorKind::usage;
    case ErrorCode::unsupported:
        return ErrorKind::unsupported;
    case ErrorCode::not_permitted:
        return ErrorKind::not_permitted;
    case ErrorCode::failed:
        break;
    }
    return ErrorKind::failed;
}

// One line of what happened and one of what to do next. Neither ends with a full stop or a newline.
struct Error {
    ErrorCode code = ErrorCode::failed;
    std::string what;
    std::string hint{};
    // Further lines, for people: the verifier's last words. Empty for most errors. May hold several lines.
    std::string detail{};
    ErrorKind kind = plain_kind(code);
};

template <class T>
using Result = std::expected<T, Error>;

// Short form for `return fail(...)`.
[[nodiscard]] MPS_API std::unexpected<Error> fail(ErrorCode code, std::string what, std::string hint = {},
                                                  std::string detail = {});
[[nodiscard]] MPS_API std::unexpected<Error> fail(ErrorKind kind, std::string what, std::string hint = {},
                                                  std::string detail = {});

// "ENOENT (no such file or directory)". Knows the kernel-internal 524 (ENOTSUPP), which strerror does not.
// `err` may be negative, as libbpf and the kernel return it.
[[nodiscard]] MPS_API std::string errno_text(int err);

// An error for a failed system call: "WHAT: EPERM (operation not permitted)". EPERM and EACCES become
// ErrorCode::not_permitted with a hint naming the capabilities this process lacks, EOPNOTSUPP and 524 become
// ErrorCode::unsupported, everything else ErrorCode::failed.
[[nodiscard]] MPS_API Error system_error(int err, std::string_view what, std::string hint = {});

} // namespace mps
