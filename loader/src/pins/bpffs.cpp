// SPDX-License-Identifier: MIT
#include "pins/bpffs.hpp"

#include <fcntl.h>
#include <linux/magic.h>
#include <mps/abi.h>
#include <pwd.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <vector>

#include <fmt/format.h>

#include "base/child.hpp"
#include "base/fd.hpp"
#include "base/files.hpp"
#include "base/try.hpp"
#include "common/capabilities.hpp"
#include "pins/pins.hpp"

#ifndef BPF_FS_MAGIC
#define BPF_FS_MAGIC 0xcafe4a11
#endif

namespace mps {

namespace {

namespace fs = std::filesystem;

constexpr const char *usual_bpffs = "/sys/fs/bpf";
constexpr std::string_view mount_command = "mount -t bpf -o mode=0700 bpf";

bool is_bpffs(const std::string &path) {
    struct statfs status{};
    return !::statfs(path.c_str(), &status) && static_cast<std::uint32_t>(status.f_type) == BPF_FS_MAGIC;
}

std::string link_target(const std::string &path) {
    std::error_code error;
    return fs::read_symlink(path, error).string();
}

// The parent of a process; 0 if there is none or it cannot be told. proc(5): the second number after the name
// in ().
pid_t parent_of(pid_t pid) {
    const std::string text = read_file(fmt::format("/proc/{}/stat", pid)).value_or("");
    std::istringstream fields(text.substr(std::min(text.rfind(')') + 1, text.size())));
    std::string state;
    pid_t parent = 0;
    fields >> state >> parent;
    return parent;
}

// `ip netns exec` and `unshare -m` give a private mount namespace: a bpf file system mounted there ends with
// the command, and every pin with it. So pins belong into the mount namespace of our oldest ancestor that we
// may look at (process 1, where it lets us). 0: that is our own.
pid_t owner_of_outer_mounts() {
    std::vector<pid_t> ancestors;
    for (pid_t pid = parent_of(::getpid()); pid > 0 && ancestors.size() < 1000; pid = parent_of(pid))
        ancestors.push_back(pid);
    if (ancestors.empty() || ancestors.back() != 1)
        ancestors.push_back(1);
    const std::string own = link_target("/proc/self/ns/mnt");
    for (auto pid = ancestors.rbegin(); pid != ancestors.rend(); ++pid) {
        const std::string theirs = link_target(fmt::format("/proc/{}/ns/mnt", *pid));
        if (!theirs.empty())
            return theirs == own ? 0 : *pid;
    }
    return 0;
}

std::string outer_bpffs(pid_t owner) { return fmt::format("/proc/{}/root{}", owner, usual_bpffs); }

// 0 or an errno.
int mount_bpffs(const std::string &path) {
    return ::mount("bpf", path.c_str(), "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RELATIME, "mode=0700")
               ? errno
               : 0;
}

// mount(2) works on the caller's mount namespace only, so a child goes there. 0 or an errno.
int mount_outer_bpffs(pid_t owner) {
    const std::string path = fmt::format("/proc/{}/ns/mnt", owner);
    auto child = Child::fork([&path] {
        const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
        return fd < 0 || ::setns(fd, CLONE_NEWNS) ? errno : mount_bpffs(usual_bpffs);
    });
    if (!child)
        return child.error();
    const Ending ending = child->wait();
    return ending.signal ? EINTR : ending.exit_code;
}

std::string configured_bpffs(const OpenOptions &options) {
    if (!options.bpffs.empty())
        return options.bpffs;
    const char *environment = std::getenv("MPS_BPFFS");
    return environment ? environment : "";
}

// ---- trust

// Root, or whoever we are: whoever may load BPF programs may do anything. In a user namespace the real root
// shows as nobody; nothing can be gained there, since the kernel wants the rights of the initial one.
bool is_trusted_user(uid_t user) {
    constexpr uid_t overflow_user = 65534;
    return user == 0 || user == ::geteuid() || (user == overflow_user && in_user_namespace());
}

std::string user_text(uid_t user) {
    const passwd *entry = ::getpwuid(user);
    return entry ? fmt::format("user {}", entry->pw_name) : fmt::format("user id {}", user);
}

bool others_may_write(const struct stat &status) { return (status.st_mode & (S_IWGRP | S_IWOTH)) != 0; }

std::unexpected<Error> distrust(std::string what, const std::string &next) {
    return fail(ErrorCode::failed, std::move(what),
                fmt::format("{}; or '{} DIR' and MPS_BPFFS=DIR", next, mount_command));
}

// Can somebody else put another thing in place of `entry`, which stands in `directory`?
Result<void> check_entry(const std::string &where, const struct stat &directory, const struct stat &entry) {
    if (!is_trusted_user(directory.st_uid)) {
        return distrust(fmt::format("{} belongs to {}, who can replace what is in it", where,
                                    user_text(directory.st_uid)),
                        "use a bpf file system below directories of root's");
    }
    if (others_may_write(directory) && !((directory.st_mode & S_ISVTX) && is_trusted_user(entry.st_uid))) {
        return distrust(fmt::format("others may replace what is in {}", where),
                        fmt::format("'chmod go-w {}'", where));
    }
    return {};
}

// The directories that lead to the mount, as the kernel sees them: upwards from the mount itself.
Result<void> check_mount(const std::string &bpffs) {
    Fd now(::open(bpffs.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    struct stat below{};
    if (!now || ::fstat(now.get(), &below))
        return std::unexpected(system_error(errno, fmt::format("looking at {}", bpffs)));
    std::string where = bpffs;
    for (;;) {
        Fd above(::openat(now.get(), "..", O_PATH | O_DIRECTORY | O_CLOEXEC));
        struct stat status{};
        // What we may not look at is no way for others either.
        if (!above || ::fstat(above.get(), &status))
            return {};
        if (status.st_dev == below.st_dev && status.st_ino == below.st_ino)
            return {};
        where += "/..";
        MPS_TRY(check_entry(where, status, below));
        below = status;
        now = std::move(above);
    }
}

// The same of the way as it was told to us: a symbolic link in it leads where its owner likes.
Result<void> check_way(const std::string &bpffs) {
    std::error_code error;
    const fs::path whole = fs::absolute(bpffs, error);
    fs::path directory;
    for (const fs::path &part : whole) {
        struct stat status{}, entry{};
        const fs::path next = directory / part;
        if (!directory.empty() && !::stat(directory.c_str(), &status) && !::lstat(next.c_str(), &entry)) {
            MPS_TRY(check_entry(directory.string(), status, entry));
        }
        directory = next;
    }
    return {};
}

// A directory of ours. Not there is fine.
Result<void> check_own_directory(const std::string &path) {
    struct stat status{};
    if (::lstat(path.c_str(), &status)) {
        if (errno == ENOENT)
            return {};
        return std::unexpected(system_error(errno, fmt::format("looking at {}", path)));
    }
    if (!S_ISDIR(status.st_mode)) {
        return distrust(fmt::format("{} is not ours: it is no directory", path), "move it away");
    }
    if (!is_trusted_user(status.st_uid)) {
        return distrust(fmt::format("{} belongs to {}, who can replace what mpsched keeps there", path,
                                    user_text(status.st_uid)),
                        fmt::format("look who made it, then 'rm -r {}'", path));
    }
    if (others_may_write(status)) {
        return distrust(fmt::format("others may write to {} and replace what mpsched keeps there", path),
                        fmt::format("'chmod go-w {}'", path));
    }
    return {};
}

} // namespace

std::optional<std::string> find_bpffs(const OpenOptions &options) {
    if (const std::string wanted = configured_bpffs(options); !wanted.empty()) {
        return is_bpffs(wanted) ? std::optional(wanted) : std::nullopt;
    }
    if (is_bpffs(usual_bpffs))
        return usual_bpffs;
    if (const pid_t owner = owner_of_outer_mounts(); owner && is_bpffs(outer_bpffs(owner)))
        return outer_bpffs(owner);
    return std::nullopt;
}

Result<void> check_bpffs(const OpenOptions &options) {
    const std::string wanted = configured_bpffs(options);
    if (wanted.empty() || is_bpffs(wanted))
        return {};
    const std::string named = fmt::format("{}{}", wanted, options.bpffs.empty() ? " (MPS_BPFFS)" : "");
    struct statfs status{};
    const int err = ::statfs(wanted.c_str(), &status) ? errno : 0;
    if (err == EACCES || err == EPERM)
        return std::unexpected(system_error(err, fmt::format("looking for a bpf file system at {}", named)));
    return fail(
        ErrorCode::usage,
        fmt::format("{} is no bpf file system{}{}", named, err ? ": " : "", err ? errno_text(err) : ""),
        fmt::format("'{} {}' makes one", mount_command, wanted));
}

Result<void> check_trust(const std::string &bpffs) {
    MPS_TRY(check_way(bpffs));
    MPS_TRY(check_mount(bpffs));
    struct stat root{}, own{};
    const PinLayout layout(bpffs);
    if (::stat(bpffs.c_str(), &root))
        return std::unexpected(system_error(errno, fmt::format("looking at {}", bpffs)));
    // What is there already is judged by itself below; what we are going to make will be ours.
    own.st_uid = ::geteuid();
    MPS_TRY(check_entry(bpffs, root, own));
    for (const std::string &path : {layout.top, layout.root, layout.locks}) {
        MPS_TRY(check_own_directory(path));
    }
    return {};
}

Result<std::optional<std::string>> find_trusted_bpffs(const OpenOptions &options) {
    auto found = find_bpffs(options);
    if (found) {
        MPS_TRY(check_trust(*found));
    }
    return found;
}

Result<std::string> require_bpffs(const OpenOptions &options) {
    const auto found = find_trusted_bpffs(options);
    MPS_TRY(found);
    if (*found)
        return **found;
    // A place that somebody chose is not to be covered by a mount.
    MPS_TRY(check_bpffs(options));
    const pid_t owner = owner_of_outer_mounts();
    const std::string path = owner ? outer_bpffs(owner) : usual_bpffs;
    int err = owner ? mount_outer_bpffs(owner) : mount_bpffs(usual_bpffs);
    if (!err && !is_bpffs(path))
        err = ENOENT;
    if (!err)
        return path;
    return std::unexpected(system_error(
        err, fmt::format("mounting a bpf file system at {}", usual_bpffs),
        err == EPERM || err == EACCES ? "" : fmt::format("try '{} {}'", mount_command, usual_bpffs)));
}

} // namespace mps
