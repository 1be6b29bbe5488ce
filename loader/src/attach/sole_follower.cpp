// SPDX-License-Identifier: MIT
#include "attach/sole_follower.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <cerrno>

namespace mps {

bool SoleFollower::may_act(const InstallationPaths &paths) {
    struct stat there{}, ours{};
    if (::lstat(paths.base.c_str(), &there) != 0) {
        lock_ = Fd();
        return true;
    }
    if (lock_ && ::fstat(lock_.get(), &ours) == 0 && ours.st_ino == there.st_ino &&
        ours.st_dev == there.st_dev)
        return true;
    lock_ = Fd(::open(paths.base.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!lock_ || ::flock(lock_.get(), LOCK_EX | LOCK_NB) == 0)
        return true;
    const bool is_held = errno == EWOULDBLOCK;
    lock_ = Fd();
    return !is_held;
}

} // namespace mps
