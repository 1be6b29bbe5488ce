// SPDX-License-Identifier: MIT
#include "mpsched/error.hpp"

#include <cerrno>
#include <cstdlib>

#include <fmt/format.h>

#include "base/errno.hpp"
#include "common/capabilities.hpp"

namespace mps {

namespace {

struct KindRow {
    ErrorKind kind;
    std::string_view name;
    ErrorCode code;
};
constexpr KindRow kinds[] = {
    {ErrorKind::failed, "failed", ErrorCode::failed},
    {ErrorKind::usage, "usage", ErrorCode::usage},
    {ErrorKind::unsupported, "unsupported", ErrorCode::unsupported},
    {ErrorKind::not_permitted, "not-permitted", ErrorCode::not_permitted},
    {ErrorKind::not_installed, "not-installed", ErrorCode::failed},
    {ErrorKind::no_such_interface, "no-such-interface", ErrorCode::usage},
    {ErrorKind::no_such_netns, "no-such-netns", ErrorCode::usage},
    {ErrorKind::no_such_policy, "no-such-policy", ErrorCode::usage},
    {ErrorKind::no_such_rule, "no-such-rule", ErrorCode::usage},
    {ErrorKind::busy, "busy", ErrorCode::failed},
    {ErrorKind::in_use, "in-use", ErrorCode::failed},
    {ErrorKind::full, "full", ErrorCode::failed},
    {ErrorKind::refused, "refused", ErrorCode::failed},
    {ErrorKind::other_version, "other-version", ErrorCode::unsupported},
};

const KindRow &row_of(ErrorKind kind) {
    for (const KindRow &row : kinds)
        if (row.kind == kind)
            return row;
    return kinds[0];
}

} // namespace

std::unexpected<Error> fail(ErrorCode code, std::string what, std::string hint, std::string detail) {
    return std::unexpected(
        Error{.code = code, .what = std::move(what), .hint = std::move(hint), .detail = std::move(detail)});
}

std::unexpected<Error> fail(ErrorKind kind, std::string what, std::string hint, std::string detail) {
    return std::unexpected(Error{.code = code_of(kind),
                                 .what = std::move(what),
                                 .hint = std::move(hint),
                                 .detail = std::move(detail),
                                 .kind = kind});
}

std::string_view to_string(ErrorKind kind) { return row_of(kind).name; }

ErrorCode code_of(ErrorKind kind) { return row_of(kind).code; }

std::string errno_text(int err) {
    const std::string words = errno_words(err);
    return words.empty() ? errno_name(err) : fmt::format("{} ({})", errno_name(err), words);
}

Error system_error(int err, std::string_view what, std::string hint) {
    err = std::abs(err);
    ErrorCode code = ErrorCode::failed;
    if (err == EPERM || err == EACCES) {
        code = ErrorCode::not_permitted;
        if (hint.empty())
            hint = missing_capabilities_hint();
    } else if (err == EOPNOTSUPP || err == kernel_enotsupp) {
        code = ErrorCode::unsupported;
        if (hint.empty())
            hint = "see 'mpsched probe' for what this kernel can do";
    }
    return Error{.code = code, .what = fmt::format("{}: {}", what, errno_text(err)), .hint = std::move(hint)};
}

} // namespace mps
