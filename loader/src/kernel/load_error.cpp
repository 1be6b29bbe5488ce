// SPDX-License-Identifier: MIT
#include "kernel/load_error.hpp"

#include <linux/capability.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include <fmt/format.h>

#include "common/capabilities.hpp"
#include "common/log.hpp"
#include "kernel/verifier_log.hpp"

namespace mps {

Error load_error(int err, const std::string &what, std::string_view verifier_log,
                 std::string_view libbpf_warnings) {
    err = std::abs(err);
    log_lines(verifier_log);
    const VerifierExcerpt excerpt = verifier_excerpt(verifier_log);
    if (!excerpt.reason.empty()) {
        // What the verifier says without these rights is true of no other process: it forbids much more then.
        const auto missing = missing_capabilities();
        const auto lacks = [&](int number) {
            return std::any_of(missing.begin(), missing.end(),
                               [&](const Capability &capability) { return capability.number == number; });
        };
        if (lacks(CAP_SYS_ADMIN) && (lacks(CAP_BPF) || lacks(CAP_PERFMON))) {
            return Error{.code = ErrorCode::not_permitted,
                         .what =
                             fmt::format("{}: the kernel's verifier refused it: {}", what, excerpt.reason),
                         .hint = missing_capabilities_hint()};
        }
        return Error{.code = ErrorCode::failed,
                     .what = fmt::format("{}: the kernel's verifier refused it: {}", what, excerpt.reason),
                     .hint = excerpt.hint.empty()
                                 ? "the verifier's last lines tell where; -v shows all of them"
                                 : excerpt.hint,
                     .detail = excerpt.excerpt,
                     .kind = ErrorKind::refused};
    }
    Error error = system_error(err, what);
    const VerifierExcerpt warnings = verifier_excerpt(libbpf_warnings);
    // libbpf's guesses at the cause (memlock, missing BPF) only mislead where rights are the cause.
    if (error.code != ErrorCode::not_permitted)
        error.detail = warnings.excerpt;
    if (err == EINVAL && error.hint.empty())
        error.hint = "see 'mpsched probe' for what this kernel can do; -v tells more";
    // CO-RE relocations against a kernel without BTF or without the type (as when MPTCP is not built in).
    if (err == ESRCH || err == ENOENT) {
        error.code = ErrorCode::unsupported;
        error.kind = ErrorKind::unsupported;
        error.hint = "this kernel lacks BTF, or a type or function the program needs; see 'mpsched probe'";
    }
    return error;
}

} // namespace mps
