// SPDX-License-Identifier: MIT
#include "run/cgroup.hpp"

#include <cerrno>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string_view>
#include <system_error>
#include <thread>

#include <fmt/format.h>
#include <mntent.h>
#include <sys/stat.h>
#include <unistd.h>

namespace mps::run {

namespace {

using namespace std::chrono_literals;

std::unexpected<Error> failed(const std::string &what, std::string hint) {
    return fail(ErrorCode::failed, fmt::format("cannot {}: {}", what, std::generic_category().message(errno)),
                std::move(hint));
}

// Where cgroup v2 is mounted; empty if it is not.
std::string mount_point() {
    const std::unique_ptr<std::FILE, int (*)(std::FILE *)> mounts(::setmntent("/proc/self/mounts", "re"),
                                                                  ::endmntent);
    while (const mntent *entry = mounts ? ::getmntent(mounts.get()) : nullptr)
        if (std::string_view(entry->mnt_type) == "cgroup2")
            return entry->mnt_dir;
    return {};
}

// "/user.slice/session-1.scope"; empty if there is none.
std::string own_path() {
    std::ifstream file("/proc/self/cgroup");
    constexpr std::string_view second_version = "0::";
    for (std::string line; std::getline(file, line);)
        if (line.starts_with(second_version))
            return line.substr(second_version.size());
    return {};
}

constexpr std::string_view prefix = "mpsched-run-";

// Those of commands that have ended, and whose supervisors were killed. One that somebody is in stays.
void remove_left_behind(const std::string &parent) {
    std::error_code error;
    for (const auto &entry : std::filesystem::directory_iterator(parent, error)) {
        const std::string name = entry.path().filename().string();
        if (name.starts_with(prefix) &&
            !std::filesystem::exists("/proc/" + name.substr(prefix.size()), error))
            ::rmdir(entry.path().c_str());
    }
}

bool move_here(const std::string &folder) {
    std::ofstream members(folder + "/cgroup.procs");
    members << "0" << std::flush;
    return members.good();
}

} // namespace

Result<CommandCgroup> CommandCgroup::enter_new() {
    const std::string mounted = mount_point(), own = own_path();
    if (mounted.empty() || own.empty())
        return fail(ErrorCode::unsupported,
                    "cgroup v2 is not mounted here, and a policy for a command is a rule for its cgroup",
                    "mount -t cgroup2 none /sys/fs/cgroup; 'ip netns exec' hides it: nsenter --net does not");
    const std::string parent = mounted + own;
    remove_left_behind(parent);
    const std::string name = fmt::format("{}{}{}", own.ends_with('/') ? "" : "/", prefix, ::getpid());
    CommandCgroup made(parent, parent + name, own + name);
    if (::mkdir(made.folder_.c_str(), 0755) != 0)
        return failed("make the cgroup " + made.folder_, "a policy for a command needs root");
    if (!move_here(made.folder_)) {
        const auto error = failed("enter the cgroup " + made.folder_, "a policy for a command needs root");
        ::rmdir(made.folder_.c_str());
        return error;
    }
    return made;
}

void CommandCgroup::leave() const { move_here(parent_); }

void CommandCgroup::leave_and_remove() const {
    leave();
    for (int tries = 0; tries < 100 && ::rmdir(folder_.c_str()) != 0 && errno == EBUSY; tries++)
        std::this_thread::sleep_for(10ms);
}

} // namespace mps::run
