// SPDX-License-Identifier: MIT
#include <mpsched/lab/error.hpp>

#include <cerrno>
#include <utility>

#include <fmt/format.h>

#include "base/errno.hpp"

namespace mps::lab {
namespace {

std::string_view usual_hint(int err) {
    switch (err) {
    case EPERM:
    case EACCES:
        return "run as root, or with CAP_NET_ADMIN and CAP_SYS_ADMIN";
    case EPROTONOSUPPORT:
        return "this kernel has no MPTCP (CONFIG_MPTCP), or net.mptcp.enabled is 0 in this namespace";
    default:
        return {};
    }
}

} // namespace

std::unexpected<Error> os_error(std::string_view op, std::string_view object, int err,
                                std::string_view hint) {
    const std::string words = errno_words(err);
    auto what = fmt::format("cannot {} {}: {} ({})", op, object, words.empty() ? "unknown error" : words,
                            errno_name(err));
    return std::unexpected(Error{std::move(what), std::string(hint.empty() ? usual_hint(err) : hint), err});
}

std::unexpected<Error> fail(std::string what, std::string hint, int err) {
    return std::unexpected(Error{std::move(what), std::move(hint), err});
}

} // namespace mps::lab
