// SPDX-License-Identifier: MIT
#include "kernel/cgroup.hpp"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <fmt/format.h>

#include "base/try.hpp"

namespace mps {

namespace {

// The first cgroup2 mount. proc(5), mountinfo: mount point is the fifth field, the type follows " - ".
std::string mount_point() {
    std::ifstream mounts("/proc/self/mountinfo");
    for (std::string line; std::getline(mounts, line);) {
        const std::size_t separator = line.find(" - ");
        if (separator == std::string::npos || !line.substr(separator + 3).starts_with("cgroup2 "))
            continue;
        std::istringstream fields(line);
        std::string field;
        for (int i = 0; i < 5; i++)
            fields >> field;
        return field;
    }
    return {};
}

// On 64-bit kernels the inode number of a cgroup's directory is its id (kernfs_node.id, 5.5).
std::optional<std::uint64_t> inode(const std::string &path) {
    struct stat status{};
    if (::stat(path.c_str(), &status))
        return std::nullopt;
    if (!S_ISDIR(status.st_mode)) {
        errno = ENOTDIR;
        return std::nullopt;
    }
    return status.st_ino;
}

} // namespace

Result<std::string> directory_of_cgroup(std::string_view path) {
    const std::string root = mount_point();
    if (root.empty()) {
        return fail(ErrorCode::unsupported, "cgroup v2 is not mounted here",
                    "select by mark=, local= or remote= instead");
    }
    return root + cgroup_below_mount(path);
}

Result<std::uint64_t> cgroup_id(std::string_view path) {
    const auto directory = directory_of_cgroup(path);
    MPS_TRY(directory);
    const auto id = inode(*directory);
    if (!id) {
        return fail(ErrorCode::usage, fmt::format("cgroup '{}': {}", path, errno_text(errno)),
                    fmt::format("give a path below {}, as in /proc/PID/cgroup after '0::'", mount_point()));
    }
    return *id;
}

std::string cgroup_below_mount(std::string_view path) {
    const std::string root = mount_point();
    std::string below(path);
    if (!root.empty() && (below == root || below.starts_with(root + "/")))
        below.erase(0, root.size());
    below = std::filesystem::path("/" + below).lexically_normal().string();
    while (below.size() > 1 && below.ends_with('/'))
        below.pop_back();
    return below;
}

Result<Fd> open_cgroup(std::string_view path) {
    Fd directory(
        ::open((mount_point() + cgroup_below_mount(path)).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!directory)
        return std::unexpected(system_error(errno, fmt::format("opening the cgroup {}", path)));
    return directory;
}

Result<Fd> open_root_cgroup() {
    if (const std::string root = mount_point(); !root.empty()) {
        Fd directory(::open(root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        if (directory)
            return directory;
    }
    // A mount that no path leads to (5.2).
    const Fd context(::fsopen("cgroup2", FSOPEN_CLOEXEC));
    if (context && !::fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0)) {
        const Fd mounted(::fsmount(context.get(), FSMOUNT_CLOEXEC, 0));
        Fd directory(mounted ? ::openat(mounted.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1);
        if (directory)
            return directory;
    }
    return std::unexpected(system_error(errno, "opening the root of cgroup v2"));
}

std::optional<std::string> cgroup_path(std::uint64_t id) {
    const std::string root = mount_point();
    if (root.empty())
        return std::nullopt;
    if (inode(root) == id)
        return "/";
    std::error_code error;
    const auto options = std::filesystem::directory_options::skip_permission_denied;
    for (std::filesystem::recursive_directory_iterator it(root, options, error), end; !error && it != end;
         it.increment(error)) {
        if (it->is_directory(error) && inode(it->path().string()) == id)
            return it->path().string().substr(root.size());
    }
    return std::nullopt;
}

} // namespace mps
