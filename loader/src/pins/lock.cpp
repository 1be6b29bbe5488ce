// SPDX-License-Identifier: MIT
#include "pins/lock.hpp"

#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <fstream>
#include <memory>
#include <mutex>
#include <sstream>
#include <thread>

#include <fmt/format.h>

#include "base/try.hpp"
#include "pins/bpffs.hpp"
#include "pins/pins.hpp"

namespace mps {

namespace {

using Clock = std::chrono::steady_clock;

// /proc/locks: "1: FLOCK  ADVISORY  WRITE 4711 00:1f:1234 0 EOF", device and inode of the locked file; those who wait
// have "->" behind the number. "" if the holder cannot be seen, being in another container.
std::string lock_holder(int fd) {
    struct stat status{};
    if (::fstat(fd, &status))
        return {};
    const std::string file =
        fmt::format("{:02x}:{:02x}:{}", major(status.st_dev), minor(status.st_dev), status.st_ino);
    std::ifstream locks("/proc/locks");
    for (std::string line; std::getline(locks, line);) {
        std::istringstream fields(line);
        std::string number, kind, advisory, access, pid, where;
        fields >> number >> kind >> advisory >> access >> pid >> where;
        if (kind == "FLOCK" && where == file)
            return pid;
    }
    return {};
}

std::unexpected<Error> busy(const std::string &holder, const std::string &why) {
    return fail(ErrorKind::busy,
                holder.empty()
                    ? "another mpsched, in another container, is changing this network namespace"
                    : fmt::format("another mpsched (process {}) is changing this network namespace", holder),
                why);
}

// A flock has no time limit, so a thread waits in the kernel's queue for us. When we give up it stays there, and gives
// the lock back at once should it ever get it.
struct Queued {
    Fd fd;
    std::mutex mutex{};
    std::condition_variable done{};
    std::optional<int> err{};

    explicit Queued(Fd lock) : fd(std::move(lock)) {}
};

Result<Fd> wait_in_queue(Fd fd, const Patience &patience) {
    auto queued = std::make_shared<Queued>(std::move(fd));
    std::thread([queued] {
        int err = 0;
        while (::flock(queued->fd.get(), LOCK_EX)) {
            err = errno;
            if (err != EINTR)
                break;
            err = 0;
        }
        const std::scoped_lock guard(queued->mutex);
        queued->err = err;
        queued->done.notify_all();
    }).detach();

    std::unique_lock guard(queued->mutex);
    std::string holder = lock_holder(queued->fd.get());
    auto since = Clock::now();
    for (;;) {
        queued->done.wait_for(guard, std::chrono::milliseconds(100), [&] { return queued->err.has_value(); });
        if (queued->err) {
            if (*queued->err)
                return std::unexpected(system_error(*queued->err, "locking our directory"));
            return std::move(queued->fd);
        }
        const std::string now = lock_holder(queued->fd.get());
        if (now != holder) {
            holder = now;
            since = Clock::now();
        }
        if (patience.give_up && patience.give_up())
            return busy(holder, "interrupted while waiting for it");
        if (Clock::now() - since >= std::chrono::milliseconds(patience.timeout_ms)) {
            return busy(holder, fmt::format("it has not finished for {} s: '--wait SECONDS' waits longer, "
                                            "and ending that process is safe",
                                            patience.timeout_ms / 1000));
        }
    }
}

Result<Fd> lock_directory(const std::string &path, const Patience *patience, bool &is_busy) {
    is_busy = false;
    Fd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!fd)
        return std::unexpected(system_error(errno, fmt::format("opening {}", path)));
    if (!::flock(fd.get(), LOCK_EX | LOCK_NB))
        return fd;
    if (errno != EWOULDBLOCK && errno != EINTR)
        return std::unexpected(system_error(errno, fmt::format("locking {}", path)));
    if (!patience) {
        is_busy = true;
        return Fd();
    }
    if (!patience->timeout_ms)
        return busy(lock_holder(fd.get()), "'--wait SECONDS' waits for it");
    return wait_in_queue(std::move(fd), *patience);
}

bool exists(const std::string &path) {
    struct stat status{};
    return !::lstat(path.c_str(), &status);
}

// Others may remove what we make before we have locked it: then again.
constexpr int most_tries = 1000;

} // namespace

bool is_still_at(const Fd &fd, const std::string &path) {
    struct stat ours{}, there{};
    return !::fstat(fd.get(), &ours) && !::lstat(path.c_str(), &there) && ours.st_dev == there.st_dev &&
           ours.st_ino == there.st_ino;
}

// Those who had the lock before us may have removed its directory.
bool Lock::is_current() const { return is_still_at(fd_, PinLayout(bpffs_).lock(cookie_)); }

Result<Lock> Lock::take(const std::string &bpffs, std::uint64_t cookie, const Patience &patience) {
    const PinLayout layout(bpffs);
    for (int i = 0; i < most_tries; i++) {
        Result<void> made;
        for (const std::string &path : {layout.top, layout.locks, layout.lock(cookie)}) {
            if (made)
                made = make_directory(path);
        }
        if (made) {
            // Between our first look and now somebody may have been quicker.
            MPS_TRY(check_trust(bpffs));
            auto lock = take_existing(bpffs, cookie, patience);
            MPS_TRY(lock);
            if (*lock)
                return std::move(**lock);
        } else if (exists(layout.top) && exists(layout.locks)) {
            return std::unexpected(made.error());
        } else if (i > most_tries / 2) {
            return std::unexpected(made.error());
        }
    }
    return fail(ErrorKind::busy, "others make and remove the installation all the time", "try again");
}

Result<std::optional<Lock>> Lock::take_existing(const std::string &bpffs, std::uint64_t cookie,
                                                const Patience &patience) {
    const std::string path = PinLayout(bpffs).lock(cookie);
    for (int i = 0; i < most_tries && exists(path); i++) {
        bool is_busy = false;
        auto fd = lock_directory(path, &patience, is_busy);
        if (!fd && !exists(path))
            break;
        MPS_TRY(fd);
        Lock lock(std::move(*fd), bpffs, cookie);
        if (lock.is_current())
            return std::optional(std::move(lock));
    }
    return std::optional<Lock>{};
}

Result<std::optional<Lock>> Lock::try_take(const std::string &bpffs, std::uint64_t cookie) {
    const PinLayout layout(bpffs);
    for (const std::string &path : {layout.top, layout.locks, layout.lock(cookie)}) {
        MPS_TRY(make_directory(path));
    }
    bool is_busy = false;
    auto fd = lock_directory(layout.lock(cookie), nullptr, is_busy);
    MPS_TRY(fd);
    if (is_busy)
        return std::optional<Lock>{};
    Lock lock(std::move(*fd), bpffs, cookie);
    return lock.is_current() ? std::optional(std::move(lock)) : std::optional<Lock>{};
}

Lock::~Lock() {
    if (!fd_ || !is_current())
        return;
    const PinLayout layout(bpffs_);
    if (!is_installed(bpffs_, cookie_)) {
        ::rmdir(layout.lock(cookie_).c_str());
        // Each refuses unless it is empty.
        for (const std::string &path : {layout.locks, layout.root, layout.top})
            ::rmdir(path.c_str());
    }
}

bool is_locked(const std::string &bpffs, std::uint64_t cookie) {
    const Fd fd(
        ::open(PinLayout(bpffs).lock(cookie).c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    return fd && ::flock(fd.get(), LOCK_SH | LOCK_NB) && errno == EWOULDBLOCK;
}

} // namespace mps
