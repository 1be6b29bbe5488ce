// SPDX-License-Identifier: MIT
#include "mpsched/error.hpp"

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include <cctype>

#include <fmt/format.h>

#include "base/capabilities.hpp"

namespace mps {

namespace {

// include/linux/errno.h: never meant for user space, but bpf(2) and netlink do return it.
constexpr int kernel_enotsupp = 524;

} // namespace

std::unexpected<Error> fail(ErrorCode code, std::string what, std::string hint, std::string detail) {
    return std::unexpected(Error{code, std::move(what), std::move(hint), std::move(detail)});
}

std::string errno_text(int err) {
    err = std::abs(err);
    if (err == kernel_enotsupp)
        return "ENOTSUPP (operation not supported by this kernel)";
    const char *name = strerrorname_np(err);
    if (!name)
        return fmt::format("errno {}", err);
    std::string text = strerrordesc_np(err);
    if (!text.empty())
        text[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(text[0])));
    return fmt::format("{} ({})", name, text);
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
    return Error{code, fmt::format("{}: {}", what, errno_text(err)), std::move(hint)};
}

} // namespace mps
