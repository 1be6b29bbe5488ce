// SPDX-License-Identifier: MIT
#include "run/filter.hpp"

#include <cerrno>
#include <memory>
#include <system_error>

#include <fmt/format.h>
#include <netinet/in.h>
#include <seccomp.h>
#include <sys/socket.h>

#include "base/try.hpp"
#include "run/options.hpp"

namespace mps::run {

namespace {

constexpr unsigned long type_mask =
    0xf; // SOCK_TYPE_MASK, include/linux/net.h: SOCK_NONBLOCK and SOCK_CLOEXEC are above

struct Release {
    void operator()(void *context) const { seccomp_release(context); }
};
using Context = std::unique_ptr<void, Release>;

std::unexpected<Error> failed(const char *what, int error) {
    return fail(ErrorCode::unsupported,
                fmt::format("cannot {}: {}", what, std::generic_category().message(-error)),
                "the kernel needs CONFIG_SECCOMP_FILTER; in a container its profile must allow seccomp(2)");
}

Result<void> ask_about_sockets(const Context &context) {
    for (const int domain : {AF_INET, AF_INET6})
        for (const int protocol : {0, static_cast<int>(IPPROTO_TCP)})
            if (const int error = seccomp_rule_add(context.get(), SCMP_ACT_NOTIFY, SCMP_SYS(socket), 3,
                                                   SCMP_A0_32(SCMP_CMP_EQ, domain),
                                                   SCMP_A1_32(SCMP_CMP_MASKED_EQ, type_mask, SOCK_STREAM),
                                                   SCMP_A2_32(SCMP_CMP_EQ, protocol));
                error < 0)
                return failed("describe the sockets", error);
    return {};
}

Result<void> ask_about_options(const Context &context) {
    for (const int option : options_without_mptcp)
        if (const int error =
                seccomp_rule_add(context.get(), SCMP_ACT_NOTIFY, SCMP_SYS(setsockopt), 2,
                                 SCMP_A1_32(SCMP_CMP_EQ, IPPROTO_TCP), SCMP_A2_32(SCMP_CMP_EQ, option));
            error < 0)
            return failed("describe the socket options", error);
    return {};
}

// Programs of the other word size that the processor runs as well. What this libseccomp does not know it cannot filter.
void add_architectures(const Context &context) {
#if defined(__x86_64__)
    seccomp_arch_add(context.get(), SCMP_ARCH_X86);
#elif defined(__aarch64__)
    seccomp_arch_add(context.get(), SCMP_ARCH_ARM);
#endif
}

} // namespace

Result<Fd> install_filter(Way way) {
    const Context context(seccomp_init(SCMP_ACT_ALLOW));
    if (!context)
        return failed("make a seccomp filter", -ENOMEM);
    add_architectures(context);
    // Calls of architectures that nobody has heard of are not ours to forbid.
    seccomp_attr_set(context.get(), SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ALLOW);
    if (way == Way::seccomp)
        MPS_TRY(ask_about_sockets(context));
    MPS_TRY(ask_about_options(context));
    // First as one who may: then setuid programs keep working below.
    for (const unsigned no_new_privileges : {0U, 1U}) {
        seccomp_attr_set(context.get(), SCMP_FLTATR_CTL_NNP, no_new_privileges);
        const int error = seccomp_load(context.get());
        if (error == 0)
            return Fd(seccomp_notify_fd(context.get()));
        if (error == -EBUSY)
            return fail(ErrorCode::failed, "somebody already answers for the sockets of this process",
                        "'mpsched run' inside 'mpsched run' is not needed; a container may do so as well");
        if (no_new_privileges == 1)
            return failed("put the command under a seccomp filter", error);
    }
    return failed("put the command under a seccomp filter", -EACCES);
}

} // namespace mps::run
