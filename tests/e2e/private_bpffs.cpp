// SPDX-License-Identifier: MIT
#include "private_bpffs.hpp"

#include <cerrno>

#include <linux/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <fmt/format.h>

#include "catch.hpp"

namespace mps::e2e {

PrivateBpffs::PrivateBpffs() {
    const Fd context(static_cast<int>(::syscall(SYS_fsopen, "bpf", FSOPEN_CLOEXEC)));
    if (context && ::syscall(SYS_fsconfig, context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) == 0)
        mount_ = Fd(static_cast<int>(::syscall(SYS_fsmount, context.get(), FSMOUNT_CLOEXEC, 0)));
    if (!mount_)
        FAIL("cannot make a bpf file system: errno " << errno);
    path_ = fmt::format("/proc/{}/fd/{}", ::getpid(), mount_.get());
}

} // namespace mps::e2e
