// SPDX-License-Identifier: MIT
#include "attach/sole_follower.hpp"

#include <fcntl.h>
#include <sys/file.h>

#include <cerrno>

#include "pins/lock.hpp"

namespace mps {

bool SoleFollower::may_act(const InstallationPaths &paths) {
    if (lock_ && is_still_at(lock_, paths.base))
        return true;
    lock_ = Fd(::open(paths.base.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!lock_ || ::flock(lock_.get(), LOCK_EX | LOCK_NB) == 0)
        return true;
    const bool is_held = errno == EWOULDBLOCK;
    lock_ = Fd();
    return !is_held;
}

} // namespace mps
